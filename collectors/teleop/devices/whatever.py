"""Every device of the page at once: whichever a person takes in hand drives, until another is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from collectors.teleop.devices.gamepad import Gamepad
from collectors.teleop.devices.keyboard import Keyboard
from collectors.teleop.devices.page import PageDevice
from collectors.teleop.devices.phone import Phone
from collectors.teleop.devices.pointer import Pointer, Touch
from collectors.teleop.inputs import Inputs
from dataengine.robot import Command, Robot, Sample


@dataclass
class Page:
    """speed [m/s] and turn [rad/s]: of all of them, at full deflection."""

    speed: float = 0.15
    turn: float = 1.2
    inputs: Inputs | None = field(default=None, init=False, repr=False)

    name = "page"

    def __post_init__(self) -> None:
        kinds: tuple[type[PageDevice], ...] = (Keyboard, Pointer, Touch, Gamepad, Phone)
        self._devices = [kind(self.speed, self.turn) for kind in kinds]
        self._now = self._devices[0]
        # Nobody has taken one of them in hand yet, and the page is there.
        self.actors = (self.name, *(device.name for device in self._devices))

    @property
    def controls(self) -> Mapping[str, str]:
        return {**Keyboard.controls, **(self._now.controls if self._now.name != "keyboard" else {})}

    def start(self, robot: Robot) -> None:
        for device in self._devices:
            device.inputs = self.inputs
            device.start(robot)

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command | None:
        commands = {device.name: device.read(now, observation) for device in self._devices}
        mine = commands[self._now.name]
        if mine is None or not mine.engaged:
            for device in self._devices:
                command = commands[device.name]
                if command is not None and command.engaged:
                    device.take_over(self._now)
                    self._now, mine = device, command
                    break
        return mine if mine is None else replace(mine, extra={"actor": self._now.name})

    def stop(self) -> None:
        pass
