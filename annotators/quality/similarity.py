"""Risk: an episode that is almost another one – a script that ran twice, a demonstration replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from annotators.quality.base import Check, Verdict
from annotators.quality.reference import Reference
from annotators.quality.view import View

MOMENTS = 16


@dataclass(frozen=True)
class Similarity(Check):
    """Correlation with the most similar other episode, over the state at 16 moments. Value: that correlation.

    Each dimension is centred and scaled by the set, so that only what differs between episodes correlates.
    """

    name = "similarity"
    objective: ClassVar[bool] = False
    threshold: float = 0.999

    def measure(self, view: View) -> list[list[float]] | None:
        signal = view.main("state") or view.main("action")
        if signal is None:
            return None
        at = np.linspace(0, len(view) - 1, MOMENTS).round().astype(int)
        return signal.values[at].round(6).tolist()

    def fit(self, measures: Mapping[str, Any]) -> dict[str, list[Any]]:
        names = [name for name, measure in measures.items() if measure is not None]
        shapes = [np.shape(measures[name]) for name in names]
        if len(names) < 2:
            return {}
        usual = max(set(shapes), key=shapes.count)
        names = [name for name, shape in zip(names, shapes, strict=True) if shape == usual]
        paths = np.array([measures[name] for name in names], dtype=np.float32)
        paths = (paths - paths.mean(axis=(0, 1))) / np.maximum(paths.std(axis=(0, 1)), 1e-9)
        flat = paths.reshape(len(names), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
        found = {}
        for first in range(0, len(names), 512):
            block = flat[first : first + 512] @ flat.T
            block[np.arange(len(block)), np.arange(first, first + len(block))] = -1
            nearest = block.argmax(axis=1)
            for row, name in enumerate(names[first : first + 512]):
                found[name] = [names[nearest[row]], float(block[row, nearest[row]])]
        return found

    def assess(self, view: View, reference: Reference) -> Verdict:
        twin = (reference.part(self.name) or {}).get(view.episode.id)
        if twin is None:
            return Verdict(unknown="there is no other episode to compare with")
        other, value = twin
        if value < self.threshold:
            return Verdict(worst=value)
        reason = f"follows episode {other} with correlation {value:.5f}"
        return Verdict((self.finding(0, len(view), value, reason),), worst=value)
