"""Driving by the tool: where it goes, how fast, what it does not hit, and how it is taken up again."""

from __future__ import annotations

import time

import numpy as np
import pytest

from collectors.teleop.cartesian import Cartesian
from collectors.teleop.reference import LEASH
from collectors.teleop.robots.world import WorldRobot
from dataengine.episode import Feature
from dataengine.errors import RobotError
from dataengine.robot import Command, Kinematics, Sample
from dataengine.sim.scene import mujoco

FPS = 30.0
ARMS = ("five", "six")


def made(arm: str = "five", seed: int = 1) -> tuple[Cartesian, WorldRobot]:
    robot = WorldRobot(arm=arm, cameras=(), task="pick_red")  # type: ignore[arg-type]
    robot.connect()
    robot.reset(seed)
    features = robot.features
    return Cartesian(robot.kinematics, features["action"], features["observation.state"], FPS), robot


def go(cartesian: Cartesian, robot: WorldRobot, seconds: float, twist: list[float], **more: object) -> np.ndarray:
    """The actions of a twist that lasts; the robot carries them out."""
    actions = []
    for _ in range(round(seconds * FPS)):
        wish = cartesian.wish(Command(0.0, twist=np.array(twist), **more), robot.observe())  # type: ignore[arg-type]
        actions.append(robot.act(wish.astype(np.float32)))
    return np.array(actions, np.float64)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_tool_moves_along_the_axis_it_was_told_and_no_other(arm: str, axis: int) -> None:
    cartesian, robot = made(arm)
    start = cartesian.wish(Command(0.0, twist=np.zeros(6)), robot.observe())[:3]
    twist = [0.0] * 6
    twist[axis] = 0.06
    moved = go(cartesian, robot, 1.0, twist)[-1, :3] - start
    assert moved[axis] == pytest.approx(0.06, abs=0.008)
    assert np.abs(np.delete(moved, axis)).max() < 0.004
    measured = robot.observe()["observation.state"].value
    names = robot.features["observation.state"].names or ()
    tool = [measured[names.index(name)] for name in ("ee.x", "ee.y", "ee.z")]
    assert tool == pytest.approx(start + moved, abs=0.02)


@pytest.mark.parametrize("arm", ARMS)
def test_turning_turns_the_tool_in_place(arm: str) -> None:
    cartesian, robot = made(arm)
    start = cartesian.wish(Command(0.0, twist=np.zeros(6)), robot.observe())
    end = go(cartesian, robot, 1.0, [0, 0, 0, 0, 0, 0.6])[-1]
    names = robot.features["action"].names or ()
    assert end[names.index("ee.yaw")] - start[names.index("ee.yaw")] == pytest.approx(0.6, abs=0.06)
    assert end[:3] == pytest.approx(start[:3], abs=0.004)


def test_joints_keep_their_speed_acceleration_and_range() -> None:
    cartesian, robot = made("six")
    kinematics = robot.kinematics
    path = [cartesian.joints.copy()]
    rng = np.random.default_rng(0)
    for _ in range(12):
        twist = rng.uniform(-1, 1, 6) * [0.6, 0.6, 0.2, 3, 3, 3] + [0, 0, 0.2, 0, 0, 0]  # away from the table
        for _ in range(10):
            cartesian.wish(Command(0.0, twist=twist), robot.observe())
            path.append(cartesian.joints.copy())
    velocity = np.diff(np.array(path[1:]), axis=0) * FPS
    assert np.abs(velocity).max() <= kinematics.speed + 1e-6
    assert np.abs(np.diff(velocity, axis=0)).max() * FPS <= kinematics.acceleration * 1.05
    low, high = robot.world.joint_limits.T
    assert (np.array(path) >= low - 1e-6).all() and (np.array(path) <= high + 1e-6).all()


@pytest.mark.parametrize("arm", ARMS)
def test_it_does_not_drive_into_the_table(arm: str) -> None:
    cartesian, robot = made(arm)
    go(cartesian, robot, 4.0, [0, 0, -0.1, 0, 0, 0])
    point, _ = cartesian.tool()
    assert 0.0 < point[2] < 0.03
    lowest = min(
        mujoco.mj_geomDistance(robot.world.scene.model, cartesian._configuration.data, geom, table, 1.0, None)
        for table in [robot.world.scene.model.geom("table").id]
        for geom in [robot.world.scene.model.geom(f"{side}_finger_pad").id for side in ("left", "right")]
    )
    assert lowest > 0.0


def test_what_cannot_be_followed_is_not_stored_up() -> None:
    cartesian, robot = made()
    go(cartesian, robot, 2.0, [0, 0, -0.2, 0, 0, 0])
    before = cartesian.tool()[0][2]
    go(cartesian, robot, 0.6, [0, 0, 0.1, 0, 0, 0])
    assert cartesian.tool()[0][2] > before + 0.01  # up at once, not after winding back what it was pushed down
    assert np.linalg.norm(cartesian.reference.point - cartesian.tool()[0]) <= LEASH + 1e-6


def test_the_clutch_takes_up_without_a_jump_and_scales() -> None:
    cartesian, robot = made()
    cartesian.reference.scale = 0.5
    pose = np.array([5.0, 5.0, 5.0, 1.0, 0, 0, 0])  # wherever the phone's own frame may be
    first = cartesian.wish(Command(0.0, pose=pose), robot.observe())
    for n in range(30):
        moved = cartesian.wish(Command(0.0, pose=pose + np.eye(7)[0] * 0.002 * n), robot.observe())
    assert moved[0] - first[0] == pytest.approx(0.029, abs=0.004)
    cartesian.freeze()
    away = pose + np.array([0.7, -0.4, 0.2, 0, 0, 0, 0])
    again = cartesian.wish(Command(0.0, pose=away), robot.observe())
    assert again[:3] == pytest.approx(moved[:3], abs=0.004)
    still = [cartesian.wish(Command(0.0, pose=away), robot.observe()) for _ in range(20)][-1]
    assert still[:3] == pytest.approx(moved[:3], abs=0.006)


def test_the_gripper_keeps_what_it_was_told_last() -> None:
    cartesian, robot = made()
    assert go(cartesian, robot, 0.1, [0] * 6, gripper=0.25)[-1, -1] == pytest.approx(0.25)
    assert go(cartesian, robot, 0.1, [0] * 6)[-1, -1] == pytest.approx(0.25)


TWO_LINKS = """
<mujoco><compiler angle="radian"/><worldbody>
  <body><joint name="a" axis="0 0 1" range="-3 3" limited="true"/>
    <geom size=".02" fromto="0 0 0 .3 0 0" type="capsule"/>
    <body pos=".3 0 0"><joint name="b" axis="0 0 1" range="-3 3" limited="true"/>
      <geom size=".02" fromto="0 0 0 .3 0 0" type="capsule"/><site name="tip" pos=".3 0 0"/></body></body>
</worldbody></mujoco>"""


def test_a_robot_of_joints_in_degrees_gets_joints_in_degrees() -> None:
    kinematics = Kinematics(mujoco.MjModel.from_xml_string(TWO_LINKS), ("a", "b"), "tip", gripper="jaw.pos")
    action = Feature("float32", (3,), ("b.pos", "a.pos", "jaw.pos"), "action", ("deg", "deg", "%"), info={"high": 100})
    state = Feature("float32", (3,), ("a.pos", "b.pos", "jaw.pos"), "state", ("deg", "deg", "%"))
    cartesian = Cartesian(kinematics, action, state, FPS)
    seen = {"observation.state": Sample(np.array([30.0, 60.0, 50.0], np.float32), 0.0)}
    first = cartesian.wish(Command(0.0, twist=np.zeros(6)), seen)
    assert first == pytest.approx([60.0, 30.0, 50.0], abs=0.1)
    for _ in range(30):
        last = cartesian.wish(Command(0.0, twist=np.array([0.05, 0, 0, 0, 0, 0]), gripper=1.0), seen)
    b, a = np.deg2rad(last[:2])
    tip = 0.3 * np.array([np.cos(a) + np.cos(a + b), np.sin(a) + np.sin(a + b)])
    begin = 0.3 * np.array([np.cos(np.pi / 6) + np.cos(np.pi / 2), np.sin(np.pi / 6) + np.sin(np.pi / 2)])
    assert tip - begin == pytest.approx([0.05, 0.0], abs=0.01) and last[2] == pytest.approx(100.0)


def test_joints_that_no_state_names_are_refused() -> None:
    kinematics = Kinematics(mujoco.MjModel.from_xml_string(TWO_LINKS), ("a", "b"), "tip")
    feature = Feature("float32", (2,), ("a", "elbow"), "state", "rad")
    with pytest.raises(RobotError, match="the state says nothing of b; it has a, elbow"):
        Cartesian(kinematics, feature, feature, FPS)


@pytest.mark.parametrize("arm", ARMS)
def test_a_step_takes_less_than_three_milliseconds(arm: str) -> None:
    cartesian, robot = made(arm)
    seen = robot.observe()
    spent = []
    for n in range(150):
        begin = time.thread_time()
        cartesian.wish(Command(0.0, twist=np.array([0.05 * np.sin(n / 9), 0.05, -0.02, 0, 0, 0.3])), seen)
        spent.append(time.thread_time() - begin)
    assert np.median(spent) < 0.003
