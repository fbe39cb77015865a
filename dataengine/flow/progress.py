"""Showing a person how far a run is: a bar with the time left on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from dataengine.flow.estimate import human_time
from dataengine.flow.events import FlowStatus

_LINE_EVERY = 10.0


class Progress:
    """Takes states and shows them on standard error; `shown=False` shows nothing."""

    def __init__(self, shown: bool = True) -> None:
        self._shown = shown
        self._bar: Any = None
        self._task: Any = None
        self._phase = ""
        self._last = 0.0

    def __enter__(self) -> Progress:
        if self._shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                console=Console(stderr=True),
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, state: FlowStatus) -> None:
        if not self._shown:
            return
        fresh, self._phase = state.phase != self._phase, state.phase
        if self._bar is not None:
            if fresh or self._task is None:
                if self._task is not None:
                    self._bar.update(self._task, completed=state.episodes, detail="")
                self._task = self._bar.add_task(state.phase, total=state.episodes, detail="")
            self._bar.update(self._task, completed=state.done, detail=_detail(state))
        elif fresh or time.monotonic() - self._last > _LINE_EVERY or state.done == state.episodes:
            self._last = time.monotonic()
            print(f"{state.phase}: {state.done}/{state.episodes} episodes{_detail(state)}", file=sys.stderr, flush=True)


def _detail(state: FlowStatus) -> str:
    said = [
        f"{count} {what}" for what, count in (("dropped", state.dropped), ("quarantined", state.quarantined)) if count
    ]
    if state.left is not None and state.done < state.episodes:
        said.append(f"about {human_time(state.left)} left")
    return "".join(f", {each}" for each in said)
