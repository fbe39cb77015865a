"""Demonstrations of the scripted expert in an embedded world, as episodes.

Scenes are paired: each is done once under every instruction, so that only the instruction tells what to do.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from itertools import count
from typing import Any, Literal

from dataengine import plugins
from dataengine.episode import ArrayClip, Episode, Meta, Step, episode_id
from dataengine.errors import ConfigError
from dataengine.sim.base import Demonstration, ExpertWorld
from dataengine.sim.seeds import training_scene

TRIES = 5  # attempts at one scene under one instruction, each with its own noise and style
PATIENCE = 20  # scenes in a row that may be given up before something must be wrong
AHEAD = 3  # demonstrations under way for each worker, so that none waits

# What says how many or where, and not what: the same episodes come out.
_NOT_SHAPING = ("episodes", "first", "workers")
_OF_WORLD = ("tasks", "image_size", "cameras", "phrasing")
# Handed on and told only where it is said, so that other worlds need not know it and an episode keeps its id.
_WHERE_SAID: dict[str, Any] = {"arm": "five", "fps": 10.0, "depth": (), "truth": ()}


@dataclass
class Tally:
    """How often each task was tried and done while collecting."""

    attempts: dict[str, int] = field(default_factory=dict)
    successes: dict[str, int] = field(default_factory=dict)

    def add(self, task: str, attempts: int, success: bool) -> None:
        self.attempts[task] = self.attempts.get(task, 0) + attempts
        self.successes[task] = self.successes.get(task, 0) + success

    def to_json(self) -> dict[str, Any]:
        attempts, successes = sum(self.attempts.values()), sum(self.successes.values())
        tasks = {
            task: {"attempts": tried, "successes": self.successes[task], "rate": round(self.successes[task] / tried, 4)}
            for task, tried in self.attempts.items()
        }
        rate = round(successes / attempts, 4) if attempts else 0.0
        return {"attempts": attempts, "successes": successes, "rate": rate, "tasks": tasks}


@dataclass(frozen=True)
class ExpertCollector:
    """Collects `episodes` demonstrations; the same parameters give the same episodes bit for bit.

    episodes: how many. seed: the run, 0 to 16383; runs share no scene. first: number of the first scene, so that a
    run can be shared out among machines. world: name of the world. tasks: the instructions each scene is done under.
    image_size: side of the pictures [pixels]. cameras: which. noise: standard deviation [m] of what is added to the
    carried-out tool target, while the clean action is stored. recovery: share of episodes that begin where an empty
    grasp has ended. phrasing: the usual instructions, or paraphrases by scene. failed: keep what failed, marked
    `success=False`, instead of trying again. arm: "five" or "six" joints. fps: actions a second. depth: cameras that
    give distances too. truth: also keep "poses" and "contacts" of things. workers: processes; their number changes
    nothing in the episodes.
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
    arm: str = "five"
    fps: float = 10.0
    depth: tuple[str, ...] = ()
    truth: tuple[Literal["poses", "contacts"], ...] = ()
    workers: int = 1

    name = "expert"
    version = "1"

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"expert.episodes is 1 or more, not {self.episodes}")
        if not 0 <= self.noise <= 0.02:
            raise ConfigError(f"expert.noise is a distance of 0 to 0.02 m, not {self.noise}")
        if not 0 <= self.recovery <= 1:
            raise ConfigError(f"expert.recovery is a share of 0 to 1, not {self.recovery}")
        if not 1 <= self.workers <= 256:
            raise ConfigError(f"expert.workers is 1 to 256 processes, not {self.workers}")

    def collect(self, tally: Tally | None = None) -> Iterator[Episode]:
        """The episodes, one after the other, scene by scene. tally: counts what is tried and done."""
        world = self.world_made()  # what is wrong with the parameters is said here, not in a worker
        made = missed = 0
        for task, attempts, episode in self._outcomes(world):
            if tally is not None:
                tally.add(task, attempts, episode is not None and episode.meta.success is True)
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

    def demonstrate(self, world: ExpertWorld, index: int, task: str) -> tuple[int, Episode | None]:
        """Scene `index` under a task, tried again with other noise where it failed: how many attempts it took, and the
        episode, None where every one failed."""
        scene = training_scene(self.seed, index)
        tries = 1 if self.failed else TRIES
        for attempt in range(tries):
            shown = world.demonstrate(scene, task, noise=self.noise, recovery=self.recovery, attempt=attempt)
            if shown.success or self.failed:
                return attempt + 1, self._finish(world, scene, shown)
        return tries, None

    def _outcomes(self, world: ExpertWorld) -> Iterator[tuple[str, int, Episode | None]]:
        """Task, attempts and episode of every scene under every task, in order, without end."""
        jobs = ((index, task) for index in count(self.first) for task in self.tasks)
        if self.workers == 1:
            for index, task in jobs:
                yield task, *self.demonstrate(world, index, task)
            return
        pool = ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"))
        under_way: deque[tuple[str, Future[tuple[int, Episode | None]]]] = deque()
        try:
            for index, task in jobs:
                under_way.append((task, pool.submit(_work, self, index, task)))
                if len(under_way) >= min(AHEAD * self.workers, self.episodes):
                    done, future = under_way.popleft()
                    yield done, *future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def world_made(self) -> ExpertWorld:
        """A world for these parameters."""
        names = (*_OF_WORLD, *(name for name, usual in _WHERE_SAID.items() if getattr(self, name) != usual))
        world = plugins.make("worlds", self.world, {name: getattr(self, name) for name in names})
        if not isinstance(world, ExpertWorld):
            raise ConfigError(f"the world {self.world!r} has no expert: nothing in it can demonstrate")
        return world

    def _finish(self, world: ExpertWorld, scene: int, shown: Demonstration) -> Episode:
        said = {k: v for k, v in plugins.params_of(self).items() if k not in _WHERE_SAID or v != _WHERE_SAID[k]}
        shaping = {k: v for k, v in said.items() if k not in _NOT_SHAPING}
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


def _work(collector: ExpertCollector, index: int, task: str) -> tuple[int, Episode | None]:
    """A worker process's part."""
    return collector.demonstrate(_world_of(collector), index, task)


@lru_cache(maxsize=1)
def _world_of(collector: ExpertCollector) -> ExpertWorld:
    return collector.world_made()
