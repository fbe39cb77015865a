"""One episode as the checks see it: numeric columns as matrices, pictures as traces, each derived once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from annotators.quality.pictures import Trace, trace
from dataengine.episode import Episode, Feature


@dataclass(frozen=True)
class Signal:
    """A numeric column: `values` `(T, D)` float64, non-finite values bridged; `finite` `(T, D)` marks untouched ones.

    names: one per dimension, their numbers where the source has none (`named` False).
    """

    key: str
    role: str
    values: np.ndarray
    finite: np.ndarray
    names: tuple[str, ...]
    fps: float
    named: bool

    @cached_property
    def steps(self) -> np.ndarray:
        """`(T - 1, D)` change from each frame to the next."""
        return np.diff(self.values, axis=0)

    @cached_property
    def unwrapped(self) -> np.ndarray:
        """`values` of angles that go on counting where they wrap."""
        turns = wraps(self.values)
        return self.values if not turns.any() else self.values - np.pad(turns, ((1, 0), (0, 0))).cumsum(axis=0)

    @cached_property
    def repeats(self) -> np.ndarray:
        """`(T,)` bool: the frame equals the one before in every dimension, to the last bit; what is no number has no
        say, unless nothing in the frame is one."""
        equal, known = self.steps == 0, self.finite[1:] & self.finite[:-1]
        same = (equal | ~known).all(axis=1) & (known.any(axis=1) | equal.all(axis=1))
        return np.concatenate([[False], same])


class View:
    """Derived data of one episode, computed when first asked for.

    Signals are the columns a robot measures or is told: role state, environment or action, floating point.
    """

    def __init__(self, episode: Episode) -> None:
        self.episode = episode

    def __len__(self) -> int:
        return self.episode.length

    @cached_property
    def signals(self) -> dict[str, Signal]:
        found = {}
        for key, column in self.episode.frames.items():
            feature = self.episode.features[key]
            if feature.role in ("state", "environment", "action") and np.asarray(column).dtype.kind == "f":
                found[key] = _signal(key, feature, np.asarray(column), self.episode.fps)
        return found

    def of_role(self, *roles: str) -> list[Signal]:
        return [signal for signal in self.signals.values() if signal.role in roles]

    def main(self, role: str) -> Signal | None:
        """The signal LeRobot names after the role, or the only one of that role."""
        preferred = {"action": "action", "state": "observation.state"}[role]
        if preferred in self.signals:
            return self.signals[preferred]
        found = self.of_role(role)
        return found[0] if len(found) == 1 else None

    @cached_property
    def traces(self) -> dict[str, Trace]:
        """What the pictures of every camera do over time; each clip is decoded once."""
        return {key: trace(clip) for key, clip in self.episode.clips.items()}


def _signal(key: str, feature: Feature, column: np.ndarray, fps: float) -> Signal:
    values = column.reshape(len(column), -1).astype(np.float64)
    finite = np.isfinite(values)
    if not finite.all():
        values = _bridge(values, finite)
    named = feature.names is not None and len(feature.names) == values.shape[1]
    names = feature.names if named and feature.names else tuple(str(i) for i in range(values.shape[1]))
    return Signal(key, feature.role, values, finite, names, fps, named)


def _bridge(values: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Non-finite values replaced by a straight line between their neighbours, so that other checks see no step."""
    bridged = values.copy()
    frames = np.arange(len(values))
    for dim in np.nonzero(~finite.all(axis=0))[0]:
        good = finite[:, dim]
        bridged[:, dim] = np.interp(frames, frames[good], values[good, dim]) if good.any() else 0.0
    return bridged


def wraps(values: np.ndarray) -> np.ndarray:
    """`(T - 1, D)`: the turn, 2π or 360 with its sign, by which an angle steps from one end of its range to the other,
    (-180°, 180°) or (0°, 360°); 0 elsewhere."""
    step = np.diff(values, axis=0)
    low, high = np.minimum(values[1:], values[:-1]), np.maximum(values[1:], values[:-1])
    found = np.zeros_like(step)
    for turn in (2 * np.pi, 360.0):
        whole = np.abs(high - low - turn) < 0.05 * turn
        symmetric = (np.abs(low + turn / 2) < 0.1 * turn) & (np.abs(high - turn / 2) < 0.1 * turn)
        positive = (low > -0.008 * turn) & (high < 1.008 * turn)
        found += np.where(whole & (symmetric | positive), np.sign(step) * turn, 0.0)
    return found
