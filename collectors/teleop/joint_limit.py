"""What joints may do in one step: position, speed and acceleration as one range of velocities that is never empty."""

from __future__ import annotations

import mink
import numpy as np

GAIN = 0.9  # share of the acceleration that is planned with for stopping at the end of a range


class JointLimit(mink.Limit):
    """`low dt ≤ Δq ≤ high dt`, as `G Δq ≤ h`, for some joints.

    A joint may be as fast as it can still stop before the end of its range, no faster than `speed` [rad/s], and no
    further from its velocity of the step before than `acceleration` [rad/s²] times dt. dofs, qpos: where the joints
    stand in velocities and positions. ranges: `(J, 2)` [rad]. size: of a velocity vector.

    `before`: `(J,)` velocities of the step before; None lifts the limit of acceleration.
    """

    def __init__(
        self, dofs: np.ndarray, qpos: np.ndarray, ranges: np.ndarray, size: int, speed: float, acceleration: float
    ) -> None:
        self.qpos, self.low, self.high = qpos, ranges[:, 0], ranges[:, 1]
        self.speed, self.acceleration = speed, acceleration
        rows = np.eye(size)[dofs]
        self.rows = np.vstack([rows, -rows])
        self.before: np.ndarray | None = np.zeros(len(dofs))

    def compute_qp_inequalities(self, configuration: mink.Configuration, dt: float) -> mink.Constraint:
        q = configuration.q[self.qpos]
        upper = np.minimum(self.speed, self._stoppable(self.high - q, dt))
        lower = -np.minimum(self.speed, self._stoppable(q - self.low, dt))
        if self.before is not None:
            change = self.acceleration * dt
            upper = np.clip(self.before + change, lower, upper)
            lower = np.clip(self.before - change, lower, upper)
        return mink.Constraint(self.rows, np.hstack([upper, -lower]) * dt)

    def _stoppable(self, room: np.ndarray, dt: float) -> np.ndarray:
        """The velocity from which steps of dt come to rest within `room`: v dt / 2 + v² / 2a = room."""
        braking = GAIN * self.acceleration
        free = braking * (np.sqrt(dt**2 / 4 + 2 * np.maximum(room, 0.0) / braking) - dt / 2)
        return np.where(np.isfinite(room), np.minimum(free, np.maximum(room, 0.0) / dt), np.inf)
