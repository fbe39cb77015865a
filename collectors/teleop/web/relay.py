"""Inputs of one page after another as one stream, so that a session need not know that pages come and go.

Every page counts its messages, and sums up what was dragged, from zero. If another page takes control, or the same one
is loaded again, numbers go on and sums stay where they are: a robot never jumps because somebody opened a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from collectors.teleop.messages import Input, Source

SUMMED: tuple[Source, ...] = ("pointer", "touch")  # of these the axes are sums


@dataclass
class Relay:
    """`passed(input)` gives what the session takes; `released()` ends what a lost page had pressed."""

    _last: dict[Source, Input] = field(default_factory=dict)  # what the session has
    _from: dict[Source, Input] = field(default_factory=dict)  # what the page in control said
    _moved: dict[Source, tuple[float, ...]] = field(default_factory=dict)  # from the page's sums to ours

    def begin(self) -> None:
        """Another page speaks from now on."""
        self._from.clear()
        self._moved.clear()

    def passed(self, given: Input) -> Input | None:
        """None for what is older than what was passed already."""
        source, before = given.source, self._from.get(given.source)
        if before is not None and given.seq <= before.seq:
            return None
        last = self._last.get(source)
        axes = given.axes
        if source in SUMMED:
            if source not in self._moved or len(self._moved[source]) != len(axes):
                there = last.axes if last is not None and len(last.axes) == len(axes) else (0.0,) * len(axes)
                self._moved[source] = tuple(a - b for a, b in zip(there, axes, strict=True))
            axes = tuple(a + b for a, b in zip(axes, self._moved[source], strict=True))
        self._from[source] = given
        self._last[source] = replace(given, seq=last.seq + 1 if last else 0, axes=axes)
        return self._last[source]

    def released(self) -> Iterator[Input]:
        """No key is down any more; sums, orientations and a phone's grip stay, sticks go back to the middle."""
        for source, last in self._last.items():
            kept = (1,) if source == "phone" else ()  # that button says that the gripper is closed
            buttons = tuple(value if n in kept else 0.0 for n, value in enumerate(last.buttons))
            axes = (0.0,) * len(last.axes) if source == "gamepad" else last.axes
            quiet = replace(last, keys=(), axes=axes, buttons=buttons)
            if quiet != last:
                self._last[source] = replace(quiet, seq=last.seq + 1)
                yield self._last[source]
