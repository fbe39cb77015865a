"""A scene in motion, and what can be measured in it, in the base frame [m, rad, s]."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from dataengine.sim.arms import ARMS
from dataengine.sim.arms.hand import FINGER_STROKE, FINGERS
from dataengine.sim.furniture import DRAWER_TRAVEL
from dataengine.sim.kinds import KINDS
from dataengine.sim.layout import Layout
from dataengine.sim.model import load_model, substeps
from dataengine.sim.rotations import quaternion

_PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION
GRIPPER_BODIES = ("hand", *FINGERS)


class Still(NamedTuple):
    """One instant, as much as is needed to draw it: small, picklable, and not touched by what happens after it.

    qpos: all joint positions; mocap: positions and quaternions `(M, 7)` of the furniture.
    """

    arm: str
    kind: str
    fps: float
    qpos: np.ndarray
    mocap: np.ndarray


class Scene:
    """The arm, things and furniture of one kind."""

    def __init__(self, arm: str = "five", kind: str = "cubes", fps: float = 10.0) -> None:
        self.arm, self.kind, self.fps = ARMS[arm], KINDS[kind], float(fps)
        self.model = m = load_model(arm, kind, self.fps)
        self.data = mujoco.MjData(m)
        self._substeps = substeps(self.fps)
        self._joints = np.array([m.joint(name).qposadr[0] for name in self.arm.joints])
        self._fingers = np.array([m.joint(name).qposadr[0] for name in FINGERS])
        self._things = {name: m.joint(name).qposadr[0] for name in self.kind.thing}
        self._dofs = {name: m.joint(name).dofadr[0] for name in self.kind.thing}
        self._bodies = {m.body(k).name: k for k in range(m.nbody)}
        self._body_of = np.array(m.geom_bodyid)
        self._inside = {n: self._bodies.get(f"{n}_tray", self._bodies[n]) for n in self.kind.piece}
        self._mocap = {name: int(m.body(name).mocapid[0]) for name in self.kind.piece}
        self._slides = {n: m.joint(n).qposadr[0] for n, piece in self.kind.piece.items() if piece.shape == "drawer"}
        self._ee = m.site("ee").id

    def place(self, layout: Layout) -> None:
        """Put everything where the layout says, at rest, the gripper open."""
        mujoco.mj_resetData(self.model, self.data)
        joints = self.arm.inverse(self.arm.upright(layout.tool))
        self.data.qpos[self._joints] = joints
        self.data.qpos[self._fingers] = FINGER_STROKE
        self.data.ctrl[:] = [*joints, FINGER_STROKE]
        for name, (x, y, z, yaw) in layout.things.items():
            start = self._things[name]
            self.data.qpos[start : start + 7] = [x, y, z, *quaternion(yaw)]
        for name, (x, y, yaw) in layout.furniture.items():
            self.data.mocap_pos[self._mocap[name]] = [x, y, 0.0]
            self.data.mocap_quat[self._mocap[name]] = quaternion(yaw)
        for name, share in layout.slides.items():
            self.data.qpos[self._slides[name]] = share * DRAWER_TRAVEL
        mujoco.mj_forward(self.model, self.data)

    def advance(self, joints: np.ndarray, gripper: float, steps: int = 1) -> None:
        """Run physics for some actions' time with servo targets: joint angles `(J,)` [rad] and opening, 0 to 1."""
        self.data.ctrl[:] = [*joints, gripper * FINGER_STROKE]
        mujoco.mj_step(self.model, self.data, nstep=steps * self._substeps)
        mujoco.mj_forward(self.model, self.data)

    def snapshot(self) -> np.ndarray:
        """Everything physics needs to go on from here exactly as it would have."""
        state = np.empty(mujoco.mj_stateSize(self.model, _PHYSICS))
        mujoco.mj_getState(self.model, self.data, state, _PHYSICS)
        return state

    def restore(self, snapshot: np.ndarray) -> None:
        """Go back to a snapshot."""
        mujoco.mj_setState(self.model, self.data, snapshot, _PHYSICS)
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, snapshot, _PHYSICS)  # the solver's warm start too

    def still(self) -> Still:
        """This instant, to be drawn whenever and wherever."""
        mocap = np.concatenate([self.data.mocap_pos, self.data.mocap_quat], 1)
        return Still(self.arm.name, self.kind.name, self.fps, self.data.qpos.copy(), mocap)

    @property
    def joints(self) -> np.ndarray:
        """Measured joint angles `(J,)` [rad]."""
        return self.data.qpos[self._joints]

    @property
    def gripper(self) -> float:
        """Measured opening, 0 closed to 1 open (7 cm)."""
        return float(self.data.qpos[self._fingers].mean() / FINGER_STROKE)

    @property
    def grip(self) -> float:
        """The opening the gripper was last told, 0 to 1."""
        return float(self.data.ctrl[-1] / FINGER_STROKE)

    @property
    def pose(self) -> np.ndarray:
        """Measured tool pose `(P,)` in the arm's own terms."""
        rotation = self.data.site_xmat[self._ee].reshape(3, 3)
        return self.arm.measured(self.joints, self.data.site_xpos[self._ee], rotation)

    @property
    def tool(self) -> np.ndarray:
        """Measured tool `(4,)`: x, y, z [m] and yaw [rad]."""
        pose = self.pose
        return pose if len(pose) == 4 else pose[[0, 1, 2, -1]]

    def position(self, name: str) -> np.ndarray:
        """Middle of a thing `(3,)` [m]."""
        start = self._things[name]
        return self.data.qpos[start : start + 3].copy()

    def turned(self, name: str) -> np.ndarray:
        """A thing's, piece's or drawer's axes in the base frame, as columns `(3, 3)`."""
        return self.data.xmat[self._bodies[name]].reshape(3, 3)

    def heading(self, name: str) -> float:
        """Heading of a thing about z [rad]; its symmetry is left to the caller."""
        w, x, y, z = self.data.qpos[self._things[name] + 3 : self._things[name] + 7]
        return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))

    def speed(self, name: str) -> float:
        """Speed of a thing's middle [m/s]."""
        start = self._dofs[name]
        return float(np.linalg.norm(self.data.qvel[start : start + 3]))

    def spot(self, piece: str) -> np.ndarray:
        """Where a piece of furniture stands: `(x, y, yaw)`."""
        index = self._mocap[piece]
        quat = self.data.mocap_quat[index]
        return np.array([*self.data.mocap_pos[index, :2], 2 * np.arctan2(quat[3], quat[0])])

    def slide(self, drawer: str) -> float:
        """How far a drawer is out, 0 to 1."""
        return float(self.data.qpos[self._slides[drawer]] / DRAWER_TRAVEL)

    def middle(self, piece: str) -> np.ndarray:
        """Where things are put on or into a piece, `(x, y)`; a drawer's moves with it."""
        return self.data.xpos[self._inside[piece], :2].copy()

    def over(self, name: str, piece: str, margin: float = 0.0) -> bool:
        """Whether a thing's middle lies over a piece's square (bowl: circle), at least `margin` [m] from its edge."""
        start, where = self._things[name], self.kind.piece[piece]
        x, y = self.data.xpos[self._inside[piece], :2].tolist()
        w, _, _, turn = self.data.mocap_quat[self._mocap[piece]].tolist()
        dx, dy = self.data.qpos.item(start) - x, self.data.qpos.item(start + 1) - y
        if where.shape == "bowl":
            return bool(dx * dx + dy * dy < (where.half - margin) ** 2)
        cos, sin = 1 - 2 * turn * turn, 2 * w * turn
        return max(abs(dx * cos + dy * sin), abs(dy * cos - dx * sin)) < where.half - margin

    def touching(self, one: str, other: str) -> bool:
        """Whether two bodies are in contact; `world` is the table."""
        pairs = self._body_of[self.data.contact.geom].tolist()
        a, b = self._bodies[one], self._bodies[other]
        return [a, b] in pairs or [b, a] in pairs

    def held(self, name: str) -> bool:
        """Whether both fingers touch the thing."""
        return all(self.touching(name, finger) for finger in FINGERS)

    def touched(self, name: str) -> bool:
        """Whether any part of the gripper touches the thing."""
        return any(self.touching(name, part) for part in GRIPPER_BODIES)

    @property
    def state(self) -> np.ndarray:
        """Positions and velocities of all that moves, and where furniture stands: enough to draw the scene again."""
        return np.concatenate([self.data.qpos, self.data.qvel, *(self.spot(name) for name in self._mocap)])

    @property
    def state_size(self) -> int:
        return self.model.nq + self.model.nv + 3 * len(self._mocap)
