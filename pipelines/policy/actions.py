"""What the numbers of an action mean, and what the model predicts instead of them: targets relative to the pose
in which the chunk begins. The same picture then means the same motion anywhere on the table.

Per element, chosen by name: `action - state` (angles wrapped); a quaternion or rotation vector becomes the rotation
vector of `R_action · R_state⁻¹`, in the base frame (so four numbers become three); everything else stays absolute.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.plugins import checked

TURN = {"rad": 2 * np.pi, "deg": 360.0}
_GRIPPER = re.compile(r"grip|jaw|finger|claw", re.IGNORECASE)
_QUATERNION = re.compile(r"^(.*?)q([xyzw])$", re.IGNORECASE)


@dataclass(frozen=True)
class ActionSpace:
    """names, units: of the A elements. state: for each element the place of the same quantity in
    `observation.state`, or -1 where it stays absolute. quaternions: places of x, y, z, w in the action; rotvecs: of
    three. Rotations listed here are relative; their places in the state are `state[place]`. control: absolute, delta
    or velocity, where the dataset says it.
    """

    names: tuple[str, ...]
    units: tuple[str | None, ...]
    state: tuple[int, ...]
    quaternions: tuple[tuple[int, ...], ...] = ()
    rotvecs: tuple[tuple[int, ...], ...] = ()
    control: str | None = None

    @property
    def size(self) -> int:
        """A, the numbers of one action."""
        return len(self.names)

    @property
    def target_size(self) -> int:
        """D, the numbers the model predicts for one action."""
        return self.size - len(self.quaternions)

    @property
    def relative(self) -> tuple[str, ...]:
        return tuple(name for name, place in zip(self.names, self.state, strict=True) if place >= 0)

    @property
    def grippers(self) -> list[int]:
        """Places of the elements that say how far a gripper is open."""
        return [i for i, name in enumerate(self.names) if _GRIPPER.search(name)]

    def encode(self, chunks: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Actions `(N, H, A)` and the states `(N, S)` they start from → targets `(N, H, D)` float64."""
        targets = self.difference(chunks, self._reference(state)[:, None])
        for places in self.quaternions + self.rotvecs:
            there = self._rotation(chunks[..., places])
            here = self._rotation(np.broadcast_to(state[:, None, self._at(places)], (*chunks.shape[:2], len(places))))
            targets[..., places[:3]] = (there * here.inv()).as_rotvec().reshape(*chunks.shape[:2], 3)
        return targets[..., self._kept]

    def decode(self, targets: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The inverse: targets `(N, H, D)` and states `(N, S)` → actions `(N, H, A)` float64."""
        actions = np.zeros((*targets.shape[:2], self.size))
        actions[..., self._kept] = targets
        actions = actions + self._reference(state)[:, None]
        for places in self.quaternions + self.rotvecs:
            turn = Rotation.from_rotvec(targets[..., [self._kept.index(p) for p in places[:3]]].reshape(-1, 3))
            here = self._rotation(np.broadcast_to(state[:, None, self._at(places)], (*targets.shape[:2], len(places))))
            there = turn * here
            found = there.as_quat(canonical=True) if len(places) == 4 else there.as_rotvec()
            actions[..., places] = found.reshape(*targets.shape[:2], len(places))
        return actions

    def difference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """`a - b` over the last axis A, relative angles the short way round."""
        d = np.asarray(a, np.float64) - b
        for i, unit in enumerate(self.units):
            if unit in TURN and self.state[i] >= 0 and not any(i in r for r in self.rotvecs):
                d[..., i] -= TURN[unit] * np.round(d[..., i] / TURN[unit])
        for places in self.quaternions:  # q and -q are one rotation
            flipped = (np.asarray(a, np.float64)[..., places] * np.asarray(b)[..., places]).sum(-1, keepdims=True) < 0
            d[..., places] = np.where(flipped, -1.0, 1.0) * np.asarray(a)[..., places] - np.asarray(b)[..., places]
        return d

    def hold(self, state: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        """Actions `(N, A)` that keep the pose of the states `(N, S)`; `otherwise` `(A,)` where there is no like."""
        place = np.asarray(self.state)
        return np.where(place >= 0, state[:, place] if state.shape[1] else otherwise, otherwise)

    def _reference(self, state: np.ndarray) -> np.ndarray:
        """What is subtracted: the state's like of each element, 0 where there is none and for rotations."""
        reference = np.zeros((len(state), self.size))
        rotating = {i for places in self.quaternions + self.rotvecs for i in places}
        for i, place in enumerate(self.state):
            if place >= 0 and i not in rotating:
                reference[:, i] = state[:, place]
        return reference

    @property
    def _kept(self) -> list[int]:
        dropped = {places[3] for places in self.quaternions}
        return [i for i in range(self.size) if i not in dropped]

    def _at(self, places: tuple[int, ...]) -> list[int]:
        return [self.state[i] for i in places]

    @staticmethod
    def _rotation(numbers: np.ndarray) -> Rotation:
        flat = np.asarray(numbers, np.float64).reshape(-1, numbers.shape[-1])
        return Rotation.from_rotvec(flat) if flat.shape[1] == 3 else Rotation.from_quat(flat)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ActionSpace:
        """Raises `ConfigError` for what `to_json` never gives."""
        space = cls(**checked(cls, data, "the action space", "action"))
        size, rotations = space.size, (*space.quaternions, *space.rotvecs)
        turning = [i for places in rotations for i in places]
        if (
            not size
            or {len(space.units), len(space.state)} != {size}
            or min(space.state) < -1
            or {len(places) for places in space.quaternions} - {4}
            or {len(places) for places in space.rotvecs} - {3}
            or len(set(turning)) < len(turning)
            or any(not 0 <= i < size or space.state[i] < 0 for i in turning)
        ):
            raise ConfigError("the action space does not fit together")
        return space


def names_of(key: str, feature: Feature) -> tuple[str, ...]:
    return (
        feature.names
        if feature.names and len(feature.names) == feature.size
        else tuple(f"{key}[{i}]" for i in range(feature.size))
    )


def units_of(feature: Feature) -> tuple[str | None, ...]:
    if isinstance(feature.unit, tuple):
        return feature.unit if len(feature.unit) == feature.size else (None,) * feature.size
    return (feature.unit,) * feature.size


def understand(
    action: Feature,
    state: Feature | None,
    wanted: Sequence[str] | None,
    actions: np.ndarray,
    states: np.ndarray,
) -> tuple[ActionSpace, list[str]]:
    """The action space of a dataset from its features and its values `(N, A)` and `(N, S)`, and what was noticed.

    An element is relative when it stands in the state by name and unit, is no gripper, and its values follow the
    state's (a command called like a joint may be a velocity). `wanted` names elements that must be relative.
    Raises `ConfigError` when a wanted element cannot be.
    """
    names, units = names_of("action", action), units_of(action)
    like = dict(zip(names_of("observation.state", state), range(state.size), strict=True)) if state else {}
    state_units = units_of(state) if state else ()
    for name in wanted or ():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"relative: the action has no element {name!r}{hint} It has: {', '.join(names)}")

    declared = action.control
    quaternions, rotvecs, others = _rotations(names, action.info.get("rotations", ()))
    turning = {i for places in quaternions + rotvecs for i in places}
    notes: list[str] = []
    places = []
    for i, name in enumerate(names):
        problem: str | None = None
        if name not in like:
            problem = f"observation.state has no element of that name, only {', '.join(like) or 'nothing'}"
        elif declared == "delta":
            problem = "the dataset declares its actions as deltas already"
        elif units[i] and (other := state_units[like[name]]) and units[i] != other:
            problem = f"its unit is {units[i]!r}, the state's is {other!r}"
        elif i in others:
            problem = "a rotation written this way has no difference"
        elif i not in turning and not _follows(actions[:, i], states[:, like[name]]):
            problem = "its values do not follow the state's: a delta or a velocity, or another zero"
        asked = name in wanted if wanted is not None else not _GRIPPER.search(name)
        if wanted and asked and problem:
            raise ConfigError(f"relative: {name!r} cannot be predicted relative to the state: {problem}")
        if asked and problem and name in like and wanted is None:
            notes.append(f"{name} stays as it is: {problem}")
        places.append(like[name] if asked and not problem else -1)

    for group in quaternions + rotvecs:  # a rotation is relative as a whole or not at all
        if any(places[i] < 0 for i in group):
            for i in group:
                places[i] = -1
    quaternions, rotvecs = (tuple(g for g in some if places[g[0]] >= 0) for some in (quaternions, rotvecs))
    return ActionSpace(names, units, tuple(places), quaternions, rotvecs, declared), notes


def _follows(action: np.ndarray, state: np.ndarray) -> bool:
    """Whether an action element `(N,)` says where the state's shall be, rather than how it shall change."""
    a, s = action.astype(np.float64), state.astype(np.float64)
    spread = max(float(np.ptp(s)), float(np.ptp(a)))
    return spread == 0 or float(np.median(np.abs(a - s))) <= 0.5 * spread


Groups = tuple[tuple[int, ...], ...]


def _rotations(names: tuple[str, ...], declared: Sequence[Mapping[str, Any]]) -> tuple[Groups, Groups, set[int]]:
    """Elements that are one rotation: quaternions (places of x, y, z, w), rotation vectors, and all elements of those
    conventions (six numbers, a matrix) that stay absolute. Declared by the feature, else quaternions by their names.
    """
    quaternions: list[tuple[int, ...]] = []
    rotvecs: list[tuple[int, ...]] = []
    others: set[int] = set()
    for each in declared:
        convention, places = each["convention"], tuple(range(int(each["start"]), int(each["stop"])))
        if convention == "quaternion_xyzw":
            quaternions.append(places)
        elif convention == "quaternion_wxyz":
            quaternions.append((*places[1:], places[0]))
        elif convention == "axis_angle":
            rotvecs.append(places)
        elif not convention.startswith("euler"):  # Euler angles are angles, each on its own
            others.update(places)
    if not declared:
        found: dict[str, dict[str, int]] = {}
        for i, name in enumerate(names):
            if match := _QUATERNION.match(name):
                found.setdefault(match[1], {})[match[2].lower()] = i
        quaternions = [tuple(group[axis] for axis in "xyzw") for group in found.values() if len(group) == 4]
    return tuple(quaternions), tuple(rotvecs), others
