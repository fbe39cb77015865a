"""What devices of the page have in common: they read the newest state the page sent, and its time is the command's.

Directions are a person's: forward is away from whoever looks at the picture. A robot's `heading` [rad] says where that
is in its base frame, a turn about z (0: along x).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from collectors.teleop.inputs import Inputs
from collectors.teleop.messages import Input, Source
from dataengine.errors import RobotError
from dataengine.robot import Command, Kinematic, Robot, Sample

GRIPPING = 0.7  # [s] that a command lasts after the gripper was told to open or close, with nothing else held


@dataclass
class PageDevice(ABC):
    """A subclass owes `source`, `controls` and `command`. speed [m/s] and turn [rad/s]: at full deflection."""

    speed: float = 0.15
    turn: float = 1.2
    inputs: Inputs | None = field(default=None, init=False, repr=False)

    name: ClassVar[str]
    source: ClassVar[Source]
    controls: ClassVar[Mapping[str, str]]

    def __post_init__(self) -> None:
        self._heading, self._opening, self._gripped, self._count = 0.0, 1.0, -np.inf, 0

    def start(self, robot: Robot) -> None:
        if not isinstance(robot, Kinematic) and not hasattr(robot, "steer"):
            raise RobotError(
                f"{self.name} moves a tool, and {robot.name} does not say how its joints move one; use a leader "
                "arm, or a robot with kinematics"
            )
        self._heading, self._opening, self._gripped = float(getattr(robot, "heading", 0.0)), 1.0, -np.inf
        if self.inputs is not None and (newest := self.inputs.since(self.source, self._count)):
            self._count = newest[-1][0]  # what was done before is over
        self.begin()

    def begin(self) -> None:  # noqa: B027 – most have nothing to forget
        """Forget what was held."""

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command | None:
        newest = self.inputs.newest(self.source) if self.inputs is not None else None
        if newest is None or self.inputs is None:
            return None
        fresh = self.inputs.since(self.source, self._count)
        for self._count, given, came in fresh:
            moved = self.command(given, came, came)
        if not fresh:
            moved = self.command(newest[0], newest[1], now)
        if moved is not None:
            return moved
        if now - self._gripped < GRIPPING:
            return Command(now, twist=np.zeros(6), gripper=self._opening)
        return Command(newest[1], twist=np.zeros(6), engaged=False)

    def stop(self) -> None:  # noqa: B027
        """The page stays; there is nothing to let go of."""

    def take_over(self, other: PageDevice) -> None:
        """Go on from another device of the page: the gripper stays as that one left it."""
        if self._gripped < other._gripped:
            self._opening = other._opening

    @abstractmethod
    def command(self, given: Input, came: float, now: float) -> Command | None:
        """What a state that came at `came` [s] asks for; None while nothing is held. Called for each, in order, and
        again while there is no newer one."""

    # -- for subclasses ------------------------------------------------------------------------------------

    def twist(self, came: float, forward: float, left: float, up: float, turns: tuple[float, float, float]) -> Command:
        """A command of deflections, -1 to 1. turns: roll about forward, pitch about left, yaw about up."""
        linear = self.speed * self.base(np.array([forward, left, up]))
        angular = self.turn * self.base(np.array(turns))
        return Command(came, twist=np.concatenate([linear, angular]), gripper=self._opening)

    def base(self, vector: np.ndarray) -> np.ndarray:
        """A vector of a person's forward, left, up in the base frame."""
        c, s = np.cos(self._heading), np.sin(self._heading)
        return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1], vector[2]])

    def grip(self, opening: float, now: float) -> None:
        """Tell the gripper how far to open, 0 to 1."""
        if opening != self._opening:
            self._opening, self._gripped = opening, now
