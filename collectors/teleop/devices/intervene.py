"""A person beside a policy or the expert, who takes over when they like (HG-DAgger: Kelly 2019, arXiv:1810.02890).

Who acts is said with every command; both switches begin from where the robot is. What the person does is an
intervention, also while they only make it stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from collectors.teleop.inputs import Inputs
from dataengine.robot import Command, Device, Robot, Sample


@dataclass
class Intervene:
    """base: who acts until a person does. person: their device. return_after: seconds without a command of the person
    after which the base acts again by itself; None: only by order.
    """

    base: Device
    person: Device
    return_after: float | None = None
    inputs: Inputs | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.name = f"{self.base.name}+{self.person.name}"
        self.autonomous = bool(getattr(self.base, "autonomous", False))
        self.actors = (self.base.name, *getattr(self.person, "actors", (self.person.name,)))
        self._taken, self._returned = False, False
        self._robot: Robot | None = None
        self._last = 0.0

    @property
    def controls(self) -> Mapping[str, str]:
        return dict(getattr(self.person, "controls", {}))

    def takeover(self) -> None:
        """By order: the person acts, though they move nothing yet."""
        self._taken, self._last = True, float("inf")

    def handback(self) -> None:
        """By order: the base acts again, as from now."""
        if self._taken:
            self._taken = False
            if self._robot is not None:
                self.base.start(self._robot)

    def start(self, robot: Robot) -> None:
        self._robot, self._taken = robot, False
        if hasattr(self.person, "inputs"):
            self.person.inputs = self.inputs
        self.base.start(robot)
        self.person.start(robot)

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command | None:
        mine = self.person.read(now, observation)
        if mine is not None and mine.engaged and now - mine.time < 0.25:
            self._taken, self._last = True, now
        if self._taken and self.return_after is not None and now - self._last > self.return_after:
            self.handback()
        if self._taken:
            who = str((mine.extra or {}).get("actor", self.person.name)) if mine is not None else self.person.name
            said = {"actor": who, "intervention": True}
            return replace(mine, extra=said) if mine is not None else Command(now, engaged=False, extra=said)
        theirs = self.base.read(now, observation)
        return theirs if theirs is None else replace(theirs, extra={"actor": self.base.name, "intervention": False})

    def stop(self) -> None:
        self.base.stop()
        self.person.stop()
