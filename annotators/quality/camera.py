"""Pictures that show nothing: black, or one flat colour. And cameras whose pictures stand under each other's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from annotators.quality.base import Check, Finding, Verdict, worst_first
from annotators.quality.pictures import CONTENT, Trace
from annotators.quality.reference import Reference, fit_peers, peers
from annotators.quality.view import View
from dataengine.runs import runs


@dataclass(frozen=True)
class Blank(Check):
    """Pictures without content: black or one colour from edge to edge. Value: 1 / deviation of the picture.

    A threshold of 0.5 means a deviation of two grey levels over the whole picture: below what coding noise leaves
    of any scene, above what it adds to black; in the dark half a level between the picture's 64 blocks is enough. A
    mask over part of the picture keeps the rest and is no fault.
    Depth pictures, which may well show a table top seen from above, are blank ten times below that: 3 mm.
    """

    name = "blank_picture"
    threshold: float = 0.5

    def assess(self, view: View, reference: Reference) -> Verdict:
        if not view.traces:
            return Verdict(unknown="there is no camera")
        found: list[Finding] = []
        worst = 0.0
        for key, seen in view.traces.items():
            value = 1 / np.maximum(seen.spread * CONTENT["rgb"] / CONTENT[seen.kind], 0.1)
            worst = max(worst, float(value.max(initial=0.0)))
            for start, stop in runs(value >= self.threshold):
                what = "black" if seen.mean[start:stop].max() < 16 else "one flat colour"
                reason = f"{stop - start} pictures are {what}"
                found.append(self.finding(start, stop, value[start:stop].max(), reason, key))
        return Verdict(worst_first(found), worst=worst)


@dataclass(frozen=True)
class Swapped(Check):
    """Two cameras of one shape that show what the other shows in the rest of the set.

    Value: distance of their mean pictures to the set's own under the given names, over the distance under
    exchanged names. 1 is undecided; a swap gives well above. Two cameras whose mean pictures differ less over
    the set than one camera does between episodes cannot be told apart, and with fewer than three episodes
    nobody can say which of them is the swapped one.
    """

    name = "swapped_cameras"
    severity = "critical"
    threshold: float = 1.5

    def measure(self, view: View) -> dict[str, list[float]]:
        return {key: seen.thumbnail.reshape(-1).tolist() for key, seen in view.traces.items()}

    def fit(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        keys = sorted({key for measure in measures.values() for key in measure})
        return {key: fit_peers([m.get(key) for m in measures.values()]) for key in keys}

    def assess(self, view: View, reference: Reference) -> Verdict:
        pairs = [
            (a, b)
            for a, b in combinations(sorted(view.traces), 2)
            if view.traces[a].shape == view.traces[b].shape and view.traces[a].kind == view.traces[b].kind
        ]
        if not pairs:
            return Verdict(unknown="there are no two cameras of one shape")
        if reference.episodes < 3:
            return Verdict(unknown="fewer than three episodes cannot say which camera is which")
        part = reference.part(self.name) or {}
        found: list[Finding] = []
        worst, alike = 0.0, []
        for a, b in pairs:
            value = _exchange(view.traces[a], view.traces[b], part.get(a), part.get(b))
            if value is None:
                alike.append(f"{a} and {b}")
                continue
            worst = max(worst, value)
            if value >= self.threshold:
                reason = f"shows what {b} shows in the other episodes, and the other way round"
                found.append(self.finding(0, len(view), value, reason, a))
        unknown = f"{', '.join(alike)} look alike in this set" if alike else None
        return Verdict(worst_first(found), worst=worst, unknown=unknown)


def _exchange(one: Trace, other: Trace, first: Any, second: Any) -> float | None:
    """Distance as named over distance when exchanged; None when the set's own pictures hardly differ."""
    a, b = one.thumbnail.reshape(-1), other.thumbnail.reshape(-1)
    usual_a, usual_b = peers(first, a), peers(second, b)
    if usual_a is None or usual_b is None:
        return None
    named = float(np.abs(a - usual_a).mean() + np.abs(b - usual_b).mean())
    exchanged = float(np.abs(a - usual_b).mean() + np.abs(b - usual_a).mean())
    apart = float(np.abs(usual_a - usual_b).mean())
    if apart < 2.0 or min(named, exchanged) > apart:
        return None
    return named / max(exchanged, 0.1)
