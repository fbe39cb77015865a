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
from dataengine.sim.robot_file import load
from pipelines.retarget.arm import COLLISION, SPEED_UNSAID, Arm, Followed, Tolerance, follow
from pipelines.retarget.contacts import Contacts, drawn, subtree
from pipelines.retarget.hand import Poses
from pipelines.retarget.ik import Solver
from pipelines.retarget.joints_file import moved_with, said_of_joints

UNITS = {int(mujoco.mjtJoint.mjJNT_SLIDE): "m", int(mujoco.mjtJoint.mjJNT_HINGE): "rad"}
EDGE = 1e-6  # [rad, m] beyond a range that is a rounded number


class RobotModel:
    """A model, MJCF or URDF, and its arms by the side of the hand that moves them. Meshes stand where the file says.

    Raises `ConfigError` where the file, a tool, a joint or a gripper is not there, naming those that are, and where
    they do not belong together.
    """

    def __init__(self, path: Path, arms: Mapping[str, Arm]) -> None:
        self.path, self.arms = path, dict(arms)
        prepare = partial(_with_sites, {arm.tool for arm in arms.values()}, path)
        self.model = load(path, prepare, shapes=any(arm.collisions for arm in arms.values()))
        self.data = mujoco.MjData(self.model)
        mujoco.mj_resetData(self.model, self.data)
        for arm in self.arms.values():
            for joint in (*arm.joints, *([arm.gripper] if arm.gripper else [])):
                self._check_joint(joint)
        self._said = said_of_joints(path, self.model)
        self.solvers = {
            side: Solver(self.model, self.data, arm.joints, self._site(arm.tool), arm.lever)
            for side, arm in arms.items()
        }
        for side in self.arms:
            self._check_arm(side)
        self._sides = {side: subtree(self.model, self._ids(arm.joints)) for side, arm in self.arms.items()}
        self._hands = {side: subtree(self.model, self._ids(arm.joints[-1:])) for side, arm in self.arms.items()}
        roots = {int(self.model.body_rootid[body]) for side in self._sides.values() for body in side}
        self._loose = {body for body in range(self.model.nbody) if self._is_loose(body, roots)}
        self.contacts = Contacts(self.model, self.data)
        if any(arm.collisions for arm in self.arms.values()):
            self._pass()

    def home(self, side: str) -> np.ndarray:
        """Joint angles `(J,)` to begin near to."""
        home, solver = self.arms[side].home, self.solvers[side]
        return self.model.qpos0[solver.qpos].copy() if home is None else np.array(home, np.float64)

    def speed(self, side: str) -> np.ndarray:
        """The most of its joints `(J,)` [rad/s, m/s]."""
        arm = self.arms[side]
        said = [min(SPEED_UNSAID, self._said.speeds.get(joint, SPEED_UNSAID)) for joint in arm.joints]
        return np.array(said) if arm.speed is None else np.broadcast_to(arm.speed, len(said)).astype(np.float64)

    def follow(
        self,
        poses: Mapping[str, Poses],
        wanted: np.ndarray,
        begins: np.ndarray,
        fps: float,
        tolerance: Tolerance,
        beside: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, Followed]:
        """What each arm makes of the poses of a hand's tool, given in the model's world; see `arm.follow`. Arms are
        solved one by one, then looked at together: frames with a collision deeper than the tolerance are flagged.
        beside: where other joints are meanwhile, by name `(T,)`; those that the model does not have are passed over."""
        there = {name: self._place(name) for name in beside or {} if self._id(name) >= 0}
        places = np.array(list(there.values()), int)
        others = np.array([(beside or {})[name] for name in there]).reshape(len(there), len(wanted)).T
        mujoco.mj_resetData(self.model, self.data)  # nothing is left of another episode
        found: dict[str, Followed] = {}
        for side, arm in self.arms.items():

            def touches(frame: int, joints: np.ndarray, side: str = side) -> bool:
                self.data.qpos[places] = others[frame]
                arms = {other: f.joints[frame] for other, f in found.items()}
                return side in self.collision({**arms, side: joints}, tolerance.place)

            told = self.solvers[side], arm, self.home(side), poses[side], wanted, begins, fps, tolerance
            found[side] = follow(*told, self.speed(side), touches)
        hits: dict[str, dict[int, tuple[float, str]]] = {side: {} for side in found}
        for t in np.flatnonzero(wanted).tolist():
            self.data.qpos[places] = others[t]
            for side, hit in self.collision({side: f.joints[t] for side, f in found.items()}, tolerance.place).items():
                found[side].reason[t] = found[side].reason[t] or COLLISION
                hits[side][t] = hit
        return {side: each._replace(touches=hits[side]) for side, each in found.items()}

    def gripper(self, side: str) -> tuple[str, float, float]:
        """Unit of the gripper's element, and what it is closed and open."""
        arm = self.arms[side]
        if arm.gripper is None:
            return "1", 0.0 if arm.closed is None else arm.closed, 1.0 if arm.opened is None else arm.opened
        joint = self.model.joint(arm.gripper)
        low, high = (float(edge) for edge in self.model.jnt_range[joint.id])
        unit = UNITS[int(self.model.jnt_type[joint.id])]
        return unit, low if arm.closed is None else arm.closed, high if arm.opened is None else arm.opened

    def gripper_joints(self, side: str, opening: np.ndarray) -> dict[str, np.ndarray]:
        """Where the gripper's joint and those that are tied to it are, `(T,)` each, for openings `(T,)` 0 to 1."""
        if (joint := self.arms[side].gripper) is None:
            return {}
        _, closed, opened = self.gripper(side)
        return self.moved_with(joint, closed + opening * (opened - closed))

    def moved_with(self, joint: str, places: np.ndarray) -> dict[str, np.ndarray]:
        """A joint's places `(T,)` and those of the joints that are tied to it."""
        return moved_with(joint, places, self._said.couplings)

    def joint_units(self, side: str) -> list[str]:
        """Of each joint's position."""
        return [UNITS[int(self.model.jnt_type[number])] for number in self._ids(self.arms[side].joints)]

    def collision(self, joints: Mapping[str, np.ndarray], depth: float) -> dict[str, tuple[float, str]]:
        """Sides whose arm reaches deeper than `depth` [m] into something that stands, into itself or into another arm,
        as far as the model lets them collide, with the deepest: how deep, and what in what. What lies about loosely and
        a hand's own fingers do not count."""
        if not any(arm.collisions for arm in self.arms.values()):
            return {}
        for side, angles in joints.items():
            self.data.qpos[self.solvers[side].qpos] = angles
        hit: dict[str, tuple[float, str]] = {}
        for pair, deep in self.contacts.deeper(depth):
            for side in self._hit(pair):
                if deep > hit.get(side, (0.0, ""))[0]:
                    hit[side] = deep, self.contacts.words(pair)
        return hit

    def assumed(self) -> list[str]:
        """What is taken for true of its speeds and collisions, in words."""
        found = []
        for side, arm in self.arms.items():
            if arm.speed is None:
                most = ", ".join(f"{speed:g}" for speed in self.speed(side))
                found.append(f"the {side} arm's joints do at most {most} [rad/s, m/s]")
            if arm.gripper and (arm.closed is None or arm.opened is None):
                _, closed, opened = self.gripper(side)
                found.append(f"the {side} arm's {arm.gripper} is closed at {closed:g} and open at {opened:g}")
            if not arm.collisions:
                found.append(f"the {side} arm collides with nothing")
            elif not self.contacts.can(self._sides[side]):
                found.append(f"nothing of the {side} arm can collide in {self.path.name}")
        return found + [f"{pair} touch in any posture, which is no collision" for pair in self.contacts.always]

    # -- whether what is said fits together --------------------------------------------------------------------------

    def _check_joint(self, name: str) -> None:
        kinds = {self.model.joint(n).name: int(self.model.jnt_type[n]) for n in range(self.model.njnt)}
        if name not in kinds:
            raise ConfigError(f"{self.path.name} has no joint {name!r}; it has {', '.join(sorted(kinds))}")
        if kinds[name] not in UNITS:
            raise ConfigError(f"{self.path.name}: the joint {name!r} neither turns nor slides")

    def _check_arm(self, side: str) -> None:
        arm, solver, where = self.arms[side], self.solvers[side], self.path.name
        body, above = int(self.model.site_bodyid[solver.site]), set()
        while body:
            first = int(self.model.body_jntadr[body])
            above |= {self.model.joint(n).name for n in range(first, first + int(self.model.body_jntnum[body]))}
            body = int(self.model.body_parentid[body])
        if still := [name for name in arm.joints if name not in above]:
            raise ConfigError(f"{where}: joint {still[0]} does not move the tool {arm.tool!r}; one of both is another")
        if tied := [
            c for c in self._said.couplings if {c.follower, c.leader} & set(arm.joints) and c.follower in above
        ]:
            one = tied[0]
            raise ConfigError(
                f"{where}: joint {one.follower}, on the way to the tool, follows {one.leader}; no arm can do that here"
            )
        home = self.home(side)
        if arm.home is not None and (np.clip(home, solver.low - EDGE, solver.high + EDGE) != home).any():
            n = int(np.argmax(np.clip(home, solver.low - EDGE, solver.high + EDGE) != home))
            raise ConfigError(
                f"arm: home has {home[n]:g} for {arm.joints[n]}, which goes from {solver.low[n]:g} to "
                f"{solver.high[n]:g} [rad, m]"
            )
        self._check_gripper(side)
        if shared := [j for other, a in self.arms.items() if other != side for j in a.joints if j in arm.joints]:
            raise ConfigError(f"arm: joint {shared[0]} is moved by both hands; leave it out of one")

    def _check_gripper(self, side: str) -> None:
        arm = self.arms[side]
        if arm.gripper is None:
            return
        joint = self.model.joint(arm.gripper).id
        limited, (low, high) = bool(self.model.jnt_limited[joint]), self.model.jnt_range[joint]
        if not limited and (arm.closed is None or arm.opened is None):
            raise ConfigError(f"arm: the gripper {arm.gripper} has no range in the file; give closed and opened")
        _, closed, opened = self.gripper(side)
        if closed == opened or (limited and not all(low - EDGE <= at <= high + EDGE for at in (closed, opened))):
            raise ConfigError(
                f"arm: closed {closed:g} and opened {opened:g} are two places of the gripper {arm.gripper}, which goes "
                f"from {low:g} to {high:g} [rad, m]"
            )

    def _pass(self) -> None:
        for arm in self.arms.values():
            for pair in arm.may_touch:
                self.contacts.may_touch(*pair)
        places, low, high = (
            np.concatenate([getattr(one, what) for one in self.solvers.values()]) for what in ("qpos", "low", "high")
        )
        self.contacts.pass_always(places, drawn(low, high), self._hit)

    def _hit(self, pair: frozenset[int]) -> list[str]:
        """Sides whose arm collides where two parts reach into one another."""
        if pair & self._loose:
            return []
        sides = [side for side, arm in self.arms.items() if arm.collisions and pair & self._sides[side]]
        return [side for side in sides if not pair <= self._hands[side]]

    # -- numbers of the model ----------------------------------------------------------------------------------------

    def _site(self, tool: str) -> str:
        found = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SITE, tool)
        return tool if found >= 0 else _site_of(tool)

    def _id(self, joint: str) -> int:
        return int(mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_JOINT, joint))

    def _ids(self, joints: tuple[str, ...]) -> list[int]:
        return [self._id(joint) for joint in joints]

    def _place(self, joint: str) -> int:
        return int(self.model.jnt_qposadr[self._id(joint)])

    def _is_loose(self, body: int, robots: set[int]) -> bool:
        """robots: roots of the bodies that the arms are of, which may themselves drive about."""
        root = int(self.model.body_rootid[body])
        first = int(self.model.body_jntadr[root])
        return root > 0 and root not in robots and first >= 0 and int(self.model.jnt_type[first]) not in UNITS


def _site_of(tool: str) -> str:
    return f"retarget {tool}"


def _with_sites(tools: set[str], path: Path, spec: mujoco.MjSpec) -> None:
    """Each tool that is a body has a site; one that is a site keeps its name, by which sensors may know it."""
    for tool in sorted(tools):
        if spec.site(tool) is not None:
            continue
        if (body := spec.body(tool)) is not None:
            body.add_site(name=_site_of(tool))
        else:
            there = ", ".join(thing.name for thing in (*spec.sites, *spec.bodies) if thing.name)
            raise ConfigError(f"{path.name} has no body or site {tool!r}; it has {there}")
