"""Mouse and fingers on a camera's picture: what is dragged, the tool does, as far as it is dragged.

Drags are sums since the page was opened, so a lost message loses nothing. A click or tap without a drag opens or closes
the gripper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from collectors.teleop.devices.page import PageDevice
from collectors.teleop.messages import Input
from dataengine.robot import Command

STRETCH = 0.35  # [m] of the tool for a drag over the picture's width
RISE = 0.15  # [m] for one unit of wheel or pinch: a tenth of it is a notch
TWIST = 2.5  # [rad] for a drag over the picture's width
CLICK, STILL = 0.3, 0.008  # [s] and widths of the picture within which a press is a click
WHEEL = 0.2  # [s] that a turn of the wheel counts as held


class _Drag(PageDevice):
    """Drags as a pose of the device: displacements since it began, in m and rad. The first button moves over the
    table, the others up, down and around; wheel or pinch moves up and down."""

    planar: ClassVar[int] = 0  # which button drags over the table
    upright: ClassVar[tuple[int, ...]]  # which ones drag up, down and around

    def begin(self) -> None:
        self._at, self._yaw = np.zeros(3), 0.0
        self._axes: tuple[float, ...] | None = None
        self._pressed: tuple[float, float] | None = None  # since when, and how far it was dragged
        self._wheel = -np.inf
        self._seq = -1

    def command(self, given: Input, came: float, now: float) -> Command | None:
        x, y, rise = (*given.axes, 0.0, 0.0, 0.0)[:3]
        if self._axes is None:
            self._axes = (x, y, rise)
        dx, dy, dz = x - self._axes[0], y - self._axes[1], rise - self._axes[2]
        self._axes = (x, y, rise)
        down = any(value > 0.5 for value in given.buttons)
        around = any(given.buttons[n] > 0.5 for n in self.upright if n < len(given.buttons))
        self._click(down, abs(dx) + abs(dy) + abs(dz), now)
        if dz:
            self._wheel = now
        move = np.array([0.0, 0.0, -dy * STRETCH]) if around else np.array([-dy, -dx, 0.0]) * STRETCH
        if around:
            self._yaw -= dx * TWIST
        move[2] += dz * RISE
        self._at = self._at + self.base(move)
        if not down and now - self._wheel > WHEEL:
            return None
        pose = np.array([*self._at, np.cos(self._yaw / 2), 0.0, 0.0, np.sin(self._yaw / 2)])
        return Command(came if down else now, pose=pose, gripper=self._opening)

    def _click(self, down: bool, dragged: float, now: float) -> None:
        if down:
            since, so_far = self._pressed or (now, 0.0)
            self._pressed = since, so_far + dragged
        elif self._pressed is not None:
            since, so_far = self._pressed
            self._pressed = None
            if now - since < CLICK and so_far + dragged < STILL:
                self.grip(1.0 - self._opening, now)


@dataclass
class Pointer(_Drag):
    """Left drag: over the table. Right drag: up, down, around. Wheel: up and down. Click: gripper."""

    name = "pointer"
    source = "pointer"
    upright = (1, 2)
    controls: ClassVar[Mapping[str, str]] = {
        "drag": "over the table", "right drag": "up, down and around", "wheel": "up and down",
        "click": "open or close the gripper",
    }  # fmt: skip


@dataclass
class Touch(_Drag):
    """One finger: over the table. Two: up, down, around; apart or together: up and down. Tap: gripper."""

    name = "touch"
    source = "touch"
    upright = (1,)
    controls: ClassVar[Mapping[str, str]] = {
        "one finger": "over the table", "two fingers": "up, down and around", "pinch": "up and down",
        "tap": "open or close the gripper",
    }  # fmt: skip
