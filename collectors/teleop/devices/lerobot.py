"""Any teleoperator of LeRobot, leader arms first: its action, element by element, is the robot's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataengine.errors import RobotError
from dataengine.robot import Command, Robot, Sample


@dataclass
class LeRobotDevice:
    """config: `type` and fields of a LeRobot teleoperator. calibrate: whether connecting may ask to calibrate. rename:
    the robot's name for a name of the leader's, where they differ."""

    config: Mapping[str, Any]
    calibrate: bool = False
    rename: Mapping[str, str] | None = None

    name = "lerobot"
    leads = True  # the robot goes slowly to where the leader is before it follows

    def __post_init__(self) -> None:
        from lerobot.teleoperators import TeleoperatorConfig, make_teleoperator_from_config

        from collectors.teleop.robots.lerobot import decoded

        self.teleop = make_teleoperator_from_config(decoded(TeleoperatorConfig, self.config, "lerobot.teleoperators"))
        self._names: tuple[str, ...] = ()

    def start(self, robot: Robot) -> None:
        """Connect it, and check that it says all the robot wants to be told, and nothing else."""
        action = robot.features["action"]
        theirs = {(self.rename or {}).get(name, name) for name in self.teleop.action_features}
        ours = set(action.names or ())
        if theirs != ours:
            lacks, more = sorted(ours - theirs), sorted(theirs - ours)
            parts = [f"it lacks {', '.join(lacks)}"] if lacks else []
            parts += [f"it also moves {', '.join(more)}"] if more else []
            raise RobotError(f"this {self.config['type']} does not fit the robot: {'; '.join(parts)}")
        self._names = tuple(action.names or ())
        if self.teleop.is_connected:
            return
        try:
            self.teleop.connect(calibrate=self.calibrate)
        except Exception as problem:
            raise RobotError(f"the {self.config['type']} does not connect: {problem}") from problem
        if not self.teleop.is_calibrated:
            self.stop()
            kind = self.config["type"]
            raise RobotError(f"the {kind} is not calibrated: run lerobot-calibrate --teleop.type={kind}")

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command:
        try:
            said = self.teleop.get_action()
        except Exception as problem:
            raise RobotError(f"the {self.config['type']} does not answer: {problem}") from problem
        named = {(self.rename or {}).get(name, name): value for name, value in said.items()}
        return Command(now, action=np.array([named[name] for name in self._names], np.float64))

    def stop(self) -> None:
        try:
            if self.teleop.is_connected:
                self.teleop.disconnect()
        except Exception:
            self._names = ()
