"""Driving an arm by its tool: twists and poses become joint angles, by differential inverse kinematics (mink).

One quadratic program a tick: the least squares of tool and posture, within the joints' positions, speeds and
accelerations, and away from what the model says the arm would hit. What comes out is the robot's own action, joint
angles or a tool pose. Lengths in m, angles in rad, the robot's base frame.
"""

from __future__ import annotations

import dataengine.sim  # noqa: F401 – says how MuJoCo shall draw before anybody imports it

# isort: split
import math
from collections.abc import Mapping

import mink
import mujoco
import numpy as np

from collectors.teleop.joint_limit import JointLimit
from collectors.teleop.reference import Reference
from dataengine.episode import Feature
from dataengine.errors import RobotError
from dataengine.robot import Command, Kinematics, Sample

# The tool pointing straight down, fingers opening along y: columns are its axes in the base frame. The angles of tool
# poses are relative to it.
DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
TURNS = ("ee.roll", "ee.pitch", "ee.yaw")

POSITION_COST, ORIENTATION_COST, POSTURE_COST = 1.0, 0.12, 1e-3  # [1/m], [1/rad], [1/rad]
CLEARANCE, NOTICED = 0.004, 0.03  # [m] kept from what is in the way, and from where on it is looked at
BACK = 2e-4  # [m] a step that something too near goes back
CLOSING = 0.3  # share of what is left that may be closed in one step
GAIN = 0.5  # share of the way to the reference that is asked for in one step; all of it would swing around it
SOLVER = "daqp"


class Apart(mink.CollisionAvoidanceLimit):
    """What is nearer than the clearance goes back: the limit is linear, the arm is not, so it would creep on."""

    def compute_qp_inequalities(self, configuration: mink.Configuration, dt: float) -> mink.Constraint:
        found = super().compute_qp_inequalities(configuration, dt)
        return mink.Constraint(found.G, None if found.h is None else np.where(found.h <= 0.0, -BACK, found.h))


class Cartesian:
    """What a robot's action is for a command of its tool.

    action, state: features `action` and `observation.state` of the robot. fps: steps a second. scale: metres of the
    tool for a metre of a device that gives poses.
    """

    def __init__(self, kinematics: Kinematics, action: Feature, state: Feature, fps: float, scale: float = 1.0) -> None:
        self.kinematics, self.model, self.dt = kinematics, kinematics.model, 1 / fps
        self.action, self._names, self._state = action, list(action.names or ()), list(state.names or ())
        self._columns, self._units = _columns(kinematics, state)
        self._zeros = np.array(kinematics.zeros or (0.0,) * len(kinematics.joints))
        joints = [self.model.joint(name) for name in kinematics.joints]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dofs = np.array([joint.dofadr[0] for joint in joints])
        tilts = (not kinematics.pose_actions and len(joints) >= 6) or {"ee.roll", "ee.pitch"} <= set(self._names)
        self.reference = Reference(self.dt, tilts, scale)
        self._configuration = mink.Configuration(self.model)
        self._tool = mink.FrameTask(
            kinematics.site, "site", POSITION_COST, ORIENTATION_COST, gain=GAIN, lm_damping=1e-4
        )
        self._posture = mink.PostureTask(self.model, POSTURE_COST)
        ranges = [self.model.jnt_range[j.id] if self.model.jnt_limited[j.id] else (-np.inf, np.inf) for j in joints]
        self._joint_limit = JointLimit(
            self._dofs, self._qpos, np.array(ranges), self.model.nv, kinematics.speed, kinematics.acceleration
        )
        self._limits = self._made_limits()
        self._still = np.zeros(len(self._dofs))
        self._opening = 1.0
        self._ready = False
        self._posture.set_target(self.model.qpos0)
        self.reference.begin(*self.tool())
        self._solve()  # the solver is loaded now, not at the first motion

    def _made_limits(self) -> list[mink.Limit]:
        """Of the arm's joints, of what it must not hit, and of all that is not the arm: it does not move."""
        model, arm = self.model, set(self.kinematics.joints)
        sliding = (int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE))
        others = [model.joint(n).name for n in range(model.njnt) if model.jnt_type[n] in sliding]
        limits = [self._joint_limit, mink.VelocityLimit(model, {name: 0.0 for name in others if name not in arm})]
        moving, fixed = _geoms(model, self._dofs)
        if moving and fixed:
            limits.append(
                Apart(
                    model,
                    [(moving, fixed)],
                    gain=CLOSING * self.dt,  # mink takes it for a share in one second
                    minimum_distance_from_collisions=CLEARANCE,
                    collision_detection_distance=NOTICED,
                )
            )
        return limits

    def forget(self) -> None:
        """The next command begins from where the robot is then."""
        self._ready = False

    def freeze(self) -> None:
        """The clutch is open: where the tool is asked to be stays."""
        self.reference.release()
        self._joint_limit.before = self._still

    def wish(self, command: Command, observation: Mapping[str, Sample]) -> np.ndarray:
        """The action `(A,)` for a command with a twist or a pose."""
        if not self._ready:
            self._begin(observation)
        self.reference.take(command, *self.tool())
        if command.gripper is not None:
            self._opening = command.gripper
        self._solve()
        return self._made_action()

    def tool(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the solution's tool is: point `(3,)` and axes `(3, 3)`."""
        site = self._configuration.data.site(self.kinematics.site)
        return site.xpos.copy(), site.xmat.reshape(3, 3).copy()

    @property
    def joints(self) -> np.ndarray:
        """The solution's joint angles `(J,)`."""
        return self._configuration.q[self._qpos]

    def _begin(self, observation: Mapping[str, Sample]) -> None:
        state = observation["observation.state"].value
        q = self.model.qpos0.copy()
        q[self._qpos] = (state[self._columns] - self._zeros) * self._units
        self._configuration.update(q)
        self._posture.set_target(q)
        self._joint_limit.before = self._still
        if self.kinematics.gripper is not None:
            self._opening = self._measured_opening(observation["observation.state"])
        self.reference.begin(*self.tool())
        self._ready = True

    def _measured_opening(self, state: Sample) -> float:
        """The gripper's opening, 0 to 1, where the state has it; else open."""
        if self.kinematics.gripper not in self._state:
            return 1.0
        low, high = self._gripper_range()
        measured = state.value[self._state.index(self.kinematics.gripper)]
        return float(np.clip((measured - low) / (high - low), 0, 1)) if high != low else 1.0

    def _solve(self) -> None:
        """One step towards the reference; where no solution is left the arm stays where it is."""
        self._tool.set_target(self.reference.pose())
        tasks = [self._tool, self._posture]
        try:
            velocity = mink.solve_ik(self._configuration, tasks, self.dt, SOLVER, damping=1e-6, limits=self._limits)
        except mink.NoSolutionFound:  # too fast to avoid what is ahead within the acceleration: avoiding it comes first
            self._joint_limit.before = None
            try:
                velocity = mink.solve_ik(self._configuration, tasks, self.dt, SOLVER, damping=1e-6, limits=self._limits)
            except mink.NoSolutionFound:
                velocity = np.zeros(self.model.nv)
        motion = np.zeros(self.model.nv)
        motion[self._dofs] = velocity[self._dofs]
        self._joint_limit.before = motion[self._dofs]
        self._configuration.integrate_inplace(motion, self.dt)

    def _made_action(self) -> np.ndarray:
        point, axes = self.tool()
        values: dict[str, float] = {}
        if self.kinematics.pose_actions:
            values = dict(zip(("ee.x", "ee.y", "ee.z"), point, strict=True))
            turns = mink.SO3.from_matrix(axes @ DOWN.T).as_rpy_radians()
            values |= dict(zip(TURNS, self.reference.unwrapped(np.array(turns)), strict=True))
        else:
            q = self.joints / self._units + self._zeros
            for name, angle in zip(self.kinematics.elements or self.kinematics.joints, q, strict=True):
                values[name] = values[f"{name}.pos"] = float(angle)
        if self.kinematics.gripper is not None:
            low, high = self._gripper_range()
            values[self.kinematics.gripper] = low + self._opening * (high - low)
        try:
            return np.array([values[name] for name in self._names], np.float64)
        except KeyError as absent:
            raise RobotError(f"nothing gives the action's {absent.args[0]}; kinematics name {', '.join(values)}") from (
                None
            )

    def _gripper_range(self) -> tuple[float, float]:
        """Closed and open in the action's unit: as the robot says, else its limits, else 0 and 1."""
        assert self.kinematics.gripper is not None
        if self.kinematics.gripper_range is not None:
            return self.kinematics.gripper_range
        at = self._names.index(self.kinematics.gripper)
        low, high = (
            np.broadcast_to(self.action.info.get(k, v), self.action.size) for k, v in (("low", 0), ("high", 1))
        )
        return float(low[at]), float(high[at])


def _columns(kinematics: Kinematics, state: Feature) -> tuple[np.ndarray, np.ndarray]:
    """Where in the state the joints' angles stand, and what one unit there is in rad, negative for those that count
    the other way round."""
    names, wanted = list(state.names or ()), kinematics.elements or kinematics.joints
    units = state.unit if isinstance(state.unit, tuple) else (state.unit,) * state.size
    found = [names.index(n) if n in names else names.index(f"{n}.pos") if f"{n}.pos" in names else -1 for n in wanted]
    if -1 in found:
        raise RobotError(f"the state says nothing of {wanted[found.index(-1)]}; it has {', '.join(names)}")
    signs = kinematics.signs or (1.0,) * len(found)
    return np.array(found), np.array(
        [sign * (math.pi / 180 if units[at] == "deg" else 1.0) for at, sign in zip(found, signs, strict=True)]
    )


def _geoms(model: mujoco.MjModel, dofs: np.ndarray) -> tuple[list[int], list[int]]:
    """Geoms that the arm moves and that collide, and those that stand still; things that lie about are neither."""
    moving, fixed = [], []
    for geom in range(model.ngeom):
        if not (model.geom_contype[geom] or model.geom_conaffinity[geom]):
            continue
        body = int(model.geom_bodyid[geom])
        if model.body_weldid[body] == 0:
            fixed.append(geom)
        elif _carried(model, body, set(map(int, dofs))):
            moving.append(geom)
    return moving, fixed


def _carried(model: mujoco.MjModel, body: int, dofs: set[int]) -> bool:
    while body:
        first = int(model.body_dofadr[body])
        if first >= 0 and dofs & set(range(first, first + int(model.body_dofnum[body]))):
            return True
        body = int(model.body_parentid[body])
    return False
