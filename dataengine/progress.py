"""A progress bar with the time left on a terminal; plain lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

QUIET_SECONDS = 10.0


def track[T](items: Iterable[T], *, total: int | None, what: str, unit: str = "") -> Iterator[T]:
    """Pass items through and show how far it is, on stderr."""
    if sys.stderr.isatty():
        yield from _bar(items, total, what)
    else:
        yield from _lines(items, total, what, unit)


def _bar[T](items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=what)


def _lines[T](items: Iterable[T], total: int | None, what: str, unit: str) -> Iterator[T]:
    begin = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - last >= QUIET_SECONDS:
            last = now
            left = f", about {(now - begin) / count * (total - count):.0f} s left" if total else ""
            print(f"{what}: {count}{f' of {total}' if total else ''} {unit}{left}", file=sys.stderr, flush=True)
