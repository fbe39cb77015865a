"""What the page's devices said last, for the devices here to read. Filled by the server's thread, read by the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from collectors.teleop.messages import SOURCES, Input, Source

KEPT = 64  # inputs of a source that are kept for a reader that comes once a tick


class Inputs:
    """The last `Input`s of every source and when they came [s]: a click may be over before the next tick.

    Every value is replaced whole or appended, so that no lock is needed.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._newest: dict[str, tuple[Input, float]] = {}
        self._all: dict[str, deque[tuple[int, Input, float]]] = {source: deque(maxlen=KEPT) for source in SOURCES}
        self._count = 0

    def take(self, given: Input) -> None:
        """Keep it, unless a newer one of its source is there already."""
        known = self._newest.get(given.source)
        if known is None or given.seq > known[0].seq or self._now() - known[1] > 2.0:  # a page loaded anew counts anew
            came = self._now()
            self._newest[given.source] = (given, came)
            self._count += 1
            self._all[given.source].append((self._count, given, came))

    def newest(self, source: Source) -> tuple[Input, float] | None:
        """The last state of a source, and when it came [s]."""
        return self._newest.get(source)

    def since(self, source: Source, count: int) -> list[tuple[int, Input, float]]:
        """What came of a source after the `count`-th input of all, oldest first, each with its own count."""
        return [entry for entry in tuple(self._all[source]) if entry[0] > count]

    def echo(self) -> dict[str, float]:
        """By source, when the page sent its last state, on the page's clock [ms]."""
        return {source: given.sent for source, (given, _) in tuple(self._newest.items())}
