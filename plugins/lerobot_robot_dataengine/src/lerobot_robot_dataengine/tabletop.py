"""The embedded world as a LeRobot robot: `--robot.type=dataengine_tabletop`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from lerobot.robots.robot import Robot
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected

from lerobot_robot_dataengine.config_tabletop import DataengineTabletopConfig
from lerobot_robot_dataengine.hearing import Hearing
from lerobot_robot_dataengine.names import suffixed
from lerobot_robot_dataengine.pace import Pace
from lerobot_robot_dataengine.stage import Stage

STATE, IMAGES = "observation.state", "observation.images."
REST = 1.0  # [s] that a finished attempt is left alone before the next scene, where nobody records


class DataengineTabletop(Robot):
    """Owns its world. Numbers are the world's own, in its order; names get `.pos` where they have no such end, since
    LeRobot drops others. Scenes change as README.md says.
    """

    config_class = DataengineTabletopConfig
    name = "dataengine_tabletop"

    def __init__(self, config: DataengineTabletopConfig) -> None:
        super().__init__(config)
        self.config = config
        self._hearing = Hearing()
        self._stage = Stage(config.id or self.name, config.world, config.params(), config.task, config.seed)
        features = self._stage.world.features
        self._state = suffixed(features[STATE])
        self._action = suffixed(features["action"])
        self._views = {key.removeprefix(IMAGES): f.shape for key, f in features.items() if key.startswith(IMAGES)}
        self._pace = Pace(self._stage.world.fps)
        self._connected = False

    @property
    def observation_features(self) -> dict[str, Any]:
        return {**dict.fromkeys(self._state, float), **self._views}

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(self._action, float)

    @property
    def cameras(self) -> dict[str, Any]:
        """By name; LeRobot counts them to know how many writers of pictures it needs."""
        return dict(self._views)

    @property
    def is_connected(self) -> bool:
        return self._connected

    @check_if_already_connected
    def connect(self, calibrate: bool = True) -> None:
        """Lays out the first scene."""
        self._stage.lay(self.config.first)
        self._hearing.start()
        self._connected = True

    @property
    def is_calibrated(self) -> bool:
        return True

    def calibrate(self) -> None:
        """There is nothing to calibrate."""

    def configure(self) -> None:
        """There is nothing to configure."""

    @check_if_not_connected
    def get_observation(self) -> dict[str, Any]:
        """Numbers and pictures `(H, W, 3)` uint8 of now; before that a new scene where one is due."""
        episode, stage = self._hearing.announced(), self._stage
        if episode is not None and not (stage.scene == episode + self.config.first and stage.steps == 0):
            stage.lay(episode + self.config.first)
        elif not self._hearing.recording and stage.ended is not None and stage.ended >= REST * stage.world.fps:
            stage.lay(stage.scene + 1)
        numbers = stage.observation[STATE]
        pictures = {view: stage.observation[IMAGES + view].copy() for view in self._views}
        return {**dict(zip(self._state, map(float, numbers), strict=True)), **pictures}

    @check_if_not_connected
    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Carries the action out when the world's next step is due. Keys that are no actions are left alone."""
        wanted = np.array([float(action[key]) for key in self._action], np.float32)
        if not self.config.paced or self._pace.due(time.monotonic()):
            self._stage.step(wanted)
        return dict(zip(self._action, map(float, wanted), strict=True))

    @check_if_not_connected
    def disconnect(self) -> None:
        self._hearing.stop()
        self._stage.report()
        self._connected = False
