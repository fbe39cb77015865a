"""One world on the way from scene to scene, shared by the robot that moves in it and the expert that looks into it.

LeRobot makes robot and teleoperator apart and never introduces them; both live in one process, so a stage is found by
the robot's id.
"""

from __future__ import annotations

import logging
from weakref import WeakValueDictionary

import numpy as np

from dataengine import plugins
from dataengine.errors import ConfigError
from dataengine.sim.base import Observation, World
from dataengine.sim.seeds import training_scene

log = logging.getLogger(__name__)

_stages: WeakValueDictionary[str, Stage] = WeakValueDictionary()


class Stage:
    """A world, the scene it is in, and what became of the attempt.

    laid: how many scenes have been laid out, so that others notice a new one. scene: number of the present one.
    ended: steps since the attempt was over, success or not; None while it goes on.
    """

    def __init__(self, name: str, world: str, params: dict[str, object], task: str, seed: int) -> None:
        made = plugins.make("worlds", world, params)
        if not isinstance(made, World):
            raise ConfigError(f"{world!r} is no world: a world has {', '.join(sorted(World.__protocol_attrs__))}")  # type: ignore[attr-defined]
        self.world, self.task, self.seed = made, task, seed
        self.laid, self.scene, self.steps = 0, -1, 0
        self.success = False
        self.ended: int | None = None
        self.observation: Observation = {}
        _stages[name] = self

    def lay(self, scene: int) -> None:
        """Lay out scene `scene` of the run; says first how the last attempt went."""
        self.report()
        self.observation, _ = self.world.reset(seed=training_scene(self.seed, scene), options={"task": self.task})
        self.laid, self.scene, self.steps = self.laid + 1, scene, 0
        self.success, self.ended = False, None

    def step(self, action: np.ndarray) -> None:
        """Carry out one action `(A,)`."""
        self.observation, _, terminated, truncated, info = self.world.step(action)
        self.steps += 1
        self.success = self.success or bool(info["is_success"])
        if self.ended is not None:
            self.ended += 1
        elif terminated or truncated:
            self.ended = 0

    def report(self) -> None:
        """Log what became of the attempt, if there was one."""
        if self.steps:
            verdict = "success" if self.success else "no success"
            log.info("scene %d of run %d: %s in %d steps", self.scene, self.seed, verdict, self.steps)


def stage_of(robot: str | None) -> Stage:
    """The stage of the robot of an id, or of the only robot. Raises `ConfigError` that names those that exist."""
    if robot is None and len(_stages) == 1:
        return next(iter(_stages.values()))
    if robot is not None and robot in _stages:
        return _stages[robot]
    there = ", ".join(sorted(_stages)) or "none"
    which = "one of several robots, so --teleop.robot must name it" if robot is None else f"robot {robot!r}"
    raise ConfigError(f"the expert looks into the world of {which}; robots of this process: {there}")
