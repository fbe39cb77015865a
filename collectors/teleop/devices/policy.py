"""A policy as a device: its action chunks run out over ticks, and a new one is asked for when none is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataengine import plugins
from dataengine.errors import RobotError
from dataengine.plugins import Policy
from dataengine.robot import Command, Resettable, Robot, Sample


@dataclass
class PolicyDevice:
    """policy: name of an installed policy. path: of its checkpoint, where it has one. instruction: what it is told;
    empty: what the robot's world says. execute: how many actions of a chunk are run before the next is asked for.
    """

    policy: str = "reference"
    path: str = ""
    instruction: str = ""
    execute: int | None = None
    made: Any = field(default=None, repr=False)

    name = "policy"
    autonomous = True

    def __post_init__(self) -> None:
        self._policy: Policy | None = self.made
        self._chunk: deque[np.ndarray] = deque()
        self._told = self.instruction

    def start(self, robot: Robot) -> None:
        """Load it once; then an episode begins."""
        if self._policy is None:
            part = plugins.load("policies", self.policy)
            self._policy = part(self.path) if self.path else part()
        action = getattr(self._policy, "action", None)
        names = robot.features["action"].names
        if action is not None and action.names is not None and tuple(action.names) != tuple(names or ()):
            raise RobotError(f"the policy acts with {', '.join(action.names)}, the robot with {', '.join(names or ())}")
        if not self.instruction and isinstance(robot, Resettable):
            self._told = robot.instruction
        self._policy.reset()
        self._chunk.clear()

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command | None:
        if self._policy is None:
            return None
        if not self._chunk:
            seen = {key: sample.value for key, sample in observation.items()}
            self._chunk.extend(np.asarray(self._policy.act(seen, self._told), np.float64)[: self.execute])
        return Command(now, action=self._chunk.popleft())

    def stop(self) -> None:
        self._chunk.clear()
