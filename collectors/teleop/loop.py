"""The beat of a session: ticks that are due at `start + n / fps`, never one period after the last, so nothing drifts.

Whoever draws, encodes, checks or serves a page does so in another thread; the loop waits for time alone. A tick that
could not be kept is skipped and counted. All times are `time.monotonic()` seconds.
"""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

SPIN = 0.001  # [s] before a tick is due sleep ends: what a kernel's timer may oversleep
SLACK = 0.008  # [s] left of a tick so that memory is tidied up in it


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float: ...
    def until(self, due: float) -> None:
        """Come back at `due`, or at once where that has passed."""
        ...


class SystemClock:
    """The machine's own, exact to a few tenths of a millisecond."""

    def now(self) -> float:
        return time.monotonic()

    def until(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0:
            time.sleep(left - SPIN if left > 2 * SPIN else min(left, SPIN / 5))


class SimulatedClock:
    """Passes only while it is waited for: a session in a simulated world then runs as fast as the machine can."""

    def __init__(self, start: float = 0.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    def until(self, due: float) -> None:
        self.time = max(self.time, due)


@dataclass(frozen=True)
class Beat:
    """One tick. number: of the due time since the start. due and time: when it should have come and when it came.
    missed: due times that were skipped just before it."""

    number: int
    due: float
    time: float
    missed: int


class Metronome:
    """Beats at `fps` from the first call of `wait` on. A beat late by less than a period comes at once; later than
    that, every due time that has passed but the newest is skipped."""

    def __init__(self, fps: float, clock: Clock) -> None:
        self.fps, self.clock = fps, clock
        self._start, self._next = math.nan, 0
        self._late: deque[float] = deque(maxlen=math.ceil(10 * fps))
        self._times: deque[float] = deque(maxlen=math.ceil(3 * fps))

    def wait(self) -> Beat:
        """Sleep until the next beat is due."""
        now = self.clock.now()
        if self._next == 0:
            self._start = now
        newest = math.floor((now - self._start) * self.fps + 1e-9)
        missed = max(newest - self._next, 0)
        number = self._next + missed
        due = self._start + number / self.fps
        self.clock.until(due)
        now = self.clock.now()
        self._next = number + 1
        self._late.append(now - due)
        self._times.append(now)
        return Beat(number, due, now, missed)

    @property
    def left(self) -> float:
        """Seconds until the next beat is due."""
        return self._start + self._next / self.fps - self.clock.now()

    @property
    def rate(self) -> float:
        """Beats a second over the last second; 0 before there were two."""
        if len(self._times) < 2:
            return 0.0
        recent = [moment for moment in self._times if moment > self._times[-1] - 1.0]
        recent = recent if len(recent) > 1 else [self._times[-2], self._times[-1]]
        return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-9)

    @property
    def late(self) -> float:
        """How late beats came [s], 95th percentile of the last ten seconds."""
        ordered = sorted(self._late)
        return ordered[int(0.95 * (len(ordered) - 1))] if ordered else 0.0


@contextmanager
def tidy(metronome: Metronome) -> Iterator[Callable[[], None]]:
    """Python's collector of cycles stays off meanwhile, since it stops every thread for as long as it takes; what is
    given collects the young ones where a tick has time left."""
    was = gc.isenabled()
    gc.collect()
    gc.freeze()  # what the start made is not looked at again
    gc.disable()
    counter = 0

    def collect() -> None:
        nonlocal counter
        counter += 1
        if counter % 16 == 0 and metronome.left > SLACK:
            gc.collect(0 if counter % 512 else 1)

    try:
        yield collect
    finally:
        gc.unfreeze()
        if was:
            gc.enable()
