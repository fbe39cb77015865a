"""The scripted expert as a LeRobot teleoperator: `--teleop.type=dataengine_expert`."""

from __future__ import annotations

from typing import Any

from lerobot.teleoperators.teleoperator import Teleoperator
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected

from dataengine.sim.expert import ExpertPolicy
from lerobot_robot_dataengine.config_expert import DataengineExpertConfig
from lerobot_robot_dataengine.names import suffixed
from lerobot_robot_dataengine.stage import Stage, stage_of


class DataengineExpert(Teleoperator):
    """Acts for the robot of this process. LeRobot connects a teleoperator before its robot, so the world is looked for
    only when something is asked about it."""

    config_class = DataengineExpertConfig
    name = "dataengine_expert"

    def __init__(self, config: DataengineExpertConfig) -> None:
        super().__init__(config)
        self.config = config
        self._policy = ExpertPolicy()
        self._connected = False
        self._seen: tuple[Stage, int] | None = None

    @property
    def _stage(self) -> Stage:
        return stage_of(self.config.robot)

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(suffixed(self._stage.world.features["action"]), float)

    @property
    def feedback_features(self) -> dict[str, Any]:
        return {}

    @property
    def is_connected(self) -> bool:
        return self._connected

    @check_if_already_connected
    def connect(self, calibrate: bool = True) -> None:
        self._connected = True

    @property
    def is_calibrated(self) -> bool:
        return True

    def calibrate(self) -> None:
        """There is nothing to calibrate."""

    def configure(self) -> None:
        """There is nothing to configure."""

    @check_if_not_connected
    def get_action(self) -> dict[str, Any]:
        """The next action, every key of it, in the scene that the robot is in now."""
        stage = self._stage
        if self._seen != (stage, stage.laid):
            self._policy.enter(stage.world)
            self._policy.reset()
            self._seen = (stage, stage.laid)
        action = self._policy.act(stage.observation, stage.world.instruction)[0]
        return dict(zip(self.action_features, map(float, action), strict=True))

    def send_feedback(self, feedback: dict[str, Any]) -> None:
        """It feels nothing."""

    @check_if_not_connected
    def disconnect(self) -> None:
        self._connected, self._seen = False, None
