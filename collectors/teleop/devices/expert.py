"""The embedded world's scripted expert as a device: it sees the simulator's state and drives at the session's rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dataengine.errors import RobotError
from dataengine.robot import Command, Robot, Sample


@dataclass
class ExpertDevice:
    """noise: standard deviation [m] of what is added to the targets, so that no two demonstrations are alike. seed: of
    styles and noise."""

    noise: float = 0.0
    seed: int = 0

    name = "expert"
    autonomous = True

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._drift: np.ndarray = np.zeros(3)

    def start(self, robot: Robot) -> None:
        """In the scene as it lies there now."""
        from collectors.teleop.robots.world import WorldRobot
        from dataengine.sim.expert import Expert

        if not isinstance(robot, WorldRobot):
            raise RobotError(f"the scripted expert lives in the embedded world; it cannot drive {robot.name}")
        self._expert = Expert(robot.world.scene, robot.world.task, self._rng)
        self._drift = np.zeros(3)

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command:
        action = self._expert.act().astype(np.float64)
        if self.noise:
            self._drift = 0.8 * self._drift + 0.6 * self.noise * self._rng.normal(size=3)
            action[:3] += self._drift
        return Command(now, action=action)

    def stop(self) -> None:
        pass
