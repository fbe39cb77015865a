"""A robot as a camera would see it, drawn by MuJoCo without a display: colours and how much of each pixel is robot.

The robot is the model that the hands were retargeted to; where only poses are known, a plain gripper stands for it. Its
camera is the video's own, principal point, unequal focal lengths and distortion included.
"""

from __future__ import annotations

import dataengine.sim.model  # noqa: F401 – says how MuJoCo shall draw and warn

# isort: split
from collections.abc import Mapping
from typing import Self

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from dataengine.lens import Lens
from pipelines.egocentric.told import Told
from pipelines.retarget.hand import Poses
from pipelines.retarget.placing import as_pose
from pipelines.retarget.robot import RobotModel

NEAR, FAR = 0.01, 20.0  # [m]
FINER = 2  # times the picture's size, so that edges are soft
LARGEST = 4096  # [px] of what is drawn at once
STROKE = 0.08  # [m] how wide the plain gripper opens
HIDDEN = 5  # a group of geoms that MuJoCo does not show
OFF = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
)


class Painter:
    """Draws the arms of a robot, or plain grippers for `sides`; to be closed by the thread that uses it.

    Raises `ConfigError` where this machine cannot draw.
    """

    def __init__(self, lens: Lens, robot: RobotModel | None, sides: tuple[str, ...] = ()) -> None:
        self.lens, self.robot = lens, robot
        self.model = robot.model if robot is not None else mujoco.MjModel.from_xml_string(_grippers(sides))
        self.data = mujoco.MjData(self.model)
        mujoco.mj_resetData(self.model, self.data)
        self._maps, low, high = _canvas(lens)
        size = np.minimum(FINER * (high - low), LARGEST).astype(int)
        self._low, self._high, self._finer = low, high, size / (high - low)
        _prepare(self.model, size, robot)
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0
        try:
            self._renderer = mujoco.Renderer(self.model, int(size[1]), int(size[0]))
        except Exception as problem:  # PyOpenGL and EGL raise many kinds
            raise ConfigError(
                f"this machine cannot render: {problem}. Install EGL (Debian: libegl1 libgl1-mesa-dri) or set "
                f"MUJOCO_GL=osmesa"
            ) from problem
        for flag in OFF:
            self._renderer.scene.flags[flag] = False

    def paint(self, told: Mapping[str, Told], frame: int, camera: Poses) -> np.ndarray:
        """`(height, width, 4)` float32: red, green and blue times coverage, and coverage, 0 to 1. camera: one pose in
        the robot's base."""
        for side, each in told.items():
            if self.robot is not None and each.joints is not None:
                self._stand(self.robot, side, each, frame)
            else:
                self._hold(side, each, frame)
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        renderer = self._renderer
        renderer.update_scene(self.data, scene_option=self._options)
        self._look(camera)
        colours = renderer.render()
        renderer.enable_segmentation_rendering()
        there = renderer.render()[..., 0] >= 0
        renderer.disable_segmentation_rendering()
        return self._seen(colours, there)

    def close(self) -> None:
        self._renderer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stand(self, robot: RobotModel, side: str, told: Told, frame: int) -> None:
        assert told.joints is not None
        arm = robot.arms[side]
        places = dict(zip(arm.joints, told.joints[frame], strict=True))
        if arm.gripper:
            places[arm.gripper] = told.gripper[frame]
        for joint, place in places.items():
            for tied, at in robot.moved_with(joint, np.array([place])).items():  # a gripper's second finger
                self.data.qpos[self.model.joint(tied).qposadr[0]] = at[0]

    def _hold(self, side: str, told: Told, frame: int) -> None:
        assert told.tool is not None and told.opening is not None
        body = self.model.body(side).mocapid[0]
        self.data.mocap_pos[body] = told.tool.point[frame]
        mujoco.mju_mat2Quat(self.data.mocap_quat[body], np.ascontiguousarray(told.tool.turn[frame]).ravel())
        for finger in ("thumb", "index"):
            self.data.qpos[self.model.joint(f"{side}_{finger}").qposadr[0]] = STROKE / 2 * told.opening[frame]

    def _look(self, camera: Poses) -> None:
        """MuJoCo's own cameras know neither a principal point nor where the picture ends; the view is set itself."""
        left, top = (self._low - 0.5 - (self.lens.cx, self.lens.cy)) / (self.lens.fx, self.lens.fy)
        right, bottom = (self._high - 0.5 - (self.lens.cx, self.lens.cy)) / (self.lens.fx, self.lens.fy)
        for view in self._renderer.scene.camera:
            view.pos[:] = camera.point[0]
            view.forward[:], view.up[:] = camera.turn[0, :, 2], -camera.turn[0, :, 1]
            view.frustum_near, view.frustum_far = NEAR, FAR
            view.frustum_top, view.frustum_bottom = -NEAR * top, -NEAR * bottom
            view.frustum_center, view.frustum_width = NEAR * (left + right) / 2, NEAR * (right - left) / 2

    def _seen(self, colours: np.ndarray, there: np.ndarray) -> np.ndarray:
        import cv2

        covered = there[..., None].astype(np.float32)
        both = np.concatenate([colours.astype(np.float32) / 255 * covered, covered], 2)
        width, height = (self._high - self._low).tolist()
        small = cv2.resize(both, (width, height), interpolation=cv2.INTER_AREA)
        if self._maps is None:
            return small
        return cv2.remap(small, self._maps[..., 0], self._maps[..., 1], cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))


def over(picture: np.ndarray, painted: np.ndarray, opacity: float) -> np.ndarray:
    """`(H, W, 3)` uint8 picture with what was painted laid over it."""
    mixed = picture * (1 - opacity * painted[..., 3:]) + 255 * opacity * painted[..., :3]
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def tool_poses(told: Told, robot: RobotModel | None) -> Poses:
    """Where the gripper is: as told, or by the joints of the robot; axes as hands' tools have them."""
    if told.tool is not None:
        return told.tool
    assert robot is not None and told.joints is not None
    solver = robot.solvers[told.side]
    found = [solver.forward(joints) for joints in told.joints]
    away = as_pose((0, 0, 0, *robot.arms[told.side].turn)).turn[0]
    return Poses(np.array([point for point, _ in found]), np.array([turn for _, turn in found]) @ away.T)


def _canvas(lens: Lens) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """What is drawn of the plane without distortion, from one corner to the other [px], whole numbers; and where each
    pixel of the picture lies on it."""
    maps = lens.straightened()
    if maps is None:
        return None, np.zeros(2, int), np.array([lens.width, lens.height])
    low = np.floor(maps.min((0, 1))).astype(int) - 1
    high = np.ceil(maps.max((0, 1))).astype(int) + 2
    return (maps - low).astype(np.float32), low, high


def _prepare(model: mujoco.MjModel, size: np.ndarray, robot: RobotModel | None) -> None:
    """Room for the picture, even light, and nothing but the robot to be seen."""
    view = model.vis.global_
    view.offwidth, view.offheight = max(int(size[0]), view.offwidth), max(int(size[1]), view.offheight)
    model.vis.quality.offsamples = 0  # what is drawn finer needs no more
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.45, 0.45
    if robot is None:
        return
    joints = [joint for arm in robot.arms.values() for joint in arm.joints]
    roots = {int(model.body_rootid[model.jnt_bodyid[model.joint(joint).id]]) for joint in joints}
    for geom in range(model.ngeom):
        if int(model.body_rootid[model.geom_bodyid[geom]]) not in roots:
            model.geom_group[geom] = HIDDEN


def _grippers(sides: tuple[str, ...]) -> str:
    """Two fingers on a palm for each side; the tool's frame: x where the fingers point, y from the thumb's finger to
    the index's, its origin between the pads."""
    bodies = "".join(
        f"""<body name="{side}" mocap="true">
        <geom type="box" size="0.012 0.052 0.013" pos="-0.054 0 0" rgba="0.20 0.21 0.24 1"/>
        <geom type="capsule" size="0.016" fromto="-0.066 0 0 -0.13 0 0" rgba="0.93 0.94 0.95 1"/>
        {_finger(side, "thumb", -1)}{_finger(side, "index", 1)}</body>"""
        for side in sides
    )
    return f"<mujoco><worldbody>{bodies}</worldbody></mujoco>"


def _finger(side: str, name: str, way: int) -> str:
    return f"""<body name="{side}_{name}"><joint name="{side}_{name}" type="slide" axis="0 {way} 0"/>
        <geom type="box" size="0.024 0.004 0.008" pos="-0.018 {way * 0.004} 0" mass="0.01" rgba="0.95 0.75 0.15 1"/>
        </body>"""
