"""How far long work is: a bar with the time left on a terminal, a line now and then elsewhere, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

QUIET_SECONDS = 10.0


class Progress:
    """Context manager; `counter` starts a piece of work and gives the function that says how much more is done."""

    def __init__(self) -> None:
        self._bars: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def counter(self, what: str, total: int | None, done: int = 0) -> Callable[[int], None]:
        """done: what an earlier run had finished already; the time left is judged by what this one does."""
        if self._bars is not None:
            task = self._bars.add_task(what, total=total, completed=done)
            return lambda by: self._bars.update(task, advance=by)
        return _lines(what, total, done)


def track[T](items: Iterable[T], *, total: int | None, what: str) -> Iterator[T]:
    """Pass items through and show how far it is."""
    with Progress() as progress:
        advance = progress.counter(what, total)
        for item in items:
            yield item
            advance(1)


def _lines(what: str, total: int | None, done: int) -> Callable[[int], None]:
    begin = last = time.monotonic()
    now_done = done

    def advance(by: int) -> None:
        nonlocal last, now_done
        now_done += by
        if (now := time.monotonic()) - last < QUIET_SECONDS:
            return
        last = now
        left = (now - begin) / max(now_done - done, 1) * (total - now_done) if total else None
        said = f"{what}: {now_done}" + (f" of {total}, about {left:.0f} s left" if left is not None else "")
        print(said, file=sys.stderr, flush=True)

    return advance
