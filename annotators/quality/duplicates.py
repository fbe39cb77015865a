"""Episodes that stand in the set twice: the same bytes under another id, or the same motion stored again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotators.quality.base import Check, Verdict
from annotators.quality.reference import Reference
from annotators.quality.view import View

PROBES = 48


@dataclass(frozen=True)
class Duplicate(Check):
    """The same numbers as an earlier episode of the set. Value: 1 for equal bytes, 1 - distance for near-equal ones.

    Scripted demonstrations of one task correlate with each other at 0.995 to 0.99997, so near-equal means equal to
    `near`, as a share of each dimension's own deviation, in every one of 48 random weighted sums over the episode:
    far below any second execution, above rounding to float32 or another encoding. The first one in the set stays.
    """

    name = "duplicate"
    severity = "critical"
    threshold: float = 0.5
    near: float = 1e-4

    def measure(self, view: View) -> dict[str, Any] | None:
        signals = sorted(view.signals.values(), key=lambda s: s.key)
        if not signals:
            return None
        digest = hashlib.sha256()
        for signal in signals:
            digest.update(signal.key.encode() + str(signal.values.shape).encode())
            digest.update(np.ascontiguousarray(view.episode.frames[signal.key]).tobytes())
        return {"hash": digest.hexdigest(), "frames": len(view), "probe": _probe(view).round(9).tolist()}

    def fit(self, measures: Mapping[str, Any]) -> dict[str, list[Any]]:
        """For every duplicate its elder twin and the distance, found by hash and by sorting on one probe."""
        found: dict[str, list[Any]] = {}
        first: dict[str, str] = {}
        order = {name: place for place, name in enumerate(measures)}
        for name, measure in measures.items():
            if measure is None:
                continue
            elder = first.setdefault(measure["hash"], name)
            if elder != name:
                found[name] = [elder, 0.0]
        distinct = [(m["probe"], m["frames"], n) for n, m in measures.items() if m is not None and n not in found]
        distinct.sort(key=lambda item: item[0])
        for at, (probe, frames, name) in enumerate(distinct):
            for other, length, twin in distinct[at + 1 :]:
                if other[0] - probe[0] > self.near:
                    break
                if length == frames and len(other) == len(probe):
                    distance = float(np.abs(np.subtract(probe, other)).max())
                    if distance <= self.near:
                        elder, younger = sorted((name, twin), key=order.__getitem__)
                        found.setdefault(younger, [elder, distance])
        return found

    def assess(self, view: View, reference: Reference) -> Verdict:
        if reference.episodes < 2:
            return Verdict(unknown="there is no other episode")
        if not view.signals:
            return Verdict(unknown="there is neither state nor action to compare")
        twin = (reference.part(self.name) or {}).get(view.episode.id)
        if twin is None:
            return Verdict(worst=0.0)
        elder, distance = twin
        value = 1.0 - distance
        reason = f"{'equals' if distance == 0 else 'is nearly'} episode {elder}"
        return Verdict((self.finding(0, len(view), value, reason),), worst=value)


def _probe(view: View) -> np.ndarray:
    """`(PROBES,)` weighted sums over frames and dimensions, each dimension in units of its own deviation.

    The weights depend on frame and dimension numbers alone, so equal motion gives equal probes anywhere.
    """
    random = np.random.default_rng(20240501)
    total = np.zeros(PROBES)
    for key in sorted(view.signals):
        values = view.signals[key].values.astype(np.float32).astype(np.float64)
        centre, spread = values.mean(axis=0), values.std(axis=0)
        unit = np.divide(values - centre, spread, out=np.zeros_like(values), where=spread > 1e-9)
        weights = random.standard_normal((PROBES, len(values) + values.shape[1]))
        total += np.einsum("pt,td,pd->p", weights[:, : len(values)], unit, weights[:, len(values) :])
        # Where a dimension stands counts too: two episodes of equal shape at another place are two episodes.
        total += weights[:, len(values) :] @ (centre / (np.abs(centre) + spread + 1e-9) + centre)
    return total / np.sqrt(max(len(view), 1))
