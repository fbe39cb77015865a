"""Demonstrations of the scripted expert in an embedded world, as episodes.

Scenes are paired: each is done once under every instruction, so that only the instruction tells what to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from typing import Literal

from dataengine import plugins
from dataengine.episode import ArrayClip, Episode, Meta, Step, episode_id
from dataengine.errors import ConfigError
from dataengine.sim.base import Demonstration, ExpertWorld
from dataengine.sim.seeds import training_scene

TRIES = 5  # attempts at one scene under one instruction, each with its own noise and style
PATIENCE = 20  # scenes in a row that may be given up before something must be wrong


@dataclass(frozen=True)
class ExpertCollector:
    """Collects `episodes` demonstrations; the same parameters give the same episodes bit for bit.

    episodes: how many. seed: the run, 0 to 16383; runs share no scene. first: number of the first scene, so that a
    run can be shared out among workers. world: name of the world. tasks: the instructions each scene is done under.
    image_size: side of the pictures [pixels]. cameras: which. noise: standard deviation [m] of what is added to the
    carried-out tool target, while the clean action is stored. recovery: share of episodes that begin where an empty
    grasp has ended. phrasing: the usual instructions, or paraphrases by scene. failed: keep what failed, marked
    `success=False`, instead of trying again.
    """

    episodes: int = 400
    seed: int = 0
    first: int = 0
    world: str = "tabletop"
    tasks: tuple[str, ...] = ("pick_red", "pick_blue")
    image_size: int = 96
    cameras: tuple[str, ...] = ("front", "wrist")
    noise: float = 0.004
    recovery: float = 0.15
    phrasing: Literal["usual", "varied"] = "usual"
    failed: bool = False
    licence: str = "apache-2.0"

    name = "expert"
    version = "1"

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"expert.episodes is 1 or more, not {self.episodes}")
        if not 0 <= self.noise <= 0.02:
            raise ConfigError(f"expert.noise is a distance of 0 to 0.02 m, not {self.noise}")
        if not 0 <= self.recovery <= 1:
            raise ConfigError(f"expert.recovery is a share of 0 to 1, not {self.recovery}")

    def collect(self) -> Iterator[Episode]:
        """The episodes, one after the other, scene by scene."""
        fields = ("tasks", "image_size", "cameras", "phrasing")
        world = plugins.make("worlds", self.world, {field: getattr(self, field) for field in fields})
        if not isinstance(world, ExpertWorld):
            raise ConfigError(f"the world {self.world!r} has no expert: nothing in it can demonstrate")
        made = missed = 0
        for index in count(self.first):
            for task in self.tasks:
                episode = self._episode(world, training_scene(self.seed, index), task)
                if episode is None:
                    missed += 1
                    if missed >= PATIENCE:
                        raise ConfigError(
                            f"the expert failed in {missed} scenes in a row ({task!r}, noise {self.noise} m): "
                            "less noise would help, or failed=True to keep failures"
                        )
                    continue
                yield episode
                made, missed = made + 1, 0
                if made == self.episodes:
                    return

    def _episode(self, world: ExpertWorld, scene: int, task: str) -> Episode | None:
        """One demonstration, tried again with other noise where it failed; None where every try did."""
        for attempt in range(1 if self.failed else TRIES):
            shown = world.demonstrate(scene, task, noise=self.noise, recovery=self.recovery, attempt=attempt)
            if shown.success or self.failed:
                return self._finish(world, scene, shown)
        return None

    def _finish(self, world: ExpertWorld, scene: int, shown: Demonstration) -> Episode:
        shaping = {k: v for k, v in plugins.params_of(self).items() if k not in ("episodes", "first")}
        params = json.loads(json.dumps(shaping))
        recipe = hashlib.sha256(json.dumps([world.version, self.version, params]).encode()).hexdigest()
        return Episode(
            id=episode_id(recipe, f"{scene}/{shown.extra['task']}/{shown.extra['attempt']}"),
            fps=world.fps,
            features=shown.features,
            frames=shown.columns,
            clips={key: ArrayClip(pictures, world.fps) for key, pictures in shown.pictures.items()},
            meta=Meta(
                tasks=(shown.instruction,),
                success=shown.success,
                operator="scripted expert",
                embodiment=world.embodiment,
                licence=self.licence,
                source={
                    "format": "simulation",
                    "world": self.world,
                    "version": world.version,
                    "seed": scene,
                    "task": shown.extra["task"],
                    "sha256": recipe,
                    "mujoco": version("mujoco"),
                },
                lineage=(Step("collect.expert", self.version, params),),
                extra=shown.extra,
            ),
        ).check()
