"""The tabletop for those who speak Gymnasium: importing this file registers `dataengine/tabletop`, and every task on
its own as `dataengine/<task>`.

`gymnasium.make("dataengine.sim.gym_env:dataengine/tabletop", task="pick_red", arm="five", fps=10)`. Observations are
nested as LeRobot expects them: `{"agent_pos": (S,) float32, "pixels": {camera: (H, W, 3) uint8}}`; the rest is
`world.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from dataengine.sim.tasks import TASKS
from dataengine.sim.world import FPS, Tabletop

ID = "dataengine/tabletop"


class TabletopEnv(gym.Env):
    """The tabletop under one task; a reset without a seed goes on to another scene."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012 – as in gym.Env

    def __init__(
        self,
        task: str = "pick_red",
        image_size: int = 96,
        cameras: tuple[str, ...] = ("front", "wrist"),
        arm: str = "five",
        fps: float = FPS,
        render_mode: str = "rgb_array",
    ) -> None:
        self.render_mode = render_mode
        self.world = Tabletop(tasks=(task,), image_size=image_size, cameras=tuple(cameras), arm=arm, fps=fps)
        self.metadata = {**self.metadata, "render_fps": self.world.fps}
        self.task = task
        self._max_episode_steps = self.world.max_steps
        picture = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        body = self.world.body
        self.action_space = gym.spaces.Box(body.action_low, body.action_high, dtype=np.float32)
        self.observation_space = gym.spaces.Dict(
            {
                "agent_pos": gym.spaces.Box(-np.inf, np.inf, (len(body.state_names),), np.float32),
                "pixels": gym.spaces.Dict(dict.fromkeys(cameras, picture)),
            }
        )

    @property
    def task_description(self) -> str:
        """The instruction in words."""
        return self.world.instruction

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        observation, info = self.world.reset(seed=seed, options=options)
        return _nested(observation), info

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.world.step(action)
        return _nested(observation), reward, terminated, truncated, info

    def render(self) -> np.ndarray:  # type: ignore[override]
        """The front camera, `(image_size, image_size, 3)` uint8."""
        return self.world.render("front", self.world.image_size)


def _nested(observation: Mapping[str, np.ndarray]) -> dict[str, Any]:
    prefix = "observation.images."
    return {
        "agent_pos": observation["observation.state"],
        "pixels": {key.removeprefix(prefix): value for key, value in observation.items() if key.startswith(prefix)},
    }


if ID not in gym.registry:
    gym.register(ID, entry_point="dataengine.sim.gym_env:TabletopEnv")
    for name, task in TASKS.items():
        gym.register(
            f"dataengine/{name}",
            entry_point="dataengine.sim.gym_env:TabletopEnv",
            kwargs={"task": name, "arm": task.arms[0]},
        )
