"""What the page's devices said last, for the devices here to read. Filled by the server's thread, read by the loop."""

from __future__ import annotations

from collections.abc import Callable

from collectors.teleop.messages import Input, Source


class Inputs:
    """The newest `Input` of every source and when it came. Every value is replaced whole, so that no lock is needed."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._newest: dict[str, tuple[Input, float]] = {}

    def take(self, given: Input) -> None:
        """Keep it, unless a newer one of its source is there already."""
        known = self._newest.get(given.source)
        if known is None or given.seq > known[0].seq or self._now() - known[1] > 2.0:  # a page loaded anew counts anew
            self._newest[given.source] = (given, self._now())

    def newest(self, source: Source) -> tuple[Input, float] | None:
        """The last state of a source, and when it came [s]."""
        return self._newest.get(source)

    def echo(self) -> dict[str, float]:
        """By source, when the page sent its last state, on the page's clock [ms]."""
        return {source: given.sent for source, (given, _) in tuple(self._newest.items())}
