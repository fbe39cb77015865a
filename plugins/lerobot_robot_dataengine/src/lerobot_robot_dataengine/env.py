"""The embedded world as an environment of `lerobot-train` and `lerobot-eval`: `--env.type=dataengine_tabletop`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import PolicyFeature
from lerobot.envs.configs import EnvConfig


@EnvConfig.register_subclass("dataengine_tabletop")
@dataclass
class DataengineTabletopEnv(EnvConfig):
    """task: what is to be done. image_size: side of the pictures [pixels]. The rest is the world's own, asked of
    `dataengine.sim.lerobot_env` once somebody chooses this."""

    task: str | None = "pick_red"
    fps: int = 10
    image_size: int = 96
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from dataengine.sim.lerobot_env import TabletopConfig

        self._like = TabletopConfig(task=self.task, image_size=self.image_size)
        self.fps, self.features, self.features_map = self._like.fps, self._like.features, self._like.features_map

    @property
    def package_name(self) -> str:
        return self._like.package_name

    @property
    def gym_id(self) -> str:
        return self._like.gym_id

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        return self._like.gym_kwargs
