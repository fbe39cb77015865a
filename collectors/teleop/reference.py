"""Where a person wants the tool to be: moved along by twists and poses, kept near the tool, taken up without a jump."""

from __future__ import annotations

from typing import Any

import mink
import numpy as np

from dataengine.robot import Command

LEASH, TURN_LEASH = 0.04, 0.4  # [m], [rad] the reference may run ahead of the tool


class Reference:
    """A pose of the tool in the base frame. tilts: whether the tool can point elsewhere than it does. scale: metres of
    the tool for a metre of a device's pose.

    Poses are relative: at every engagement the device's pose then and the reference then are taken for the same.
    """

    def __init__(self, dt: float, tilts: bool, scale: float = 1.0) -> None:
        self.dt, self.tilts, self.scale = dt, tilts, scale
        self.point: np.ndarray[Any, Any] = np.zeros(3)
        self.rotation = mink.SO3.identity()
        self._clutch: tuple[np.ndarray, mink.SO3, np.ndarray, mink.SO3] | None = None
        self._turned: np.ndarray[Any, Any] = np.zeros(3)

    def begin(self, point: np.ndarray, axes: np.ndarray) -> None:
        """From here: the tool's point `(3,)` [m] and axes `(3, 3)`."""
        self.point, self.rotation = point.copy(), mink.SO3.from_matrix(axes)
        self._clutch, self._turned = None, np.zeros(3)

    def release(self) -> None:
        """The next pose begins a new engagement."""
        self._clutch = None

    def take(self, command: Command, point: np.ndarray, axes: np.ndarray) -> None:
        """Go on by a command. point, axes: where the tool is, from which the reference does not run away."""
        if not command.engaged:
            self.release()
        elif command.twist is not None:
            self.point = self.point + command.twist[:3] * self.dt
            self.rotation = mink.SO3.exp(self._allowed(command.twist[3:]) * self.dt) @ self.rotation
        elif command.pose is not None:
            self._follow(command.pose)
        self._leash(point, mink.SO3.from_matrix(axes))

    def pose(self) -> mink.SE3:
        return mink.SE3.from_rotation_and_translation(self.rotation, self.point)

    def unwrapped(self, turns: np.ndarray) -> np.ndarray:
        """Angles `(3,)` without leaps of a whole turn from one call to the next."""
        self._turned = self._turned + (turns - self._turned + np.pi) % (2 * np.pi) - np.pi
        return self._turned

    def _follow(self, pose: np.ndarray) -> None:
        rotation = mink.SO3(pose[3:] / np.linalg.norm(pose[3:]))
        if self._clutch is None:
            self._clutch = (pose[:3].copy(), rotation, self.point.copy(), self.rotation)
        from_point, from_rotation, at_point, at_rotation = self._clutch
        self.point = at_point + self.scale * (pose[:3] - from_point)
        self.rotation = mink.SO3.exp(self._allowed((rotation @ from_rotation.inverse()).log())) @ at_rotation

    def _allowed(self, turn: np.ndarray) -> np.ndarray:
        """A turn, or what of it is about z where the tool cannot tilt."""
        return turn if self.tilts else np.array([0.0, 0.0, turn[2]])

    def _leash(self, point: np.ndarray, rotation: mink.SO3) -> None:
        """What the arm cannot follow is not stored up, or it would go on moving after the person stopped."""
        ahead = self.point - point
        length = float(np.linalg.norm(ahead))
        if length > LEASH:
            self.point = point + ahead * (LEASH / length)
        turn = (self.rotation @ rotation.inverse()).log()
        angle = float(np.linalg.norm(turn))
        if angle > TURN_LEASH:
            self.rotation = mink.SO3.exp(turn * TURN_LEASH / angle) @ rotation
        moved = self.point - point - ahead
        if self._clutch is not None and np.any(moved):  # a device that ran too far is taken up where it turns round
            held_from, from_rotation, at_point, at_rotation = self._clutch
            self._clutch = (held_from, from_rotation, at_point + moved, at_rotation)
