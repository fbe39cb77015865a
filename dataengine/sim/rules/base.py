"""What a rule is, and the style in which an episode is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dataengine.sim.scene import Scene
from dataengine.sim.tasks import Task
from dataengine.sim.things import TURNS

OPEN, CLOSED = 1.0, 0.0
CLEAR = 0.055  # [m] height of the tool above which the fingers pass over what lies on the table


@dataclass(frozen=True)
class Style:
    """How one episode is done. Heights and distances in [m], turn in [rad], speed in [m] per 0.1 s."""

    hover: float
    grasp: float
    lift: float
    speed: float
    turn: float
    offset: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Style:
        return cls(
            hover=rng.uniform(0.065, 0.085),
            grasp=rng.uniform(0.014, 0.018),
            lift=rng.uniform(0.09, 0.11),
            speed=rng.uniform(0.013, 0.020),
            turn=rng.uniform(-0.05, 0.05),
            offset=rng.uniform(-0.002, 0.002, 2),
        )


# What a rule gives: where the tool shall go, `(x, y, z, yaw)` pointing down or a whole pose `(x, y, z, roll, pitch,
# yaw)`, however far that is, and the opening.
Goal = tuple[np.ndarray, float]
Rule = Callable[[Scene, Task, Style], Goal]


def across(scene: Scene, name: str, near: float) -> float:
    """The yaw nearest to `near` at which the jaw grips a thing squarely [rad]."""
    turn = np.radians(TURNS[scene.kind.thing[name].shape])
    return nearest(scene.heading(name), near, turn) if turn else near


def nearest(heading: float, near: float, turn: float) -> float:
    """The angle nearest to `near` that differs from `heading` by whole turns."""
    return near + (heading - near + turn / 2) % turn - turn / 2
