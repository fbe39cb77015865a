"""Work that must not delay a tick: opening, checking and keeping episodes, connecting robots. One thing at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Clerk:
    """One thread that does what it is given, in order. at_once: do it where it is given, for tests that turn time."""

    def __init__(self, name: str, at_once: bool = False) -> None:
        self.at_once = at_once
        self._pool = None if at_once else ThreadPoolExecutor(1, name)
        self._waiting: list[tuple[Future[Any], Callable[[Any], None], Callable[[Exception], None]]] = []

    def give(self, work: Callable[[], Any], then: Callable[[Any], None], failed: Callable[[Exception], None]) -> None:
        """Do `work` in the thread; `collect` later calls `then` with what it gave, or `failed`."""
        if self._pool is None:
            future: Future[Any] = Future()
            try:
                future.set_result(work())
            except Exception as problem:
                future.set_exception(problem)
        else:
            future = self._pool.submit(work)
        self._waiting.append((future, then, failed))

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def collect(self) -> None:
        """In the loop's thread, once a tick: hear of what is done."""
        while self._waiting and self._waiting[0][0].done():
            future, then, failed = self._waiting.pop(0)
            problem = future.exception()
            if problem is None:
                then(future.result())
            elif isinstance(problem, Exception):
                failed(problem)
            else:
                raise problem

    def finish(self) -> None:
        """Wait for everything and hear of it."""
        while self._waiting:
            self._waiting[0][0].exception()
            self.collect()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
