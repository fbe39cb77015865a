"""Pictures of a simulated world, drawn beside the loop: always of the newest instant, never a queue of old ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dataengine.robot import Sample

Drawing = Callable[[Any], Mapping[str, np.ndarray]]


class Painter:
    """draw: makes the pictures of an instant, by feature key. beside: in a thread of its own; else where `show` is
    called.

    An instant that is still waiting when a newer one comes is never drawn.
    """

    def __init__(self, draw: Drawing, beside: bool = True) -> None:
        self._draw, self._beside = draw, beside
        self._lock = threading.Condition()
        self._next: tuple[Any, float, int] | None = None
        self._scene = 0
        self._over = False
        self._failure: Exception | None = None
        self._newest: Mapping[str, Sample] = {}
        self._thread: threading.Thread | None = None

    def show(self, instant: Any, time: float) -> None:
        """Draw this instant, captured at `time` [s], as soon as possible. Raises what drawing the last one raised."""
        if self._failure is not None:
            raise self._failure
        if not self._beside:
            self._publish(self._draw(instant), time, self._scene)
            return
        with self._lock:
            self._next = (instant, time, self._scene)
            self._lock.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="world-painter", daemon=True)
            self._thread.start()

    def forget(self) -> None:
        """What was drawn or is being drawn belongs to another scene."""
        with self._lock:
            self._scene += 1
            self._next, self._newest = None, {}

    @property
    def newest(self) -> Mapping[str, Sample]:
        """The newest finished picture of every camera."""
        return self._newest

    def stop(self) -> None:
        with self._lock:
            self._over = True
            self._lock.notify()
        if self._thread is not None:
            self._thread.join(2.0)
        self._thread, self._over, self._failure = None, False, None

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._over or self._next is not None)
                if self._over:
                    return
                assert self._next is not None
                (instant, time, scene), self._next = self._next, None
            try:
                self._publish(self._draw(instant), time, scene)
            except Exception as problem:
                self._failure = problem
                return

    def _publish(self, pictures: Mapping[str, np.ndarray], time: float, scene: int) -> None:
        for picture in pictures.values():
            picture.flags.writeable = False
        with self._lock:
            if scene == self._scene:
                self._newest = {key: Sample(picture, time) for key, picture in pictures.items()}
