"""A robot's hand as MuJoCo has it: where its fingertips are for given joints, and how they move with them."""

from __future__ import annotations

import dataengine.sim.model  # noqa: F401 – says how MuJoCo shall draw and warn

# isort: split
from collections.abc import Mapping
from functools import cached_property
from itertools import product
from pathlib import Path

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.robot_file import load
from pipelines.retarget.contacts import Contacts, drawn, subtree
from pipelines.retarget.dexterous_config import HandConfig, check_directions
from pipelines.retarget.joints_file import Coupling, said_of_joints

SPEED_UNSAID = 6.0  # [rad/s, m/s]
ALONG = 2001  # places along a joint's range at which its followers are looked at
_HINGE, _SLIDE = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE


class HandModel:
    """Free joints `x` `(N,)` move all joints `q` `(J,)`: some of them follow others (MJCF `equality/joint`, URDF
    `mimic`). Points are bodies or sites, `(P, 3)` from the human wrist in the palm's frame: x to the thumb's side of a
    right hand, y to the fingers, z out of the palm.

    names: of the joints; free_names, free_units: of the free ones, rad or m. lower, upper: `(N,)` of the free ones, so
    that what follows them keeps its limits too. middle: `(N,)` of their ranges, or where the model stands at first.
    speed: `(N,)`, likewise. lengths: `(P,)` from the wrist along the joints to the point. palm: place `(3,)` and axes
    `(3, 3)` of the robot's own palm, as points are given.
    """

    def __init__(self, config: HandConfig, *, shapes: bool = False) -> None:
        """shapes: whether `deepest` shall be asked. Raises `ConfigError` for a file that is no model, for names that
        are not in it, and for fingers that lie elsewhere than is said."""
        self.config = config
        self.model = load(Path(config.model), shapes=shapes)
        self._said = said_of_joints(Path(config.model), self.model)
        self.data = mujoco.MjData(self.model)
        names = (*config.fingertips, *config.links)
        palm, points = self._place(config.palm), [self._place(name) for name in names]
        fixed = self._above(palm[1])
        moving = [[joint for joint in self._above(body) if joint not in fixed] for _, body in points]
        usual = sorted({joint for joints in moving for joint in joints})
        ids = [self._joint(name) for name in config.joints] or usual
        self._check(ids, fixed, moving, names)
        self.names = tuple(self.model.joint(n).name for n in ids)
        self._qpos = self.model.jnt_qposadr[ids]
        self._dof = self.model.jnt_dofadr[ids]
        self._upstream = self._dof[:, None] <= self._dof[None]
        self._points = points
        mujoco.mj_kinematics(self.model, self.data)
        self._axes, self._origin, self.palm = self._frame(palm)
        anchors = [[self.data.xanchor[n] for n in joints] for joints in moving]
        ends = self._where()
        self.lengths = np.array([_length([self._origin, *way, end]) for way, end in zip(anchors, ends, strict=True)])
        self._couple(self._said.couplings, ids)
        self._jacobian = np.zeros((2, len(points), 3, self.model.nv))
        check_directions(config, (ends - self._origin) @ self._axes, self.points(self.middle))
        self._bodies = subtree(self.model, ids)
        self._hand = self._bodies | self._one_with(palm[1])

    def joints(self, free: np.ndarray) -> np.ndarray:
        """All joints `(…, J)` of the free ones `(…, N)`."""
        if self._fixed is not None:
            return free @ self._fixed.T + self._terms[:, 0]
        leaders = free[..., self._leader]
        powers = leaders[..., None] ** np.arange(self._terms.shape[1])
        return (powers * self._terms).sum(-1)

    def free(self, joints: np.ndarray) -> np.ndarray:
        """The free ones `(…, N)` of all joints `(…, J)`."""
        return joints[..., self._free]

    def points(self, free: np.ndarray) -> np.ndarray:
        """`(P, 3)`."""
        self.data.qpos[self._qpos] = self.joints(free)
        mujoco.mj_kinematics(self.model, self.data)
        return (self._where() - self._origin) @ self._axes

    def slopes(self, free: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the points where `points` was called last, with the same argument: `(P, 3, J)` by all joints, linear and
        angular, and `(J, N)` of all joints by the free ones."""
        mujoco.mj_comPos(self.model, self.data)
        linear, angular = self._jacobian
        for row, (site, body) in enumerate(self._points):
            if site is not None:
                mujoco.mj_jacSite(self.model, self.data, linear[row], angular[row], site)
            else:
                mujoco.mj_jacBody(self.model, self.data, linear[row], angular[row], body)
        turned = self._axes.T @ self._jacobian[..., self._dof]
        return turned[0], turned[1], self._coupling(free)

    def curvature(self, pull: np.ndarray, linear: np.ndarray, angular: np.ndarray) -> np.ndarray:
        """`(J, J)`: Σ_p pull_p · ∂²p/∂q² for pull `(P, 3)`. How joint j moves a point turns with every joint i above
        it: ∂²p/∂q_i∂q_j = ω_i × ∂p/∂q_j."""
        x, y, z = pull.T
        cross = np.zeros((len(pull), 3, 3))
        cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = z, -y, x
        cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = -z, y, -x
        count = angular.shape[2]  # pull · (ω × v) = ω · (v × pull)
        bent = angular.reshape(-1, count).T @ (cross @ linear).reshape(-1, count)
        return np.where(self._upstream, bent, bent.T)

    @cached_property
    def contacts(self) -> Contacts:
        found = Contacts(self.model, self.data)
        thumb, *others = (self._one_with(body) for _, body in self._points[: len(self.config.fingertips)])
        found.passed |= {frozenset(pair) for pair in product(thumb, set().union(*others))}  # a pinch
        found.pass_always(self._qpos, self.joints(drawn(self.lower, self.upper)), self._counts)
        return found

    def _counts(self, pair: frozenset[int]) -> bool:
        return pair <= self._hand and bool(pair & self._bodies)

    def deepest(self, joints: np.ndarray, depth: float) -> tuple[float, str] | None:
        """Where fingers reach deeper than `depth` [m] into one another or into the palm, how deep at most, and what in
        what; the thumb's tip may be in another's. joints: `(J,)`."""
        self.data.qpos[self._qpos] = joints
        touches = (one for one in self.contacts.deeper(depth) if self._counts(one.parts))
        worst = max(touches, key=lambda one: one.depth, default=None)
        return None if worst is None else (worst.depth, self.contacts.words(worst.parts))

    @property
    def collides(self) -> bool:
        """Whether the model lets anything of the fingers collide."""
        return self.contacts.can(self._bodies)

    # -- what the file says --------------------------------------------------------------------------------------

    def _place(self, name: str) -> tuple[int | None, int]:
        """Id of the site or None, and of the body."""
        site = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_SITE, name)
        if site >= 0:
            return site, int(self.model.site_bodyid[site])
        body = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, name)
        if body < 0:
            there = [self.model.site(n).name for n in range(self.model.nsite)]
            there += [self.model.body(n).name for n in range(1, self.model.nbody)]
            raise ConfigError(
                f"{self.config.model} has no body or site {name!r}; it has {', '.join(filter(None, there))}"
            )
        return None, body

    def _joint(self, name: str) -> int:
        found = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_JOINT, name)
        if found < 0:
            there = ", ".join(filter(None, (self.model.joint(n).name for n in range(self.model.njnt))))
            raise ConfigError(f"{self.config.model} has no joint {name!r}; it has {there or 'none'}")
        return found

    def _above(self, body: int) -> list[int]:
        """Joints that move a body, from the root outwards."""
        found: list[int] = []
        while body:
            first = self.model.body_jntadr[body]
            found = [*range(first, first + self.model.body_jntnum[body]), *found]
            body = self.model.body_parentid[body]
        return found

    def _check(self, ids: list[int], fixed: list[int], moving: list[list[int]], points: tuple[str, ...]) -> None:
        where, name = self.config.model, lambda n: self.model.joint(n).name or f"number {n}"
        if moved := [n for n in ids if n in fixed]:
            raise ConfigError(f"{where}: joint {name(moved[0])} moves the palm {self.config.palm!r}; leave it out")
        if still := [point for point, joints in zip(points, moving, strict=True) if not set(joints) & set(ids)]:
            raise ConfigError(f"{where}: no joint moves {still[0]!r} against the palm {self.config.palm!r}")
        if other := [n for n in ids if self.model.jnt_type[n] not in (_HINGE, _SLIDE)]:
            raise ConfigError(f"{where}: joint {name(other[0])} neither turns about one axis nor slides along one")
        if nameless := [n for n in ids if not self.model.joint(n).name]:
            raise ConfigError(f"{where}: joint {name(nameless[0])} has no name; every joint that is moved needs one")

    def _one_with(self, body: int) -> set[int]:
        """Bodies that do not move against this one, but for what stands about."""
        model = self.model
        same = model.body_weldid == model.body_weldid[body]
        return set(np.flatnonzero(same & (model.body_rootid == model.body_rootid[body])).tolist())

    def _frame(self, palm: tuple[int | None, int]) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """A human palm's axes as columns and its wrist, in the world of the model; the robot's palm seen from there."""
        site, body = palm
        turn = (self.data.xmat[body] if site is None else self.data.site_xmat[site]).reshape(3, 3).copy()
        place = (self.data.xpos[body] if site is None else self.data.site_xpos[site]).copy()
        y, z = (np.array(way) / np.linalg.norm(way) for way in (self.config.fingers, self.config.out))
        axes, origin = turn @ np.stack([np.cross(y, z), y, z], 1), place + turn @ np.array(self.config.origin)
        return axes, origin, (axes.T @ (place - origin), axes.T @ turn)

    def _where(self) -> np.ndarray:
        return np.array(
            [self.data.xpos[body] if site is None else self.data.site_xpos[site] for site, body in self._points]
        )

    # -- joints that follow others -------------------------------------------------------------------------------

    def _couple(self, couplings: list[Coupling], ids: list[int]) -> None:
        known = {one.follower: one for one in couplings}
        leaders: list[str] = []
        terms: list[np.ndarray] = []
        for name in self.names:
            leader, polynomial = name, np.polynomial.Polynomial([0.0, 1.0])
            passed = {name}
            while (one := known.get(leader)) is not None:
                polynomial = polynomial(np.polynomial.Polynomial(one.terms))
                leader = one.leader
                if leader in passed or polynomial.degree() > 16:
                    raise ConfigError(f"{self.config.model}: joint {name} follows itself, or far too many others")
                passed.add(leader)
            leaders.append(leader)
            terms.append(polynomial.coef)
        for one in couplings:
            if one.leader in self.names and one.follower not in self.names:
                raise ConfigError(
                    f"{self.config.model}: joint {one.follower} follows {one.leader}; it has to be moved too"
                )
        if absent := sorted(set(leaders) - set(self.names)):
            raise ConfigError(f"{self.config.model}: others follow joint {absent[0]}; it has to be moved too")
        free = [n for n, leader in enumerate(leaders) if leader == self.names[n]]
        self._free = np.array(free)
        self.free_names = tuple(self.names[n] for n in free)
        self.free_units = tuple("m" if self.model.jnt_type[ids[n]] == _SLIDE else "rad" for n in free)
        self._leader = np.array([free.index(self.names.index(leader)) for leader in leaders])
        self._terms = np.zeros((len(ids), max(len(row) for row in terms)))
        for row, coefficients in zip(self._terms, terms, strict=True):
            row[: len(coefficients)] = coefficients
        self._fixed = self._constant_coupling()
        limited = self.model.jnt_limited[ids].astype(bool)
        limits = np.where(limited[:, None], self.model.jnt_range[ids], [-np.inf, np.inf])
        self.lower, self.upper, self.speed = self._bounds(limits, self._speeds())
        bounded = np.isfinite(self.lower) & np.isfinite(self.upper)
        first = np.clip(self.model.qpos0[self._qpos][self._free], self.lower, self.upper)
        self.middle = np.where(bounded, (self.lower + self.upper) / 2, first)

    def _speeds(self) -> np.ndarray:
        if self.config.speed is None:
            said = [self._said.speeds.get(name, SPEED_UNSAID) for name in self.names]
            return np.minimum(said, SPEED_UNSAID)
        if not isinstance(self.config.speed, Mapping):
            return np.full(len(self.names), self.config.speed)
        if absent := [name for name in self.names if name not in self.config.speed]:
            raise ConfigError(f"speed: nothing is said of {', '.join(absent)}")
        if other := [name for name in self.config.speed if name not in self.names]:
            raise ConfigError(f"speed: {other[0]} is none of the joints that are moved: {', '.join(self.names)}")
        return np.array([self.config.speed[name] for name in self.names])

    def _bounds(self, limits: np.ndarray, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lower, upper, speeds = limits[self._free, 0].copy(), limits[self._free, 1].copy(), speed[self._free].copy()
        for n, joint in enumerate(self._free):
            followers = np.flatnonzero((self._leader == n) & (np.arange(len(self.names)) != joint))
            if not len(followers):
                continue
            if not np.isfinite(limits[joint]).all():
                raise ConfigError(f"{self.config.model}: others follow joint {self.names[joint]}; it needs a range")
            along = np.linspace(float(limits[joint, 0]), float(limits[joint, 1]), ALONG)
            they = np.stack([np.polyval(self._terms[f][::-1], along) for f in followers])
            reach = limits[followers] + [-1e-9, 1e-9]
            fine = np.flatnonzero(((they >= reach[:, :1]) & (they <= reach[:, 1:])).all(0))
            if not len(fine) or len(fine) <= fine[-1] - fine[0]:
                raise ConfigError(
                    f"{self.config.model}: what follows joint {self.names[joint]} cannot keep within its limits"
                )
            lower[n], upper[n] = along[fine[0]], along[fine[-1]]
            steep = np.abs(np.gradient(they, along, axis=1)).max(1)
            speeds[n] = min(speeds[n], float((speed[followers] / np.maximum(steep, 1e-9)).min()))
        return lower, upper, speeds

    def _constant_coupling(self) -> np.ndarray | None:
        """`(J, N)` where all that follows follows in a straight line."""
        if self._terms[:, 2:].any():
            return None
        slopes = np.zeros((len(self.names), len(self._free)))
        slopes[np.arange(len(self.names)), self._leader] = self._terms[:, 1]
        return slopes

    def _coupling(self, free: np.ndarray) -> np.ndarray:
        if self._fixed is not None:
            return self._fixed
        order = np.arange(1, self._terms.shape[1])
        steep = (order * self._terms[:, 1:] * free[self._leader][:, None] ** (order - 1)).sum(1)
        slopes = np.zeros((len(self.names), len(self._free)))
        slopes[np.arange(len(self.names)), self._leader] = steep
        return slopes


def _length(way: list[np.ndarray]) -> float:
    return float(np.linalg.norm(np.diff(np.array(way), axis=0), axis=1).sum())
