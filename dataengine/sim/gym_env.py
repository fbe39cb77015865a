"""The tabletop for those who speak Gymnasium: importing this file registers `dataengine/tabletop`.

`gymnasium.make("dataengine.sim.gym_env:dataengine/tabletop", task="pick_red")`. Observations are nested as LeRobot
expects them: `{"agent_pos": (10,) float32, "pixels": {camera: (H, W, 3) uint8}}`; the rest is `world.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from dataengine.sim.cameras import CAMERAS, render
from dataengine.sim.spaces import ACTION_HIGH, ACTION_LOW, STATE_NAMES
from dataengine.sim.world import FPS, Tabletop

ID = "dataengine/tabletop"


class TabletopEnv(gym.Env):
    """The tabletop under one task; a reset without a seed goes on to another scene."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012 – as in gym.Env

    def __init__(
        self,
        task: str = "pick_red",
        image_size: int = 96,
        cameras: tuple[str, ...] = CAMERAS,
        render_mode: str = "rgb_array",
    ) -> None:
        self.render_mode = render_mode
        self.world = Tabletop(tasks=(task,), image_size=image_size, cameras=tuple(cameras))
        self.task = task
        self._max_episode_steps = self.world.task.max_steps
        picture = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.action_space = gym.spaces.Box(ACTION_LOW, ACTION_HIGH, dtype=np.float32)
        self.observation_space = gym.spaces.Dict(
            {
                "agent_pos": gym.spaces.Box(-np.inf, np.inf, (len(STATE_NAMES),), np.float32),
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
        return render(self.world.scene, "front", self.world.image_size)


def _nested(observation: Mapping[str, np.ndarray]) -> dict[str, Any]:
    prefix = "observation.images."
    return {
        "agent_pos": observation["observation.state"],
        "pixels": {key.removeprefix(prefix): value for key, value in observation.items() if key.startswith(prefix)},
    }


if ID not in gym.registry:
    gym.register(ID, entry_point="dataengine.sim.gym_env:TabletopEnv")
