"""What can be chosen about the scripted expert as a teleoperator."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.teleoperators.config import TeleoperatorConfig


@TeleoperatorConfig.register_subclass("dataengine_expert")
@dataclass(kw_only=True)
class DataengineExpertConfig(TeleoperatorConfig):
    """robot: `--robot.id` of the robot to act for, where a process has more than one."""

    robot: str | None = None
