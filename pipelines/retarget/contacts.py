"""Which parts of a robot reach into which, as far as its model lets them collide."""

from __future__ import annotations

import dataengine.sim.model  # noqa: F401 – says how MuJoCo shall draw and warn

# isort: split
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import product
from typing import NamedTuple

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from pipelines.retarget.ik import FAR

POSTURES = 32  # drawn at random: parts that touch in all of them touch always


class Touch(NamedTuple):
    """Two parts, and how deep [m] one reaches into the other. A part is a body's number, or of the world's geoms, which
    are many things, ~ the geom's."""

    parts: frozenset[int]
    depth: float


class Contacts:
    """Of a model in the posture that its `data` is stood in.

    Neighbours over a joint do not count, as MuJoCo has it for all but the first link of a robot that stands fast. Nor
    do parts that touch in whatever posture: there the shapes are rough. `always` names them.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self.model, self.data = model, data
        self.passed: set[frozenset[int]] = set()  # pairs that may touch
        self.always: list[str] = []

    def deeper(self, depth: float) -> list[Touch]:
        """Each pair of parts that is deeper than this [m] in one another, once, with its deepest."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_collision(self.model, self.data)
        found: dict[frozenset[int], float] = {}
        for number in np.flatnonzero(self.data.contact.dist < -depth):
            pair = frozenset(self._part(int(geom)) for geom in self.data.contact.geom[number])
            if pair not in self.passed and pair not in self._neighbours:
                found[pair] = max(found.get(pair, 0.0), -float(self.data.contact.dist[number]))
        return [Touch(*each) for each in found.items()]

    def pass_always(self, places: np.ndarray, postures: np.ndarray, counts: Callable[[frozenset[int]], object]) -> None:
        """Lets those touch that touch anyway, in all postures `(P, J)`. places: `(J,)` in qpos of the joints that are
        moved; counts: whether a pair is looked at."""
        before = self.data.qpos.copy()
        touching: set[frozenset[int]] | None = None
        for posture in postures:
            self.data.qpos[places] = posture
            here = {touch.parts for touch in self.deeper(0.0) if counts(touch.parts)}
            touching = here if touching is None else touching & here
            if not touching:
                break
        self.data.qpos[:] = before
        self.passed |= touching or set()
        self.always += [self.words(pair) for pair in sorted(touching or (), key=sorted)]

    def may_touch(self, one: str, other: str) -> None:
        """By name. Raises `ConfigError` where there is no such part."""
        named = {self._name(part): part for part in (*range(1, self.model.nbody), *self._standing)}
        if lost := [name for name in (one, other) if name not in named]:
            raise ConfigError(f"may_touch: there is no body {lost[0]!r}; there are {', '.join(filter(None, named))}")
        self.passed.add(frozenset((named[one], named[other])))

    def words(self, pair: frozenset[int]) -> str:
        return " and ".join(
            self._name(part) or ("what stands there" if part < 0 else f"body number {part}")
            for part in sorted(pair, reverse=True)
        )

    def _name(self, part: int) -> str:
        return str(self.model.geom(~part).name if part < 0 else self.model.body(part).name)

    def _part(self, geom: int) -> int:
        return int(self.model.geom_bodyid[geom]) or ~geom

    @property
    def _standing(self) -> list[int]:
        return [~int(geom) for geom in np.flatnonzero(self.model.geom_bodyid == 0)]

    def can(self, bodies: Iterable[int]) -> bool:
        """Whether the model lets anything of these bodies collide."""
        geoms = np.flatnonzero(np.isin(self.model.geom_bodyid, list(bodies)))
        paired = np.isin(geoms, [self.model.pair_geom1, self.model.pair_geom2])
        off = self.model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
        bits = self.model.geom_contype[geoms] | self.model.geom_conaffinity[geoms]
        return not off and bool((bits.astype(bool) | paired).any())

    @cached_property
    def _neighbours(self) -> set[frozenset[int]]:
        """Of links that hang on a body that stands fast: all that is one with it, but for the world itself."""
        model, found = self.model, set()
        for body in range(1, model.nbody):
            parent = int(model.body_parentid[body])
            if parent and model.body_weldid[body] == body and model.body_weldid[parent] == 0:
                root = model.body_rootid[body]
                fast = np.flatnonzero((model.body_weldid == 0) & (model.body_rootid == root))
                link = np.flatnonzero(model.body_weldid == body)
                found |= {frozenset((int(a), int(b))) for a, b in product(fast, link)}
        return found


def drawn(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`(POSTURES, J)` at random between limits `(J,)`; where there is none, a turn or a metre about 0 will do."""
    finite = np.where(low > -FAR, low, -np.pi), np.where(high < FAR, high, np.pi)
    return np.random.default_rng(0).uniform(*finite, (POSTURES, len(low)))


def subtree(model: mujoco.MjModel, joints: Sequence[int]) -> set[int]:
    """Bodies that joints move, by number."""
    found = {int(model.jnt_bodyid[joint]) for joint in joints}
    for body in range(1, model.nbody):  # parents come first
        if int(model.body_parentid[body]) in found:
            found.add(body)
    return found
