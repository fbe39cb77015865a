"""A robot's model as loaded: the solvers of its arms, its grippers, and what its arms run into."""

from __future__ import annotations

import dataengine.sim  # noqa: F401 – says how MuJoCo shall draw before anybody imports it

# isort: split
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from pipelines.retarget.arm import COLLISION, Arm, Followed, Tolerance, follow
from pipelines.retarget.hand import Poses
from pipelines.retarget.ik import Solver
from pipelines.retarget.model_file import load

UNITS = {int(mujoco.mjtJoint.mjJNT_SLIDE): "m", int(mujoco.mjtJoint.mjJNT_HINGE): "rad"}


class RobotModel:
    """A model, MJCF or URDF, and its arms by the side of the hand that moves them. Meshes stand where the file says.

    Raises `ConfigError` where the file, a tool, a joint or a gripper is not there, naming those that are.
    """

    def __init__(self, path: Path, arms: Mapping[str, Arm]) -> None:
        self.arms = dict(arms)
        self.model = load(path, partial(_with_sites, [arm.tool for arm in arms.values()], path))
        self.data = mujoco.MjData(self.model)
        mujoco.mj_resetData(self.model, self.data)
        for arm in self.arms.values():
            for joint in (*arm.joints, *([arm.gripper] if arm.gripper else [])):
                self._check_joint(joint, path)
        self.solvers = {
            side: Solver(self.model, self.data, arm.joints, _site(arm.tool), arm.lever) for side, arm in arms.items()
        }
        self._sides = {side: self._carried(arm) for side, arm in self.arms.items()}
        self._hands = {side: self._subtree(arm.joints[-1:]) for side, arm in self.arms.items()}
        self._loose = {body for body in range(self.model.nbody) if self._is_loose(body)}

    def home(self, side: str) -> np.ndarray:
        """Joint angles `(J,)` to begin near to."""
        home, solver = self.arms[side].home, self.solvers[side]
        return self.model.qpos0[solver.qpos].copy() if home is None else np.array(home, np.float64)

    def follow(
        self, poses: Mapping[str, Poses], wanted: np.ndarray, begins: np.ndarray, fps: float, tolerance: Tolerance
    ) -> dict[str, Followed]:
        """What each arm makes of the poses of a hand's tool, given in the model's world; see `arm.follow`. Arms are
        solved one by one, then looked at together: frames with a collision deeper than the tolerance are flagged."""
        found: dict[str, Followed] = {}
        for side, arm in self.arms.items():

            def touches(joints: np.ndarray, side: str = side) -> bool:
                return side in self.collision({side: joints}, tolerance.place)

            home = self.home(side)
            found[side] = follow(self.solvers[side], arm, home, poses[side], wanted, begins, fps, tolerance, touches)
        for t in np.flatnonzero(wanted):
            hit = self.collision({side: each.joints[t] for side, each in found.items()}, tolerance.place)
            for side in hit:
                found[side].reason[t] = found[side].reason[t] or COLLISION
        return found

    def gripper(self, side: str) -> tuple[str, float, float]:
        """Unit of the gripper's element, and what it is closed and open."""
        arm = self.arms[side]
        if arm.gripper is None:
            return "1", 0.0 if arm.closed is None else arm.closed, 1.0 if arm.opened is None else arm.opened
        joint = self.model.joint(arm.gripper)
        low, high = (float(edge) for edge in self.model.jnt_range[joint.id])
        unit = UNITS[int(self.model.jnt_type[joint.id])]
        return unit, low if arm.closed is None else arm.closed, high if arm.opened is None else arm.opened

    def joint_units(self, side: str) -> list[str]:
        """Of each joint's position."""
        return [UNITS[int(self.model.jnt_type[self.model.joint(name).id])] for name in self.arms[side].joints]

    def collision(self, joints: Mapping[str, np.ndarray], depth: float) -> set[str]:
        """Sides whose arm reaches deeper than `depth` [m] into something that stands, into itself or into another arm,
        as far as the model lets them collide. What lies about loosely and a hand's own fingers do not count."""
        if not any(arm.collisions for arm in self.arms.values()):
            return set()
        for side, angles in joints.items():
            self.data.qpos[self.solvers[side].qpos] = angles
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_collision(self.model, self.data)
        hit: set[str] = set()
        for number in range(self.data.ncon):
            contact = self.data.contact[number]
            bodies = {int(self.model.geom_bodyid[geom]) for geom in contact.geom}
            if contact.dist < -depth and not bodies & self._loose:
                hit |= {
                    side
                    for side, arm in self.arms.items()
                    if arm.collisions and bodies & self._sides[side] and not bodies <= self._hands[side]
                }
        return hit

    def _check_joint(self, name: str, path: Path) -> None:
        kinds = {self.model.joint(n).name: int(self.model.jnt_type[n]) for n in range(self.model.njnt)}
        if name not in kinds:
            raise ConfigError(f"{path.name} has no joint {name!r}; it has {', '.join(sorted(kinds))}")
        if kinds[name] not in UNITS:
            raise ConfigError(f"{path.name}: the joint {name!r} neither turns nor slides")

    def _carried(self, arm: Arm) -> set[int]:
        """Bodies that the arm's joints move."""
        return self._subtree(arm.joints)

    def _subtree(self, joints: tuple[str, ...]) -> set[int]:
        found: set[int] = {int(self.model.jnt_bodyid[self.model.joint(name).id]) for name in joints}
        for body in range(1, self.model.nbody):  # parents come first
            if int(self.model.body_parentid[body]) in found:
                found.add(body)
        return found

    def _is_loose(self, body: int) -> bool:
        root = int(self.model.body_rootid[body])
        first = int(self.model.body_jntadr[root])
        return root > 0 and first >= 0 and int(self.model.jnt_type[first]) not in UNITS


def _site(tool: str) -> str:
    return f"retarget {tool}"


def _with_sites(tools: list[str], path: Path, spec: mujoco.MjSpec) -> None:
    """Each tool has a site of a name that is known."""
    for tool in tools:
        body, site = spec.body(tool), spec.site(tool)
        if site is not None:
            site.name = _site(tool)
        elif body is not None:
            body.add_site(name=_site(tool))
        else:
            there = ", ".join(thing.name for thing in (*spec.sites, *spec.bodies) if thing.name)
            raise ConfigError(f"{path.name} has no body or site {tool!r}; it has {there}")
