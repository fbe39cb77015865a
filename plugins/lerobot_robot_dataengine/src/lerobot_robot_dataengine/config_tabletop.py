"""What can be chosen about the robot; LeRobot finds the class in `tabletop.py` by dropping `Config` and `config_`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lerobot.robots.config import RobotConfig


@RobotConfig.register_subclass("dataengine_tabletop")
@dataclass(kw_only=True)
class DataengineTabletopConfig(RobotConfig):
    """task: what is to be done, by the world's own name for it. seed: the run, 0 to 16383. first: number of the first
    scene; to replay episode 7, start with scene 7. views: cameras; None is all. image_size: side of the pictures
    [pixels]. world: name of the world. fps, arm: passed on where given, to a world that has a choice.
    paced: whether the world waits for the wall clock; without, every action is one step however fast they come.
    """

    task: str = "pick_red"
    seed: int = 0
    first: int = 0
    views: list[str] | None = None
    image_size: int = 96
    world: str = "tabletop"
    fps: float | None = None
    arm: str | None = None
    paced: bool = True

    def params(self) -> dict[str, Any]:
        """The world's own parameters."""
        chosen = {"fps": self.fps, "arm": self.arm, "cameras": self.views}
        given = {name: value for name, value in chosen.items() if value is not None}
        return {"tasks": [self.task], "image_size": self.image_size, **given}
