"""Teleports and noise: motion no robot of this set makes, seen in single dimensions of state and action.

Both compare with the same dimension in the other episodes, so a gripper command that switches and a hand that
twitches set their own measure: where the whole set jumps, a jump is not a fault.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from annotators.quality.base import Check, Finding, Verdict, worst_first
from annotators.quality.reference import Reference, fit_peers, median_of_moving, peers, stack
from annotators.quality.view import Signal, View, wraps
from dataengine.runs import runs

# What a smooth dimension is granted, as a share of its extent: below this nothing is called a jump or noise.
JUMP_FLOOR = 0.02
NOISE_FLOOR = 0.005
# Which of the other episodes' worst values counts as usual; a tenth of a set may be broken.
QUANTILE = 0.9
# Words in the names of quantities that may change at once: a velocity jumps at a contact, a position cannot.
RATES = ("vel", "acc", "effort", "torque", "force", "current", "load")
# A dimension is a rate for the set when it looks like one in this share of its episodes.
RATE_SHARE = 0.5
# Steps between so few frames say nothing: there is no motion around them to compare with.
SHORTEST = 8
# A set of one episode is its own reference: its 95th percentile times this, and as many times the floor.
ALONE = 2.0


@dataclass(frozen=True)
class _PerDimension(Check):
    """A check whose `profile` gives a badness for every frame and dimension, compared with peers' worst.

    Velocities, accelerations and forces are left out: they may change at once and tremble with every contact.
    A dimension that moves in quanta here and in the rest of the set (a gripper that is open or closed, a coarse
    encoder) is granted one quantum.
    """

    threshold: float = 0.0
    floor: ClassVar[float] = 0.0
    fewest: ClassVar[int] = 1
    shortest: ClassVar[int] = SHORTEST

    @abstractmethod
    def profile(self, signal: Signal) -> np.ndarray:
        """`(n, D)` badness in the column's own unit."""

    def restless(self, profile: np.ndarray) -> np.ndarray:
        """What a frame is granted beyond peers and floor because of the frames around it; nothing."""
        return np.zeros_like(profile)

    @abstractmethod
    def place(self, index: int) -> tuple[int, int]:
        """The frames that row `index` of the profile speaks of."""

    @abstractmethod
    def describe(self, size: float, name: str, usual: float) -> str: ...

    def measure(self, view: View) -> dict[str, Any]:
        """Per column: the worst value, whether it is a rate, and the quantum; nothing of an episode too short."""
        profiles = {s.key: (self.profile(s), s) for s in view.of_role("state", "action")}
        return {
            k: [p.max(axis=0).tolist(), _rates(s).astype(float).tolist(), _quantum(s).tolist()]
            for k, (p, s) in profiles.items()
            if len(p)
        }

    def fit(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for key in sorted({key for measure in measures.values() for key in measure}):
            given = [measure[key] for measure in measures.values() if key in measure]
            worst, rates, quanta = zip(*given, strict=True)
            found[key] = {
                "usual": fit_peers(worst, QUANTILE),
                "rate": (stack(rates).mean(axis=0) >= RATE_SHARE).tolist(),
                "quantum": median_of_moving(stack(quanta)).tolist(),
            }
        return found

    def assess(self, view: View, reference: Reference) -> Verdict:
        if reference.episodes < self.fewest:
            return Verdict(unknown="one episode cannot say what is usual")
        found: list[Finding] = []
        worst, part = 0.0, reference.part(self.name) or {}
        if len(view) < self.shortest:
            return Verdict(unknown=f"{len(view)} frames are too few")
        for signal in view.of_role("state", "action"):
            scale, profile, known = reference.scale(signal), self.profile(signal), part.get(signal.key)
            if scale is None or known is None or not len(profile):
                continue
            usual = peers(known["usual"], profile.max(axis=0))
            floor = self.floor * scale.extent
            if usual is None:
                usual, floor = ALONE * np.percentile(profile, 95, axis=0), ALONE * floor
            quantum = np.minimum(known["quantum"], _quantum(signal))
            unit = usual + floor + quantum + self.restless(profile)
            value = np.divide(profile, unit, out=np.zeros_like(profile), where=unit > 0)
            value[:, known["rate"]] = 0
            worst = max(worst, float(value.max(initial=0.0)))
            for dim in np.nonzero((value >= self.threshold).any(axis=0))[0]:
                for start, stop in runs(value[:, dim] >= self.threshold):
                    at = start + int(np.argmax(value[start:stop, dim]))
                    reason = self.describe(profile[at, dim], signal.names[dim], usual[dim])
                    place = self.place(start)[0], min(self.place(stop - 1)[1], len(view))
                    found.append(self.finding(*place, value[at, dim], reason, signal.key))
        return Verdict(worst_first(found), worst=worst)


@dataclass(frozen=True)
class Jump(_PerDimension):
    """A position that teleports: a step larger than its neighbours in the same direction, as no acceleration is.

    Value: the excess over (the worst excess of a usual episode + half of the worst in the 6 frames before and
    after + 2 % of the extent). Angles that wrap by a turn and unit quaternions that change sign do not jump.
    """

    name = "jump"
    threshold: float = 4.0
    floor = JUMP_FLOOR

    def profile(self, signal: Signal) -> np.ndarray:
        step = signal.steps
        if len(signal.values) < self.shortest:
            return np.zeros((0, signal.values.shape[1]))
        size = np.abs(step)
        along = np.zeros_like(size)
        same = (np.sign(step[1:]) == np.sign(step[:-1])) & (size[1:] > 0)
        along[1:] = np.where(same, size[:-1], 0)
        along[:-1] = np.maximum(along[:-1], np.where(same, size[1:], 0))
        excess = np.maximum(size - along, 0)
        excess[wraps(signal.values) != 0] = 0
        excess[_sign_flips(signal.values)] = 0
        return excess

    def restless(self, profile: np.ndarray) -> np.ndarray:
        """A contact makes several large steps in a row, a teleport one (or two: there and back)."""
        reach = 6
        padded = np.pad(profile, ((reach, reach), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
        return 0.5 * np.maximum(windows[..., : reach - 1].max(axis=-1), windows[..., reach + 2 :].max(axis=-1))

    def place(self, index: int) -> tuple[int, int]:
        return index, index + 2

    def describe(self, size: float, name: str, usual: float) -> str:
        return f"{name} jumps by {size:.4g} in one frame; the other episodes' largest is {usual:.4g}"


@dataclass(frozen=True)
class Noise(_PerDimension):
    """A stretch that trembles: the median third difference over 16 frames, as the σ of white noise.

    Third differences remove any motion that is locally a parabola; of white noise with deviation σ they have
    deviation √20 σ. Value: σ over (the worst stretch of a usual episode + 0.5 % of the extent).
    """

    name = "noise"
    threshold: float = 3.0
    floor = NOISE_FLOOR
    fewest = 2
    window: ClassVar[int] = 16
    shortest: ClassVar[int] = window + 3

    def profile(self, signal: Signal) -> np.ndarray:
        third = np.abs(np.diff(signal.values, n=3, axis=0))
        if len(signal.values) < self.shortest:
            return np.zeros((0, signal.values.shape[1]))
        windows = np.lib.stride_tricks.sliding_window_view(third, self.window, axis=0)
        return np.median(windows, axis=-1) / (0.6745 * np.sqrt(20))

    def place(self, index: int) -> tuple[int, int]:
        return index, index + self.window + 3

    def describe(self, size: float, name: str, usual: float) -> str:
        return f"{name} trembles with a deviation of {size:.4g}; the other episodes' worst stretch has {usual:.4g}"


def _rates(signal: Signal) -> np.ndarray:
    """`(D,)` bool: dimensions that are velocities, accelerations or forces.

    By name, or because a dimension equals the change per second of another one of its column: they correlate
    above 0.95 and are of one size.
    """
    named = np.array([any(word in f"{signal.key}.{name}".casefold() for word in RATES) for name in signal.names])
    if len(signal.values) < 8:
        return named
    speed = (signal.values[2:] - signal.values[:-2]) * (signal.fps / 2)
    inner = signal.values[1:-1]
    speed, inner = speed - speed.mean(axis=0), inner - inner.mean(axis=0)
    size_speed, size_inner = np.linalg.norm(speed, axis=0), np.linalg.norm(inner, axis=0)
    alike = inner.T @ speed > 0.95 * np.outer(size_inner, size_speed)
    ratio = np.divide.outer(size_inner, np.maximum(size_speed, 1e-300))
    same_size = (ratio > 0.7) & (ratio < 1.4) & (size_inner[:, None] > 1e-9) & (size_speed[None] > 1e-9)
    return named | (alike & same_size & ~np.eye(len(named), dtype=bool)).any(axis=1)


def _quantum(signal: Signal) -> np.ndarray:
    """`(D,)` smallest change there is; tiny for whatever moves smoothly, 0 for what stands still."""
    size = np.abs(signal.steps)
    return np.where((size > 0).any(axis=0), np.where(size > 0, size, np.inf).min(axis=0, initial=np.inf), 0.0)


def _sign_flips(values: np.ndarray) -> np.ndarray:
    """`(T - 1, D)` bool: four neighbouring dimensions of unit norm change sign together (q and -q are one pose)."""
    frames, size = values.shape
    flips = np.zeros((frames - 1, size), bool)
    for first in range(size - 3):
        part = values[:, first : first + 4]
        norm = np.linalg.norm(part, axis=1)
        if np.abs(norm - 1).max() < 0.01:
            turned = np.einsum("td,td->t", part[1:], part[:-1]) < 0
            flips[:, first : first + 4] |= turned[:, None]
    return flips
