"""What keeps people and robots whole: the checks before the first motion, the dead-man's time, the watchdog, the stop.

None of it depends on a browser: the stop is also a key in the terminal and a signal, and the watchdog has a thread of
its own that holds the robot when the loop itself is stuck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from dataengine.episode import Feature
from dataengine.errors import RobotError
from dataengine.robot import Robot, Sample

DEADMAN = 0.25  # [s] without a command after which the robot is held
APPROACH = 0.2  # share of the full speed at which a robot goes to a first pose
ARRIVED = 0.15  # [s] at full speed: how near to it counts as there


def check_robot(robot: Robot) -> None:
    """What must be true of a connected robot before it may move. Raises `RobotError` with what to do."""
    features = robot.features
    if "action" not in features or features["action"].names is None:
        raise RobotError(f"{robot.name} names no actions: its feature `action` needs one name for each element")
    if not any(key.startswith("observation.") for key in features):
        raise RobotError(f"{robot.name} senses nothing: it has no feature that starts with `observation.`")
    if not 1 <= robot.fps <= 1000:
        raise RobotError(f"{robot.name} wants to be driven at {robot.fps} Hz; 1 to 1000 are possible")


def check_hold(held: np.ndarray, action: Feature, low: np.ndarray, high: np.ndarray) -> None:
    """Whether a robot stands within its own limits. Raises `RobotError` naming the joints that do not."""
    if held.shape != action.shape or not np.isfinite(held).all():
        raise RobotError(f"the robot does not know where it is: holding it gives {held}; calibrate it")
    slack = 0.02 * np.where(np.isfinite(high - low), high - low, 0.0) + 1e-6
    outside = (held < low - slack) | (held > high + slack)
    if outside.any():
        names = action.names or tuple(map(str, range(action.size)))
        wrong = [f"{names[i]} is {held[i]:.3g}, not {low[i]:.3g} to {high[i]:.3g}" for i in np.flatnonzero(outside)]
        raise RobotError(f"the robot stands outside its limits: {'; '.join(wrong)}. Move it by hand, or calibrate it")


def missing(features: Mapping[str, Feature], observation: Mapping[str, Sample]) -> list[str]:
    """Keys of observations that have not come yet."""
    return [key for key in features if key.startswith("observation.") and key not in observation]


class Watchdog:
    """Holds the robot when the loop has not beaten for longer than `patience` [s].

    It holds once, says so in `bites`, and waits for the next beat. `check` is what its thread does every 20 ms.
    """

    EVERY = 0.02

    def __init__(self, hold: Callable[[], object], now: Callable[[], float], patience: float = DEADMAN - 0.05) -> None:
        self.patience, self.bites = patience, 0
        self._hold, self._now = hold, now
        self._beat: float | None = None
        self._bitten = False
        self._over = threading.Event()
        self._demanded = False
        self._thread: threading.Thread | None = None

    def beat(self) -> bool:
        """The loop lives; whether it was held since the last beat."""
        bitten, self._bitten = self._bitten, False
        self._beat = self._now()
        return bitten

    def rest(self) -> None:
        """Nothing is expected to beat until the next `beat`."""
        self._beat = None

    @property
    def silent(self) -> float:
        """Seconds since the last beat; 0 while none is expected."""
        return 0.0 if self._beat is None else self._now() - self._beat

    def demand(self) -> None:
        """Hold at once; from any thread, waits for nothing."""
        self._demanded = True

    def check(self) -> None:
        silent = self._beat is not None and not self._bitten and self.silent > self.patience
        if silent or self._demanded:
            self._bitten, self._demanded = True, False
            self.bites += 1
            with suppress(Exception):  # a robot that cannot be held is a fault the loop will see
                self._hold()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._over.wait(self.EVERY):
            self.check()
