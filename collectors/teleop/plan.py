"""What a session is meant to do: everything that is decided before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dataengine.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """fps: ticks and rows a second. instruction: what is to be done; empty: what the robot's world says. tasks: of a
    world, taken in turn; empty: any of its own. target: episodes to have in the dataset. seconds: the longest an
    episode may take. reset_seconds: how long the reset may take before the next one is ready. seed: of the first scene.
    rehearse: record nothing. alone: nobody is there to give orders, so that they are given by the clock and the
    world's verdict. settle: [s] an episode still runs after the world calls it done, if alone.
    """

    fps: float = 30.0
    instruction: str = ""
    tasks: tuple[str, ...] = ()
    target: int = 50
    seconds: float = 120.0
    reset_seconds: float = 10.0
    seed: int = 0
    rehearse: bool = False
    alone: bool = False
    settle: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and 1 <= self.fps <= 200):
            raise ConfigError(f"fps is 1 to 200, not {self.fps}")
        if self.target < 1 or self.seconds <= 0 or self.reset_seconds < 0 or self.seed < 0:
            raise ConfigError("episodes is 1 or more, seconds is positive, reset-seconds and seed are not negative")
