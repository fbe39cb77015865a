"""A LeRobot robot and a leader without hardware, registered as anybody registers theirs: what is sent is sensed.

`Loopback` has a camera that behaves as LeRobot's do – pictures of their own rate, `latest_timestamp`. Both fail when
`BROKEN` names them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from lerobot.robots import Robot, RobotConfig
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig

JOINTS = ("shoulder.pos", "elbow.pos", "gripper.pos")
BROKEN: set[str] = set()


@RobotConfig.register_subclass("loopback")
@dataclass(kw_only=True)
class LoopbackConfig(RobotConfig):
    port: str
    calibrated: bool = True
    max_relative_target: float | None = None


class Camera:
    """A new picture every 20 ms."""

    def __init__(self) -> None:
        self.latest_timestamp = 0.0

    def read_latest(self) -> np.ndarray:
        self.latest_timestamp = time.perf_counter() // 0.02 * 0.02
        return np.full((48, 64, 3), int(self.latest_timestamp * 50) % 256, np.uint8)


class Loopback(Robot):
    config_class, name = LoopbackConfig, "loopback"

    def __init__(self, config: LoopbackConfig) -> None:
        super().__init__(config)
        self.config, self.at = config, dict.fromkeys(JOINTS, 0.0)
        self.cameras, self.connected = {"front": Camera()}, False

    @property
    def observation_features(self) -> dict[str, Any]:
        return {**dict.fromkeys(JOINTS, float), "front": (48, 64, 3)}

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(JOINTS, float)

    @property
    def is_connected(self) -> bool:
        return self.connected

    def connect(self, calibrate: bool = True) -> None:
        if self.connected or "connect" in BROKEN:
            raise ConnectionError("the port is busy")
        self.connected = True

    @property
    def is_calibrated(self) -> bool:
        return self.config.calibrated

    def calibrate(self) -> None: ...
    def configure(self) -> None: ...

    def get_observation(self) -> dict[str, Any]:
        if "robot" in BROKEN:
            raise ConnectionError("no status packet")
        return {**self.at, "front": self.cameras["front"].read_latest()}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        most = self.config.max_relative_target or np.inf
        self.at = {name: self.at[name] + float(np.clip(action[name] - self.at[name], -most, most)) for name in JOINTS}
        return dict(self.at)

    def disconnect(self) -> None:
        self.connected = False


@TeleoperatorConfig.register_subclass("loopback_leader")
@dataclass(kw_only=True)
class LoopbackLeaderConfig(TeleoperatorConfig):
    port: str
    joints: tuple[str, ...] = JOINTS


class LoopbackLeader(Teleoperator):
    """Moves by itself, as a hand would move it."""

    config_class, name = LoopbackLeaderConfig, "loopback_leader"

    def __init__(self, config: LoopbackLeaderConfig) -> None:
        super().__init__(config)
        self.config, self.connected, self.began = config, False, time.monotonic()

    @property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(self.config.joints, float)

    @property
    def feedback_features(self) -> dict[str, Any]:
        return {}

    @property
    def is_connected(self) -> bool:
        return self.connected

    def connect(self, calibrate: bool = True) -> None:
        self.connected = True

    @property
    def is_calibrated(self) -> bool:
        return True

    def calibrate(self) -> None: ...
    def configure(self) -> None: ...

    def get_action(self) -> dict[str, Any]:
        if "leader" in BROKEN:
            raise ConnectionError("no status packet")
        seconds = time.monotonic() - self.began
        return {name: 20.0 * np.sin(seconds + n) + 10 for n, name in enumerate(self.config.joints)}

    def send_feedback(self, feedback: dict[str, Any]) -> None: ...

    def disconnect(self) -> None:
        self.connected = False
