"""A scripted expert that sees the simulator's state and shows how each task is done.

Its rules (`rules/`) look only at where things are now, never at what it meant to do before. So it recovers from
whatever noise or a failed grasp has led to – opening an empty gripper, rising, coming back – and what it shows can be
learned from one observation. How it does things (heights, speed, angle) differs from episode to episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.rotations import matrix
from dataengine.sim.rules import RULES
from dataengine.sim.rules.base import Goal, Style
from dataengine.sim.scene import Scene
from dataengine.sim.tasks import Task

SETTLING = 0.1 / np.log(10)  # [s] time constant of the servos: nine tenths of a step are done after 0.1 s
TURN = 0.35  # [rad] per 0.1 s at most


class Expert:
    """Does a task in a scene, one action at a time; make a new one for each episode."""

    def __init__(self, scene: Scene, task: Task, rng: np.random.Generator) -> None:
        self.scene, self.task = scene, task
        self.style = Style.sample(rng)
        self.lead = pace(scene.fps)

    def act(self) -> np.ndarray:
        """The next action `(A,)` float32: the tool's target pose and the opening."""
        goal, opening = self._goal()
        return np.array([*self._approach(goal), opening], np.float32)

    def gap(self) -> tuple[np.ndarray, float]:
        """The whole way from where the tool is, `(6,)` in the base frame: a shift [m] and a turn as a rotation vector
        [rad]; and the opening."""
        goal, opening = self._goal()
        pose, turn = self.scene.pose, np.zeros(3)
        if len(pose) == 4:
            turn[2] = goal[3] - pose[3]
        else:
            rotation, quaternion = matrix(goal[3:]) @ matrix(pose[3:]).T, np.zeros(4)
            mujoco.mju_mat2Quat(quaternion, rotation.ravel())
            mujoco.mju_quat2Vel(turn, quaternion, 1.0)
        return np.concatenate([goal[:3] - pose[:3], turn]), opening

    def _goal(self) -> Goal:
        """What the task's rule says, as a pose in the arm's own terms."""
        goal, opening = RULES[self.task.verb](self.scene, self.task, self.style)
        return self.scene.arm.upright(goal) if len(goal) == 4 else goal, opening

    def _approach(self, goal: np.ndarray) -> np.ndarray:
        """A step towards the goal from where the tool is, no longer than the style's speed."""
        pose = self.scene.pose
        move = goal - pose
        length = float(np.linalg.norm(move[:3]))
        move[:3] *= min(1.0, self.lead * self.style.speed / max(length, 1e-9))
        move[3:] = np.clip(move[3:], -TURN * self.lead, TURN * self.lead)
        return pose + move


def pace(fps: float) -> float:
    """How far a target must lie ahead so that the tool moves as fast as at 10 Hz, where it lies a whole step ahead.

    A servo covers the share 1 - exp(-t / SETTLING) of the lead in time t, and the step is to shrink with t.
    """
    return (0.1 / fps * 10 / 0.1) * (1 - np.exp(-0.1 / SETTLING)) / (1 - np.exp(-1 / fps / SETTLING))


@dataclass
class ExpertPolicy:
    """The expert where a policy is expected; it must be let into the world, since it sees what no camera shows."""

    _expert: Expert | None = field(default=None, init=False, repr=False)
    _world: Any = field(default=None, init=False, repr=False)

    def enter(self, world: Any) -> None:
        self._world = world

    def reset(self) -> None:
        if self._world is None:
            raise ConfigError("the expert must enter a world before it acts in it")
        self._expert = Expert(self._world.scene, self._world.task, np.random.default_rng(0))

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        if self._expert is None:
            raise ConfigError("the expert must be reset before it acts")
        return self._expert.act()[None]
