"""A phone in the hand: while a finger rests on it the tool follows how it is turned and, where known, moved.

A browser tells a phone's orientation but not its place. Then it is a joystick: tilting it from how it was held when the
finger came down moves the tool over the table, turning it turns the tool, two buttons move up and down. With a place
(three more axes) the tool follows place and orientation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collectors.teleop.devices.page import PageDevice
from collectors.teleop.messages import Input
from dataengine.robot import Command

FULL, REST = np.deg2rad(35.0), np.deg2rad(4.0)  # tilt at full speed, and tilt that counts as none
CLUTCH, CLOSED, UP, DOWN = range(4)


@dataclass
class Phone(PageDevice):
    """Rest a finger and tilt: over the table. Turn: turn. Buttons: up, down, gripper."""

    name = "phone"
    source = "phone"
    controls: ClassVar[Mapping[str, str]] = {
        "hold": "the tool follows", "tilt": "over the table", "turn": "turn", "buttons": "up, down and gripper",
    }  # fmt: skip

    def begin(self) -> None:
        self._from: np.ndarray | None = None
        self._closed = False

    def command(self, given: Input, came: float, now: float) -> Command | None:
        button = [value > 0.5 for value in (*given.buttons, 0.0, 0.0, 0.0, 0.0)[:4]]
        if button[CLOSED] != self._closed:
            self._closed = button[CLOSED]
            self.grip(0.0 if self._closed else 1.0, now)
        lift = float(button[UP]) - float(button[DOWN])
        if not button[CLUTCH] or len(given.axes) < 4:
            self._from = None
            return self.twist(came, 0.0, 0.0, lift, (0.0, 0.0, 0.0)) if lift else None
        turned = np.array([given.axes[3], *given.axes[:3]])  # w x y z
        turned = turned / max(float(np.linalg.norm(turned)), 1e-9)
        if len(given.axes) >= 7:
            point = self.base(np.array(given.axes[4:7]))
            return Command(came, pose=np.concatenate([point, turned]), gripper=self._opening)
        if self._from is None:
            self._from = turned
        pitch, roll, yaw = _rotation_vector(self._from, turned)
        return self.twist(came, _share(-pitch), _share(-roll), lift, (0.0, 0.0, _share(yaw)))


def _share(angle: float) -> float:
    """Deflection, -1 to 1, of a tilt [rad]."""
    size = np.clip((abs(angle) - REST) / (FULL - REST), 0.0, 1.0)
    return float(np.copysign(size, angle))


def _rotation_vector(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The turn `(3,)` [rad] about the phone's own axes – x to the right of its screen, y to its top, z out of it – that
    brings the orientation `one` to `other`, quaternions w x y z."""
    w, (x, y, z) = one[0], -one[1:]
    a, b, c, d = other
    product = np.array(
        [
            w * a - x * b - y * c - z * d,
            w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b,
            w * d + x * c - y * b + z * a,
        ]
    )
    product = product if product[0] >= 0 else -product
    sine = float(np.linalg.norm(product[1:]))
    return product[1:] * (2 * np.arctan2(sine, product[0]) / sine if sine > 1e-9 else 2.0)
