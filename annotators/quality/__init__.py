"""Quality checks: pure functions of one episode, given what the rest of its data set looks like.

`base.py` says what a check is, `reference.py` what the set is, `grade.py` what findings come to. One file per
kind of check. Learning a set's reference and acting on findings is `pipelines.quality`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from annotators.quality.base import Check, Finding, Verdict
from annotators.quality.camera import Blank, Swapped
from annotators.quality.clock import Doubled, Gap, Rate
from annotators.quality.duplicates import Duplicate
from annotators.quality.freeze import FrozenCamera, FrozenState
from annotators.quality.jumps import Jump, Noise
from annotators.quality.order import Lag, Reversed
from annotators.quality.reference import Reference, fit_scales, measure_scale
from annotators.quality.risks import Idle, Jerk, Repeats, Saturation
from annotators.quality.similarity import Similarity
from annotators.quality.task import EmptyTask
from annotators.quality.values import DeadSensor, NotFinite
from annotators.quality.view import View
from dataengine.episode import Episode

CHECKS: tuple[Check, ...] = (
    NotFinite(),
    Gap(),
    Doubled(),
    Rate(),
    FrozenState(),
    DeadSensor(),
    Jump(),
    Noise(),
    Lag(),
    Reversed(),
    FrozenCamera(),
    Blank(),
    Swapped(),
    Duplicate(),
    EmptyTask(),
    Idle(),
    Saturation(),
    Jerk(),
    Repeats(),
    Similarity(),
)


def measure(episode: Episode, checks: Sequence[Check] = CHECKS) -> dict[str, Any]:
    """What the set's reference needs of one episode: small and JSON-able."""
    view = View(episode)
    parts = {check.name: found for check in checks if (found := check.measure(view)) is not None}
    return {"id": episode.id, "scale": measure_scale(view), "parts": parts}


def learn(measures: Sequence[Mapping[str, Any]], checks: Sequence[Check] = CHECKS) -> Reference:
    """The reference of a set from the measures of its episodes, in their order."""
    ids = [m["id"] for m in measures]
    parts = {c.name: c.fit({i: m["parts"].get(c.name) for i, m in zip(ids, measures, strict=True)}) for c in checks}
    return Reference(len(measures), fit_scales([m["scale"] for m in measures]), parts)


def assess(episode: Episode, reference: Reference, checks: Sequence[Check] = CHECKS) -> dict[str, Verdict]:
    """Every check's verdict on one episode, by the check's name."""
    view = View(episode)
    return {check.name: check.assess(view, reference) for check in checks}


__all__ = ["CHECKS", "Check", "Finding", "Reference", "Verdict", "View", "assess", "learn", "measure"]
