"""The tabletop: an instruction, two cubes, a pad, an arm; 10 actions a second; `reset` and `step` as in Gymnasium.

What is sensed and told stands in `spaces.py`. An action out of the arm's reach is drawn in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.sim.base import Demonstration
from dataengine.sim.cameras import CAMERAS, render
from dataengine.sim.demonstrate import demonstrate
from dataengine.sim.kinematics import inverse, reachable
from dataengine.sim.scene import Layout, Scene
from dataengine.sim.seeds import EVALUATION
from dataengine.sim.spaces import ACTION_NAMES, spaces
from dataengine.sim.tasks import TASKS, Task

FPS = 10


@dataclass(eq=False)
class Tabletop:
    """`reset` and `step` as in Gymnasium (`gym_env.py` registers it there); observations are keyed like features.

    tasks: names out of `dataengine.sim.tasks.TASKS` that a reset without `options={"task": …}` draws from.
    image_size: side of the pictures [pixels]. cameras: which to render; none is fastest.
    phrasing: every task's usual instruction, or one of its paraphrases, by seed.
    An attempt ends (`terminated`) with `info["is_success"]` or `info["wrong_object"]`, or by its time (`truncated`).
    The reward is the task's progress, 0 to 1.
    """

    tasks: tuple[str, ...] = ("pick_red", "pick_blue")
    image_size: int = 96
    cameras: tuple[str, ...] = CAMERAS
    phrasing: Literal["usual", "varied"] = "usual"

    version = "1"  # part of every episode's id: raised when the same seed no longer gives the same episode
    fps = float(FPS)
    embodiment = "tabletop_arm"

    def __post_init__(self) -> None:
        for name in self.tasks:
            task_named(name)
        if not self.tasks:
            raise ConfigError(f"a world needs at least one task; there are {', '.join(TASKS)}")
        if unknown := set(self.cameras) - set(CAMERAS):
            raise ConfigError(f"there is no camera {', '.join(sorted(unknown))}; this world has {', '.join(CAMERAS)}")
        if not 16 <= self.image_size <= 640:
            raise ConfigError(f"image_size is 16 to 640 pixels, not {self.image_size}")
        self.scene = Scene()
        self.task: Task = task_named(self.tasks[0])
        self.steps = 0
        self._phrase = 0
        self._rng = np.random.default_rng()

    @property
    def features(self) -> dict[str, Feature]:
        """State, cameras and action of a dataset of this world."""
        return spaces(self.cameras, self.image_size)

    @property
    def instruction(self) -> str:
        """What is to be done, in words."""
        return self.task.instruction(self._phrase)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """A new scene; the same seed gives the same scene whatever the task. options: `{"task": name}`.

        Without a seed the scenes go on from the last one given, deterministically.
        """
        if seed is None:
            seed = int(self._rng.integers(EVALUATION))
        else:
            self._rng = np.random.default_rng([seed, 2])
        chosen = (options or {}).get("task") or self.tasks[np.random.default_rng([seed, 1]).integers(len(self.tasks))]
        self.task = task_named(chosen)
        phrases = len(self.task.templates) if self.phrasing == "varied" else 1
        self._phrase = int(np.random.default_rng([seed, 3]).integers(phrases))
        self.scene.place(Layout.sample(seed))
        self.steps = 0
        return self.observe(), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Run 0.1 s towards a target. Raises `ConfigError` for an action of another shape, NaN or Inf."""
        self.advance(action)
        self.steps += 1
        info = self._info()
        terminated = info["is_success"] or info["wrong_object"]
        truncated = not terminated and self.steps >= self.task.max_steps
        return self.observe(), self.task.progress(self.scene), terminated, truncated, info

    def advance(self, action: np.ndarray) -> None:
        """The physics of one step alone: no picture, no verdict, no clock."""
        action = np.asarray(action, np.float64)
        if action.shape != (len(ACTION_NAMES),) or not np.isfinite(action).all():
            raise ConfigError(
                f"an action is {len(ACTION_NAMES)} finite numbers ({', '.join(ACTION_NAMES)}), not {action}"
            )
        self.scene.advance(inverse(reachable(action[:4])), float(np.clip(action[4], 0, 1)), 1 / FPS)

    def observe(self) -> dict[str, np.ndarray]:
        """The current observation."""
        state = np.array([*self.scene.joints, *self.scene.tool, self.scene.gripper], np.float32)
        pictures = {f"observation.images.{c}": render(self.scene, c, self.image_size) for c in self.cameras}
        return {"observation.state": state, **pictures}

    def demonstrate(self, seed: int, task: str, *, noise: float, recovery: float, attempt: int = 0) -> Demonstration:
        """The scripted expert at work; see `demonstrate.py`."""
        return demonstrate(self, seed, task, noise=noise, recovery=recovery, attempt=attempt)

    def _info(self) -> dict[str, Any]:
        return {
            "is_success": self.task.success(self.scene),
            "wrong_object": self.task.wrong(self.scene),
            "task": self.task.name,
            "instruction": self.instruction,
        }


def task_named(name: str) -> Task:
    """The task of a name; `ConfigError` lists what exists."""
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r} in this world; it has {', '.join(TASKS)}")
    return TASKS[name]
