"""What the rest of a data set looks like, so that an episode is compared with its peers and never with itself.

A `Reference` is the artifact of the quality stage: JSON-able, its size independent of the number of episodes
but for their ids. Every statistic of the set is robust: one broken episode in three moves none of them far.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from annotators.quality.view import Signal, View


@dataclass(frozen=True)
class Scale:
    """How one column behaves over the set, per dimension `(D,)`, in the column's own unit.

    step: mean change from frame to frame, where there is one. extent: how far it ranges. alive: share of
    episodes in which it changes.
    """

    step: np.ndarray
    extent: np.ndarray
    alive: np.ndarray

    def travel(self, values: np.ndarray) -> float:
        """How far `(n, D)` values range, in average frames of motion: the mean over living dimensions.

        None counts for more than n: one that is hardly ever used would outweigh all others by a nudge.
        """
        return self.frames_of(np.minimum(np.ptp(values, axis=0), len(values) * self.step)) if len(values) else 0.0

    def frames_of(self, distance: np.ndarray) -> float:
        """A distance `(D,)` in average frames of motion: the mean over dimensions that ever move."""
        living = self.step > 0
        return float(np.mean(np.abs(distance[living]) / self.step[living])) if living.any() else 0.0


@dataclass(frozen=True)
class Reference:
    """The set's normality: the scale of every column, and what each check learned (`parts`, by check name)."""

    episodes: int
    scales: Mapping[str, Scale]
    parts: Mapping[str, Any] = field(default_factory=dict)

    def part(self, check: str) -> Any:
        return self.parts.get(check)

    def scale(self, signal: Signal) -> Scale | None:
        """The column's scale, or None when the set was learned without it or with another width."""
        found = self.scales.get(signal.key)
        return found if found is not None and found.step.size == signal.values.shape[1] else None

    def to_json(self) -> dict[str, Any]:
        scales = {
            key: {"step": s.step.tolist(), "extent": s.extent.tolist(), "alive": s.alive.tolist()}
            for key, s in self.scales.items()
        }
        return {"episodes": self.episodes, "scales": scales, "parts": dict(self.parts)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reference:
        scales = {
            key: Scale(np.array(s["step"]), np.array(s["extent"]), np.array(s["alive"]))
            for key, s in data["scales"].items()
        }
        return cls(data["episodes"], scales, data["parts"])


def measure_scale(view: View) -> dict[str, dict[str, list[float]]]:
    """One episode's own scale of every signal."""
    return {key: _own_scale(signal) for key, signal in view.signals.items()}


def _own_scale(signal: Signal) -> dict[str, list[float]]:
    values = signal.values
    if len(values) < 3:
        flat = np.zeros(values.shape[1])
        return {"step": flat.tolist(), "extent": np.ptp(values, axis=0).tolist()}
    # The median of three frames keeps a single teleported frame out of the range.
    calm = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return {
        "step": mean_step(signal).tolist(),
        "extent": np.ptp(calm, axis=0).tolist(),
    }


def mean_step(signal: Signal) -> np.ndarray:
    """`(D,)` mean absolute change over the frames that change: resting does not make a robot slower."""
    size = np.abs(signal.steps)
    return size.sum(axis=0) / np.maximum((size > 0).sum(axis=0), 1)


def fit_scales(measures: Sequence[Mapping[str, Mapping[str, list[float]]]]) -> dict[str, Scale]:
    """The set's scales: the median step over the episodes where a dimension moves, and the
    largest extent, at most three times the second largest."""
    scales = {}
    for key in sorted({key for measure in measures for key in measure}):
        steps = stack([m.get(key, {}).get("step") for m in measures])
        extents = stack([m.get(key, {}).get("extent") for m in measures])
        step = median_of_moving(steps)
        # One episode that ranges far beyond all others must not hide their jumps.
        ordered = np.sort(extents, axis=0)
        second = ordered[-2] if len(ordered) > 1 else ordered[-1]
        extent = np.where(second > 0, np.minimum(ordered[-1], 3 * second), ordered[-1])
        scales[key] = Scale(step, extent, (steps > 0).mean(axis=0))
    return scales


def median_of_moving(rows: np.ndarray) -> np.ndarray:
    """`(D,)` the median of `(N, D)` over the episodes where it is more than 0; 0 where there are none."""
    return np.array([np.median(row[row > 0]) if (row > 0).any() else 0.0 for row in rows.T])


def stack(rows: Sequence[list[float] | None]) -> np.ndarray:
    """`(N, D)` of the rows that have the commonest width; episodes without the column are left out."""
    present = [row for row in rows if row is not None]
    widths = [len(row) for row in present]
    width = max(set(widths), key=widths.count)
    return np.array([row for row in present if len(row) == width], dtype=np.float64)


def fit_peers(rows: Sequence[list[float] | None], quantile: float = 0.5) -> dict[str, Any] | None:
    """What `peers` needs: two neighbouring order statistics of every dimension, and how many episodes gave them."""
    if not any(row is not None for row in rows):
        return None
    ordered = np.sort(stack(rows), axis=0)
    others = len(ordered) - 1
    # Among few the upper median, so that one broken episode of three others is outvoted; among many the quantile.
    low = max(others // 2, int(quantile * (others - 1)), 0)
    high = min(low + 1, others)
    return {"low": ordered[low].tolist(), "high": ordered[high].tolist(), "n": len(ordered)}


def peers(part: Mapping[str, Any] | None, own: np.ndarray) -> np.ndarray | None:
    """The quantile over the *other* episodes, `(D,)`: leaving out a value shifts an order statistic by one place.

    None when there is no other episode.
    """
    if part is None or part["n"] < 2 or len(part["low"]) != len(own):
        return None
    low, high = np.array(part["low"]), np.array(part["high"])
    return np.where(own <= low, high, low)


def pack(array: np.ndarray) -> dict[str, Any]:
    """A float64 array as JSON: base64 of little-endian bytes, eight times smaller than decimal text."""
    data = np.ascontiguousarray(array, dtype="<f8")
    return {"shape": list(data.shape), "f8": base64.b64encode(data.tobytes()).decode()}


def unpack(data: Mapping[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(data["f8"]), dtype="<f8").reshape(data["shape"]).copy()
