"""A gamepad in the standard mapping: left stick over the table, right stick up, down and around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from collectors.teleop.devices.page import PageDevice
from collectors.teleop.messages import Input
from dataengine.robot import Command

REST = 0.12  # deflection below which a stick counts as at rest
GRIP, SLOW, TRIGGER = 0, 4, 7  # places of A, the left shoulder and the right trigger
LEFT, RIGHT, UP, DOWN = 14, 15, 12, 13  # the cross


@dataclass
class Gamepad(PageDevice):
    """Left stick: over the table. Right stick: up, down, turn. Cross: tilt. A or trigger: gripper. LB: slowly."""

    name = "gamepad"
    source = "gamepad"
    controls: ClassVar[Mapping[str, str]] = {
        "left stick": "over the table", "right stick": "up, down and turn", "cross": "tilt",
        "A": "open or close the gripper", "right trigger": "close the gripper while it is pressed", "LB": "slowly",
    }  # fmt: skip

    def begin(self) -> None:
        self._down, self._pulled = False, False

    def command(self, given: Input, came: float, now: float) -> Command | None:
        sticks = [_beyond_rest(value) for value in (*given.axes, 0.0, 0.0, 0.0, 0.0)[:4]]
        button = dict(enumerate(given.buttons))
        self._gripper(button.get(GRIP, 0.0) > 0.5, button.get(TRIGGER, 0.0), now)
        roll = button.get(RIGHT, 0.0) - button.get(LEFT, 0.0)
        pitch = button.get(UP, 0.0) - button.get(DOWN, 0.0)
        if not any(sticks) and not roll and not pitch:
            return None
        share = 0.3 if button.get(SLOW, 0.0) > 0.5 else 1.0
        side, back, around, down = (share * value for value in sticks)
        return self.twist(came, -back, -side, -down, (share * roll, share * pitch, -around))

    def _gripper(self, down: bool, pull: float, now: float) -> None:
        if down and not self._down:
            self.grip(0.0 if self._opening > 0.5 else 1.0, now)
        self._down = down
        if pull > 0.05 or self._pulled:
            self._pulled = pull > 0.05
            self.grip(1.0 - pull, now)


def _beyond_rest(value: float) -> float:
    """A deflection without the part in which a stick rests, -1 to 1."""
    size = max(abs(value) - REST, 0.0) / (1 - REST)
    return min(size, 1.0) if value > 0 else -min(size, 1.0)
