"""Faults of the capture clock: frames that are missing, doubled or out of order, and a rate that is not the stated one.

Only true capture times can show them. A data set whose times are frame / fps by definition has no clock to check.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from annotators.quality.base import Check, Finding, Verdict, worst_first
from annotators.quality.reference import Reference
from annotators.quality.view import View
from dataengine.episode import CAPTURE_TIME

NO_CLOCK = "the source keeps no capture times"
# Fewer intervals than this have no median that jitter leaves alone.
FEWEST = 9


def _intervals(view: View) -> tuple[np.ndarray, float] | None:
    """`(T - 1,)` seconds between frames, and the usual interval; None without a clock."""
    column = view.episode.frames.get(CAPTURE_TIME)
    if column is None or len(column) < 3:
        return None
    times = np.asarray(column, np.float64).reshape(-1)
    steps = np.diff(times)
    good = steps[np.isfinite(steps) & (steps > 0)]
    return steps, float(np.median(good)) if good.size else 1.0 / view.episode.fps


@dataclass(frozen=True)
class Gap(Check):
    """Frames that are missing. Value: interval over the usual interval; 2 is one lost frame.

    1.75 lies between ordinary jitter (below 1.5 on an unloaded machine) and one lost frame.
    """

    name = "gap"
    threshold: float = 1.75

    def assess(self, view: View, reference: Reference) -> Verdict:
        clock = _intervals(view)
        if clock is None:
            return Verdict(unknown=NO_CLOCK)
        steps, usual = clock
        ratio = np.nan_to_num(steps / usual, nan=0.0, posinf=0.0)
        found = [
            replace(
                self.finding(t, t + 2, ratio[t], f"{steps[t]:.4g} s between two frames, usually {usual:.4g} s"),
                lost=round(float(ratio[t])) - 1,
            )
            for t in np.nonzero(ratio >= self.threshold)[0]
        ]
        return Verdict(worst_first(found), worst=float(ratio.max()))


@dataclass(frozen=True)
class Doubled(Check):
    """Two frames with the same time, or time running backwards. Value: 1 - interval over the usual interval."""

    name = "doubled_time"
    threshold: float = 0.95

    def assess(self, view: View, reference: Reference) -> Verdict:
        clock = _intervals(view)
        if clock is None:
            return Verdict(unknown=NO_CLOCK)
        steps, usual = clock
        value = np.nan_to_num(1 - steps / usual, nan=0.0, posinf=0.0, neginf=0.0)
        found: list[Finding] = []
        for t in np.nonzero(value >= self.threshold)[0]:
            what = "time runs backwards" if steps[t] < 0 else "two frames carry the same time"
            found.append(self.finding(t, t + 2, value[t], f"{what} ({steps[t]:.4g} s apart)"))
        return Verdict(worst_first(found), worst=float(value.max()))


@dataclass(frozen=True)
class Rate(Check):
    """The usual interval is not 1 / fps: every velocity computed from this episode is wrong. Value: relative error."""

    name = "rate"
    severity = "critical"
    threshold: float = 0.05

    def assess(self, view: View, reference: Reference) -> Verdict:
        clock = _intervals(view)
        if clock is None:
            return Verdict(unknown=NO_CLOCK)
        if len(clock[0]) < FEWEST:
            return Verdict(unknown=f"{len(view)} frames are too few to know their rate")
        usual, fps = clock[1], view.episode.fps
        value = abs(usual * fps - 1)
        if value < self.threshold:
            return Verdict(worst=value)
        reason = f"frames come at {1 / usual:.3g} Hz, the data set says {fps:.3g} Hz"
        return Verdict((self.finding(0, len(view), value, reason),), worst=value)
