"""The page's keyboard: keys move the tool at a steady speed while they are down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from collectors.teleop.devices.page import PageDevice
from collectors.teleop.messages import Input
from dataengine.robot import Command

# By code: forward, left, up, roll, pitch, yaw.
MOVES: Mapping[str, tuple[int, int, int, int, int, int]] = {
    "KeyW": (1, 0, 0, 0, 0, 0),
    "KeyS": (-1, 0, 0, 0, 0, 0),
    "KeyA": (0, 1, 0, 0, 0, 0),
    "KeyD": (0, -1, 0, 0, 0, 0),
    "ArrowUp": (1, 0, 0, 0, 0, 0),
    "ArrowDown": (-1, 0, 0, 0, 0, 0),
    "ArrowLeft": (0, 1, 0, 0, 0, 0),
    "ArrowRight": (0, -1, 0, 0, 0, 0),
    "KeyR": (0, 0, 1, 0, 0, 0),
    "KeyF": (0, 0, -1, 0, 0, 0),
    "KeyQ": (0, 0, 0, 0, 0, 1),
    "KeyE": (0, 0, 0, 0, 0, -1),
    "KeyJ": (0, 0, 0, -1, 0, 0),
    "KeyL": (0, 0, 0, 1, 0, 0),
    "KeyI": (0, 0, 0, 0, 1, 0),
    "KeyK": (0, 0, 0, 0, -1, 0),
}
GRIP, SLOW = "KeyG", ("ShiftLeft", "ShiftRight")
SLOWLY = 0.3  # share of the speed with a shift key


@dataclass
class Keyboard(PageDevice):
    """W A S D or arrows: over the table. R F: up, down. Q E: turn. I K J L: tilt. G: open or close. Shift: slowly."""

    name = "keyboard"
    source = "keyboard"
    controls: ClassVar[Mapping[str, str]] = {
        "KeyW": "away", "KeyS": "towards you", "KeyA": "left", "KeyD": "right",
        "ArrowUp": "away", "ArrowDown": "towards you", "ArrowLeft": "left", "ArrowRight": "right",
        "KeyR": "up", "KeyF": "down", "KeyQ": "turn left", "KeyE": "turn right", "KeyG": "open or close the gripper",
        "KeyI": "tilt forward", "KeyK": "tilt back", "KeyJ": "tilt left", "KeyL": "tilt right", "ShiftLeft": "slowly",
    }  # fmt: skip

    def begin(self) -> None:
        self._down = False

    def command(self, given: Input, came: float, now: float) -> Command | None:
        down = GRIP in given.keys
        if down and not self._down:
            self.grip(1.0 - self._opening, now)
        self._down = down
        moves = [MOVES[key] for key in given.keys if key in MOVES]
        if not moves:
            return None
        share = SLOWLY if set(SLOW) & set(given.keys) else 1.0
        total = [share * max(-1, min(1, sum(column))) for column in zip(*moves, strict=True)]
        return self.twist(came, total[0], total[1], total[2], (total[3], total[4], total[5]))
