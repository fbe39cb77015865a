"""Risks: behaviour a user may want to know of, trim or filter, but which is no defect of the recording.

Robots stand still before a start, commands run into limits, teleoperation is jerky, scripts repeat themselves.
None of it moves the grade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from annotators.quality.base import Check, Finding, Verdict, worst_first
from annotators.quality.reference import Reference
from annotators.quality.view import View

# A frame is idle when no signal moves by this share of its average step.
IDLE_STEP = 0.05


def active_span(view: View, reference: Reference) -> tuple[int, int] | None:
    """The frames `[start, stop)` between idle head and tail; None when nothing says what idle is."""
    moving = np.zeros(max(len(view) - 1, 0), bool)
    known = False
    for signal in view.of_role("state", "action"):
        scale = reference.scale(signal)
        if scale is None or not (scale.step > 0).any():
            continue
        known = True
        alive = scale.step > 0
        moving |= (np.abs(signal.steps[:, alive]) > IDLE_STEP * scale.step[alive]).any(axis=1)
    if not known:
        return None
    at = np.nonzero(moving)[0]
    return (0, len(view)) if not at.size else (int(at[0]), int(at[-1]) + 2)


@dataclass(frozen=True)
class Idle(Check):
    """Nothing moves at the beginning or the end. Value: seconds."""

    name = "idle"
    objective: ClassVar[bool] = False
    threshold: float = 0.5

    def assess(self, view: View, reference: Reference) -> Verdict:
        span = active_span(view, reference)
        if span is None:
            return Verdict(unknown="there is no state or action that ever moves")
        start, stop = span
        parts = ((0, start, "head"), (stop, len(view), "tail"))
        found: list[Finding] = []
        for first, last, which in parts:
            seconds = (last - first) / view.episode.fps
            if seconds >= self.threshold:
                reason = f"idle {which} of {seconds:.2f} s"
                found.append(self.finding(first, last, seconds, reason))
        worst = max((last - first) / view.episode.fps for first, last, _ in parts)
        return Verdict(tuple(found), worst=worst)


@dataclass(frozen=True)
class Saturation(Check):
    """Actions that sit at the largest or smallest value of the episode. Value: share of frames, per dimension.

    Commands with two values only (grippers) saturate by nature and are left out.
    """

    name = "saturation"
    objective: ClassVar[bool] = False
    threshold: float = 0.2

    def assess(self, view: View, reference: Reference) -> Verdict:
        actions = view.of_role("action")
        if not actions:
            return Verdict(unknown="there is no action")
        found: list[Finding] = []
        worst = 0.0
        for signal in actions:
            values = signal.values
            low, high = values.min(axis=0), values.max(axis=0)
            ends = (values == low) | (values == high)
            graded = (~ends).mean(axis=0) > 0.1
            moves = np.concatenate([[False], (signal.steps != 0).any(axis=1)])
            share = (ends & moves[:, None]).mean(axis=0) * graded
            worst = max(worst, float(share.max(initial=0.0)))
            for dim in np.nonzero(share >= self.threshold)[0]:
                reason = f"{signal.names[dim]} sits at its limit in {share[dim]:.0%} of the frames"
                found.append(self.finding(0, len(view), share[dim], reason, signal.key))
        return Verdict(worst_first(found), worst=worst)


@dataclass(frozen=True)
class Jerk(Check):
    """Unsteady motion. Value: mean third difference over mean step, of the roughest dimension; white noise gives 4."""

    name = "jerk"
    objective: ClassVar[bool] = False
    threshold: float = 2.0

    def assess(self, view: View, reference: Reference) -> Verdict:
        found: list[Finding] = []
        worst = 0.0
        for signal in view.of_role("state"):
            scale = reference.scale(signal)
            third = np.abs(np.diff(signal.values, n=3, axis=0))
            if scale is None or not len(third):
                continue
            step = np.abs(signal.steps).mean(axis=0)
            moving = step > 0.1 * scale.step
            rough = np.divide(third.mean(axis=0), step, out=np.zeros_like(step), where=moving & (step > 0))
            worst = max(worst, float(rough.max(initial=0.0)))
            if rough.max(initial=0.0) >= self.threshold:
                dim = int(rough.argmax())
                reason = f"{signal.names[dim]} moves unsteadily"
                found.append(self.finding(0, len(view), rough[dim], reason, signal.key))
        return Verdict(worst_first(found), worst=worst if view.of_role("state") else None)


@dataclass(frozen=True)
class Repeats(Check):
    """Pictures that repeat the one before although the robot moves: a camera slower than the data set's rate.

    Value: share of the moving frames. No fault by itself: 24 % of a Unitree G1 recording's pictures do.
    """

    name = "repeated_pictures"
    objective: ClassVar[bool] = False
    threshold: float = 0.1

    def assess(self, view: View, reference: Reference) -> Verdict:
        if not view.traces:
            return Verdict(unknown="there is no camera")
        span = active_span(view, reference) or (0, len(view))
        found: list[Finding] = []
        worst = 0.0
        for key, seen in view.traces.items():
            share = float((seen.change[span[0] + 1 : span[1]] == 0).mean()) if span[1] - span[0] > 1 else 0.0
            worst = max(worst, share)
            if share >= self.threshold:
                reason = f"{share:.0%} of the pictures repeat the one before"
                found.append(self.finding(span[0], span[1], share, reason, key))
        return Verdict(worst_first(found), worst=worst)
