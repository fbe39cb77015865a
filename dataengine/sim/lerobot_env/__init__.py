"""The tabletop for stock LeRobot's training and evaluation:

`lerobot-eval --env.discover_packages_path=dataengine.sim.lerobot_env --env.type=tabletop --env.task=pick_red …`

A package and not a file, since LeRobot looks for plugins inside packages only. A policy that LeRobot trained on a
dataset of this world finds its feature names in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig

from dataengine.sim.arms import ARMS
from dataengine.sim.gym_env import ID
from dataengine.sim.tasks import task_named
from dataengine.sim.world import FPS


@EnvConfig.register_subclass("tabletop")
@dataclass
class TabletopConfig(EnvConfig):
    """task: one of `dataengine.sim.tasks.TASKS`. image_size: side of the pictures [pixels]. arm: "five" or "six"; fps
    and cameras: those of the dataset a policy learned from."""

    task: str | None = "pick_red"
    fps: int = int(FPS)
    image_size: int = 96
    arm: str = "five"
    cameras: tuple[str, ...] = ("front", "wrist")
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        task_named(self.task or "", self.arm)
        body = ARMS[self.arm]
        picture = PolicyFeature(FeatureType.VISUAL, (self.image_size, self.image_size, 3))
        self.features = {
            "action": PolicyFeature(FeatureType.ACTION, (len(body.action_names),)),
            "agent_pos": PolicyFeature(FeatureType.STATE, (len(body.state_names),)),
            **{f"pixels/{camera}": picture for camera in self.cameras},
        }
        self.features_map = {
            "action": "action",
            "agent_pos": "observation.state",
            **{f"pixels/{camera}": f"observation.images.{camera}" for camera in self.cameras},
        }

    @property
    def package_name(self) -> str:
        return "dataengine.sim.gym_env"

    @property
    def gym_id(self) -> str:
        return ID

    @property
    def gym_kwargs(self) -> dict:
        shaping = {"image_size": self.image_size, "arm": self.arm, "fps": self.fps, "cameras": tuple(self.cameras)}
        return {"task": self.task, **shaping}
