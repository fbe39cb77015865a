"""How fast an action may change: every action that is sent has passed here.

Limits are of the action's own elements, whatever they are: joint angles, a tool pose, an opening. A jump is more than
any limit could follow; it is refused, not followed slowly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataengine.episode import Feature
from dataengine.errors import RobotError

# By unit: speed [unit/s] and acceleration [unit/s²] where a robot says nothing. Percent are of a motor's range.
DEFAULTS: Mapping[str, tuple[float, float]] = {
    "m": (0.6, 6.0),
    "rad": (2.5, 25.0),
    "deg": (140.0, 1400.0),
    "%": (150.0, 1500.0),
    "1": (4.0, 60.0),
}
JUMP = 0.35  # [s] at full speed: how far a wish may be from the one before
GAIN = 0.9  # share of the acceleration that is planned with when braking


@dataclass(frozen=True)
class Limits:
    """Of an action `(A,)`: low and high, speed [1/s] and acceleration [1/s²] of every element, in its unit.
    rates: whether the elements are rates or steps themselves (delta, velocity), so that only low and high hold."""

    low: np.ndarray
    high: np.ndarray
    speed: np.ndarray
    acceleration: np.ndarray
    rates: bool = False

    @classmethod
    def of(cls, action: Feature, given: Mapping[str, Any] | None = None) -> Limits:
        """The limits of an action's feature: what `given` or `feature.info` say (`low`, `high`, `speed`,
        `acceleration`; a number or one for each element), else by unit. Raises `RobotError` for none that make sense.
        """
        said = {**action.info, **(given or {})}
        units = action.unit if isinstance(action.unit, tuple) else (action.unit or "1",) * action.size
        usual = [DEFAULTS.get(unit, DEFAULTS["1"]) for unit in units]
        values = {
            "low": np.full(action.size, -np.inf),
            "high": np.full(action.size, np.inf),
            "speed": np.array([speed for speed, _ in usual]),
            "acceleration": np.array([acceleration for _, acceleration in usual]),
        }
        for name, value in values.items():
            if said.get(name) is None:
                continue
            try:
                values[name] = np.broadcast_to(np.asarray(said[name], np.float64), value.shape)
            except ValueError:
                raise RobotError(f"{name} of the action has {np.size(said[name])} numbers, not {action.size}") from None
        limits = cls(**values, rates=action.control in ("delta", "velocity"))
        limits.check()
        return limits

    def check(self) -> None:
        """Raise `RobotError` where no motion, or a boundless one, would be left."""
        if np.isnan([self.low, self.high]).any() or (self.low >= self.high).any():
            raise RobotError(f"limits of the action leave no room: low {self.low}, high {self.high}")
        pace = np.array([self.speed, self.acceleration])
        if not (np.isfinite(pace).all() and (pace > 0).all()):
            raise RobotError(f"the action's speed {self.speed} and acceleration {self.acceleration} must be positive")


@dataclass
class Pace:
    """Follows a wish within limits. `at`: the last target that was sent `(A,)`, None before `reset`."""

    limits: Limits
    at: np.ndarray | None = None
    _velocity: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    _wish: np.ndarray | None = field(default=None, repr=False)

    def reset(self, at: np.ndarray) -> None:
        """Go on from here, at rest."""
        self.at = np.asarray(at, np.float64).copy()
        self._velocity, self._wish = np.zeros_like(self.at), None

    def forget(self) -> None:
        """Somebody else wishes from now on; the motion goes on from where it is."""
        self._wish = None

    def jumps(self, wish: np.ndarray) -> bool:
        """Whether a wish is so far from the one before (after a reset: from where it is) that nobody can have meant it,
        or is no number at all. One that is not is remembered."""
        if not np.isfinite(wish).all():
            return True
        wish = np.clip(wish, self.limits.low, self.limits.high)
        before = self.at if self._wish is None else self._wish
        if before is not None and not self.limits.rates and (np.abs(wish - before) > self.limits.speed * JUMP).any():
            return True
        self._wish = wish
        return False

    def near(self, wish: np.ndarray, seconds: float) -> bool:
        """Whether a wish could be reached within so many seconds at full speed."""
        if self.at is None or self.limits.rates:
            return True
        wish = np.clip(wish, self.limits.low, self.limits.high)
        return bool((np.abs(wish - self.at) <= self.limits.speed * seconds).all())

    def toward(self, wish: np.ndarray, dt: float, share: float = 1.0) -> np.ndarray:
        """The next target `(A,)` float32 on the way to a wish. share: of the speed, for a slow approach.

        Every element takes the fastest way that keeps its speed and acceleration and can still stop at the wish.
        """
        limits = self.limits
        wish = np.clip(np.asarray(wish, np.float64), limits.low, limits.high)
        if self.at is None or limits.rates:
            self.at, self._velocity = wish, np.zeros_like(wish)
            return wish.astype(np.float32)
        gap = wish - self.at
        braking = GAIN * limits.acceleration  # stopping from v in steps of dt takes v dt / 2 + v² / 2a
        stoppable = braking * (np.sqrt(dt**2 / 4 + 2 * np.abs(gap) / braking) - dt / 2)
        fastest = np.minimum(limits.speed * share, stoppable)
        return self._move(np.clip(gap / dt, -fastest, fastest), dt, wish)

    def brake(self, dt: float) -> np.ndarray:
        """The next target on the way to a standstill; of rates, what `reset` was given last."""
        if self.at is None:
            raise RobotError("nothing was sent yet, so there is nothing to stop")
        self._wish = None
        if self.limits.rates:  # what a robot's hold gave
            return self.at.astype(np.float32)
        return self._move(np.zeros_like(self.at), dt)

    def _move(self, wanted: np.ndarray, dt: float, wish: np.ndarray | None = None) -> np.ndarray:
        assert self.at is not None
        most = self.limits.acceleration * dt
        velocity = self._velocity + np.clip(wanted - self._velocity, -most, most)
        target = self.at + velocity * dt
        if wish is not None:  # arrived: no swinging around the wish by less than one tick's change of speed
            whole = (wish - self.at) / dt
            there = (np.abs(whole - self._velocity) <= most) & (np.abs(whole) <= np.minimum(self.limits.speed, most))
            target = np.where(there, wish, target)
        target = np.clip(target, self.limits.low, self.limits.high)
        self._velocity, self.at = (target - self.at) / dt, target
        return target.astype(np.float32)
