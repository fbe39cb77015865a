"""Bodies that can be driven (`dataengine.robot.Robot`): the embedded world, any LeRobot robot, any Gymnasium one."""
