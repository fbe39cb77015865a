"""Which frames go on, and what is said of those that do not.

Frames are bad for a reason, or a break lies before them; what goes on are uninterrupted stretches of good frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dataengine.runs import runs

CUTS = "retarget_cuts"

SCHEMA = pa.schema(
    [
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("side", pa.string()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("text", pa.string()),
    ]
)


class Cut(NamedTuple):
    """Frames `start` to `stop` (exclusive) of the episode before it was cut. reason: tracked, sigma, turn_sigma, jump,
    camera, reach, speed, collision, finger_reach, finger_speed, finger_collision or shortest. value: the worst in the
    unit of the parameter that judged it."""

    start: int
    stop: int
    side: str
    reason: str
    value: float
    text: str


@dataclass(frozen=True)
class Fault:
    """A kind of badness over `T` frames. bad: `(T,)` bool. value: `(T,)`, its greatest in a run is the run's. text: the
    worst frame of a run, by its number, in words. between: the fault lies between a bad frame and the one before, and
    loses neither."""

    side: str
    reason: str
    bad: np.ndarray
    value: np.ndarray
    text: Callable[[int], str]
    between: bool = False

    def cuts(self) -> list[Cut]:
        found = []
        for start, stop in runs(self.bad):
            worst = start + int(np.argmax(self.value[start:stop]))
            first = max(start - 1, 0) if self.between else start
            found.append(Cut(first, stop, self.side, self.reason, float(self.value[worst]), self.text(worst)))
        return found


def stretches(good: np.ndarray, breaks: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of good frames; none holds a frame of `breaks` except as its first. Both `(T,)` bool."""
    begin = good & (~np.concatenate([[False], good[:-1]]) | breaks)
    end = good & (~np.concatenate([good[1:], [False]]) | np.concatenate([breaks[1:], [False]]))
    return list(zip(np.flatnonzero(begin).tolist(), (np.flatnonzero(end) + 1).tolist(), strict=True))


def good_and_breaks(faults: Iterable[Fault], frames: int) -> tuple[np.ndarray, np.ndarray]:
    """What `stretches` wants, of all faults together."""
    good, breaks = np.ones(frames, bool), np.zeros(frames, bool)
    for fault in faults:
        if fault.between:
            breaks |= fault.bad
        else:
            good &= ~fault.bad
    return good, breaks


def too_short(spans: Sequence[tuple[int, int]], fps: float, shortest: float) -> list[Cut]:
    """Those of the stretches that last less than `shortest` seconds."""
    text = "good for {:.2g} s, shorter than {:g} s"
    return [
        Cut(start, stop, "", "shortest", (stop - start) / fps, text.format((stop - start) / fps, shortest))
        for start, stop in spans
        if stop - start < shortest * fps
    ]


def cut_table(cuts: Iterable[Cut]) -> pa.Table:
    """Rows in order of time."""
    return pa.Table.from_pylist([cut._asdict() for cut in sorted(cuts)], SCHEMA)
