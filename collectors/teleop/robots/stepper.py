"""A Gymnasium environment in a thread of its own: a drawing context belongs to one thread, and a step may take longer
than a tick. The newest action counts; one that no step was made with is never made up for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataengine.errors import RobotError


@dataclass(frozen=True)
class Step:
    """What the environment said last. time: when the step ended [s]. over: it goes no further until it is reset."""

    seen: Any
    time: float
    reward: float = 0.0
    over: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)


class Stepper:
    """make: gives the environment. beside: in a thread; else in the caller's."""

    def __init__(self, make: Callable[[], Any], now: Callable[[], float], beside: bool) -> None:
        self._make, self._now = make, now
        self._thread = ThreadPoolExecutor(1, "gymnasium") if beside else None
        self._pending: np.ndarray | None = None
        self._running: Future[None] | None = None
        self.env: Any = None
        self.last = Step(None, 0.0)

    def open(self) -> None:
        """Make it, and wait for that."""
        if self.env is None:
            self.env = self._do(self._make)

    def reset(self, seed: int) -> None:
        """Begin anew, and wait for that."""
        self._pending = None
        seen, info = self._do(lambda: self.env.reset(seed=seed))
        self.last = Step(seen, self._now(), info=info)

    def put(self, action: np.ndarray) -> None:
        """Step with this action as soon as the last step is done. Raises `RobotError` where that one failed."""
        if self._running is not None and self._running.done() and (problem := self._running.exception()) is not None:
            self._running = None
            raise RobotError(f"the environment failed: {problem}")
        self._pending = action
        if self._thread is None:
            self._step()
        elif self._running is None or self._running.done():
            self._running = self._thread.submit(self._steps)

    @property
    def busy(self) -> bool:
        return self._running is not None and not self._running.done()

    def close(self) -> None:
        if self.env is not None:
            self._do(lambda: _close(self.env))
            self.env = None

    def _do(self, work: Callable[[], Any]) -> Any:
        return work() if self._thread is None else self._thread.submit(work).result()

    def _steps(self) -> None:
        while self._pending is not None:
            self._step()

    def _step(self) -> None:
        action, self._pending = self._pending, None
        if action is not None and not self.last.over:
            seen, reward, terminated, truncated, info = self.env.step(action)
            info = {**info, "terminated": bool(terminated)}
            self.last = Step(seen, self._now(), float(reward), bool(terminated or truncated), info)


def _close(env: Any) -> None:
    """Also what dm_control would free at the end of the process, in a thread that may not."""
    env.close()
    physics = getattr(getattr(env.unwrapped, "_env", None), "physics", None)
    if physics is not None:
        physics.free()


def plain(env: Any) -> Any:
    """Without shadows, which cost more than all else in a picture drawn without a graphics card."""
    inner = env.unwrapped
    models: list[Any] = [getattr(inner, "_model", None), getattr(inner, "model", None)]
    models.append(getattr(getattr(getattr(inner, "_env", None), "physics", None), "model", None))
    for model in models:
        if hasattr(model, "light_castshadow"):
            model.light_castshadow[:] = 0
            model.vis.quality.offsamples = 0
    return env
