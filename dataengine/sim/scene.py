"""The table and what lies on it: model, random layouts, and what can be measured in it.

A layout depends on the seed alone, never on the task, so that every instruction is possible in every scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np

from dataengine.sim.arm import FINGER_STROKE, FINGERS, JOINTS, actuators_xml, arm_xml, defaults_xml
from dataengine.sim.kinematics import inverse

COLOURS = {"red": "0.88 0.10 0.10 1", "blue": "0.10 0.22 0.92 1"}
CUBE_HALF = 0.015  # [m]
PAD_HALF = 0.04  # [m]
TIMESTEP = 0.005  # [s]

# Centres of cubes and pad, (x, y) in [m], and how far apart they start.
AREA_LOW, AREA_HIGH = np.array([0.17, -0.13]), np.array([0.32, 0.13])
CUBE_TO_CUBE, CUBE_TO_PAD = 0.075, 0.085

HOME = np.array([0.21, 0.0, 0.15, 0.0])  # (x, y, z, yaw) where the tool starts, before its own variation


def _cube_xml(colour: str) -> str:
    return f"""
    <body name="{colour}"><freejoint name="{colour}"/>
      <geom name="{colour}" type="box" size="{CUBE_HALF} {CUBE_HALF} {CUBE_HALF}" mass="0.025" rgba="{COLOURS[colour]}"
            friction="1 0.01 0.0005" condim="4" solref="0.01 1"/>
    </body>"""


def model_xml() -> str:
    """The whole world as MJCF. The pad is flat paint on the table and collides with nothing."""
    return f"""
<mujoco model="tabletop">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <size memory="4M"/>
  <visual>
    <quality shadowsize="0" offsamples="0" numslices="12" numstacks="8" numquads="1"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
    <global offwidth="640" offheight="640"/>
    <map znear="0.02" zfar="5"/>
  </visual>
  <default>{defaults_xml()}</default>
  <worldbody>
    <light pos="0.3 -0.5 1.2" dir="0 0.4 -1" diffuse="0.5 0.5 0.5" specular="0 0 0" castshadow="false"/>
    <geom name="table" type="plane" size="1.2 1.2 0.1" rgba="0.62 0.58 0.52 1" friction="1 0.01 0.0005"/>
    <camera name="front" mode="fixed" pos="0.66 0 0.42" xyaxes="0 1 0 -0.66 0 0.75" fovy="34"/>
    <body name="pad" mocap="true">
      <geom name="pad" type="box" size="{PAD_HALF} {PAD_HALF} 0.0005" rgba="0.16 0.62 0.30 1" class="shown"/>
    </body>
    {arm_xml()}
    {"".join(_cube_xml(colour) for colour in COLOURS)}
  </worldbody>
  {actuators_xml()}
</mujoco>"""


@cache
def load_model() -> mujoco.MjModel:
    """The compiled model, made once per process; nothing changes it."""
    return mujoco.MjModel.from_xml_string(model_xml())


@dataclass(frozen=True)
class Layout:
    """Where things start. Cubes and pad are `(x, y, yaw)` [m, m, rad], the tool is `(x, y, z, yaw)`."""

    cubes: dict[str, np.ndarray]
    pad: np.ndarray
    tool: np.ndarray

    @classmethod
    def sample(cls, seed: int) -> Layout:
        """The layout of a seed, by rejection: things stay apart so that each can be grasped."""
        rng = np.random.default_rng(seed)
        while True:
            places = rng.uniform(AREA_LOW, AREA_HIGH, (len(COLOURS) + 1, 2))
            pad, cubes = places[0], places[1:]
            gaps = np.linalg.norm(cubes[:, None] - cubes[None], axis=-1) + np.eye(len(cubes))
            if gaps.min() > CUBE_TO_CUBE and np.linalg.norm(cubes - pad, axis=-1).min() > CUBE_TO_PAD:
                break
        yaws = rng.uniform(-np.pi, np.pi, len(COLOURS) + 1)
        tool = HOME + rng.uniform(-1, 1, 4) * np.array([0.03, 0.05, 0.02, 0.15])
        return cls(
            cubes={c: np.array([*p, yaw]) for c, p, yaw in zip(COLOURS, cubes, yaws[1:], strict=True)},
            pad=np.array([*pad, yaws[0]]),
            tool=tool,
        )


class Scene:
    """A model in motion, and what can be measured in it, in the base frame [m, rad, s]."""

    def __init__(self) -> None:
        self.model = load_model()
        self.data = mujoco.MjData(self.model)
        m = self.model
        self._joints = np.array([m.joint(name).qposadr[0] for name in JOINTS])
        self._fingers = np.array([m.joint(name).qposadr[0] for name in FINGERS])
        self._cubes = {colour: m.joint(colour).qposadr[0] for colour in COLOURS}
        self._cube_dofs = {colour: m.joint(colour).dofadr[0] for colour in COLOURS}
        self._geoms = {name: m.geom(name).id for name in (*COLOURS, "table", "palm", *(f"{f}_pad" for f in FINGERS))}
        self._ee = m.site("ee").id

    def place(self, layout: Layout) -> None:
        """Put everything where the layout says, at rest, the gripper open."""
        mujoco.mj_resetData(self.model, self.data)
        joints = inverse(layout.tool)
        self.data.qpos[self._joints] = joints
        self.data.qpos[self._fingers] = FINGER_STROKE
        self.data.ctrl[:] = [*joints, FINGER_STROKE]
        for colour, (x, y, yaw) in layout.cubes.items():
            start = self._cubes[colour]
            self.data.qpos[start : start + 7] = [x, y, CUBE_HALF, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        x, y, yaw = layout.pad
        self.data.mocap_pos[0] = [x, y, 0.0]
        self.data.mocap_quat[0] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        mujoco.mj_forward(self.model, self.data)

    def advance(self, joints: np.ndarray, gripper: float, seconds: float) -> None:
        """Run physics with servo targets: joint angles `(5,)` [rad] and opening of the gripper, 0 to 1."""
        self.data.ctrl[:] = [*joints, gripper * FINGER_STROKE]
        mujoco.mj_step(self.model, self.data, nstep=round(seconds / TIMESTEP))
        mujoco.mj_forward(self.model, self.data)

    def snapshot(self) -> np.ndarray:
        """Everything physics needs to go on from here."""
        state = np.empty(mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(self.model, self.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        return state

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot."""
        mujoco.mj_setState(self.model, self.data, snapshot, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_forward(self.model, self.data)

    @property
    def joints(self) -> np.ndarray:
        """Measured joint angles `(5,)` [rad]."""
        return self.data.qpos[self._joints]

    @property
    def gripper(self) -> float:
        """Measured opening, 0 closed to 1 open (7 cm)."""
        return float(self.data.qpos[self._fingers].mean() / FINGER_STROKE)

    @property
    def tool(self) -> np.ndarray:
        """Measured tool pose `(4,)`: x, y, z [m] and yaw [rad], not wrapped."""
        q = self.joints
        return np.array([*self.data.site_xpos[self._ee], q[0] - q[4]])

    def cube(self, colour: str) -> np.ndarray:
        """Centre of a cube `(3,)` [m]."""
        start = self._cubes[colour]
        return self.data.qpos[start : start + 3].copy()

    def cube_yaw(self, colour: str) -> float:
        """Heading of a cube about z [rad]; its fourfold symmetry is left to the caller."""
        w, x, y, z = self.data.qpos[self._cubes[colour] + 3 : self._cubes[colour] + 7]
        return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))

    def cube_speed(self, colour: str) -> float:
        """Speed of a cube's centre [m/s]."""
        start = self._cube_dofs[colour]
        return float(np.linalg.norm(self.data.qvel[start : start + 3]))

    @property
    def pad(self) -> np.ndarray:
        """The pad's `(x, y, yaw)`."""
        quat = self.data.mocap_quat[0]
        return np.array([*self.data.mocap_pos[0, :2], 2 * np.arctan2(quat[3], quat[0])])

    def touching(self, one: str, other: str) -> bool:
        """Whether two named geoms are in contact; fingers are `left_finger_pad` and `right_finger_pad`."""
        pairs = self.data.contact.geom
        a, b = self._geoms[one], self._geoms[other]
        return bool((((pairs[:, 0] == a) & (pairs[:, 1] == b)) | ((pairs[:, 0] == b) & (pairs[:, 1] == a))).any())

    def held(self, colour: str) -> bool:
        """Whether both fingers touch the cube."""
        return all(self.touching(colour, f"{finger}_pad") for finger in FINGERS)

    def touched(self, colour: str) -> bool:
        """Whether any part of the gripper touches the cube."""
        return any(self.touching(colour, part) for part in ("palm", *(f"{f}_pad" for f in FINGERS)))

    def on_pad(self, colour: str, margin: float = 0.0) -> bool:
        """Whether the cube's centre lies over the pad, at least `margin` [m] from its edge."""
        x, y, yaw = self.pad
        dx, dy, _ = self.cube(colour) - [x, y, 0]
        along = abs(dx * np.cos(yaw) + dy * np.sin(yaw)), abs(-dx * np.sin(yaw) + dy * np.cos(yaw))
        return max(along) < PAD_HALF - margin

    @property
    def state(self) -> np.ndarray:
        """Positions and velocities of everything that moves, and the pad: enough to draw the scene again."""
        return np.concatenate([self.data.qpos, self.data.qvel, self.pad])
