"""Rollouts of a policy in an embedded world as episodes: what it saw and did, how likely that was, what came of it.

Beside the world's own columns every frame holds `next.reward`, `next.success`, `next.done`, `sim.progress` and, where
the policy says it, the decision in force: `policy.decided` (made at this very frame), `policy.log_prob`,
`policy.noise`, `policy.path`, `policy.features` – nothing of it under `observation.` or `action`, where trainers would
take it for input. The episode's own values stand in `meta.extra` and the label `rollout`, every decision with its
returns in the label `rollout_decisions`, the frame from which a failed attempt was lost in `failure_onset`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections import deque
from collections.abc import Container, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from collectors.rollout_episode import Attempted, Group, to_episode
from dataengine import plugins
from dataengine.episode import Episode, episode_id
from dataengine.errors import ConfigError
from dataengine.intervals import wilson
from dataengine.outcomes import Reward
from dataengine.plugins import Policy
from dataengine.sim.attempt import attempt
from dataengine.sim.base import Privileged, World
from dataengine.sim.fits import refuse_other_actions
from dataengine.sim.seeds import evaluation_scene, training_scene
from dataengine.store import Store

AHEAD = 2  # groups under way for each worker, so that none waits

# What says how many or where, and not what: the same episodes come out.
_NOT_SHAPING = ("episodes", "first", "workers", "policy")
_OF_WORLD = ("tasks", "image_size", "cameras", "phrasing")


@dataclass(frozen=True)
class RolloutCollector:
    """Rolls a policy out `episodes` times; the same parameters give the same episodes, whatever `workers` is.

    policy: a checkpoint of ours, `NAME:PATH` for another kind (`lerobot:PATH`), or `NAME` of one that needs none.
    episodes: attempts, a multiple of `group`. group: attempts from one initial state, which differ in the policy's
    noise alone and get an advantage against each other. seed: the run, 0 to 16383. first: number of the first group.
    scenes: those for training, or those that no demonstration is ever made in. tasks: what each scene is tried under.
    noise: how much the policy explores, in its own measure. reward: see `dataengine.outcomes.rewards`. gamma: discount
    of returns. image_size: side of the pictures [pixels]. arm, fps: handed on where said, to a world that has a choice.
    """

    policy: str
    episodes: int = 100
    seed: int = 0
    first: int = 0
    group: int = 1
    noise: float = 0.0
    reward: Reward = "success"
    gamma: float = 0.99
    scenes: Literal["training", "evaluation"] = "training"
    world: str = "tabletop"
    tasks: tuple[str, ...] = ("pick_red", "pick_blue")
    image_size: int = 96
    cameras: tuple[str, ...] = ("front", "wrist")
    phrasing: Literal["usual", "varied"] = "usual"
    arm: str | None = None
    fps: float | None = None
    workers: int = 1
    licence: str = "apache-2.0"

    name = "rollout"
    version = "1"

    def __post_init__(self) -> None:
        if self.group < 1 or self.episodes < 1 or self.episodes % self.group:
            raise ConfigError(f"rollout.episodes is a multiple of group={self.group}, not {self.episodes}")
        if not 0 <= self.gamma <= 1:
            raise ConfigError(f"rollout.gamma is 0 to 1, not {self.gamma}")
        if self.noise < 0:
            raise ConfigError(f"rollout.noise is 0 or more, not {self.noise}")
        if not 1 <= self.workers <= 256:
            raise ConfigError(f"rollout.workers is 1 to 256 processes, not {self.workers}")
        if not self.tasks:
            raise ConfigError("rollout.tasks needs at least one task")

    def collect(self, known: Container[str] = ()) -> Iterator[Episode]:
        """The episodes, group by group. known: ids of episodes that are there already; a group of which all are is not
        run again, so a killed run goes on where it stopped."""
        _stage(self._alone, self._recipe)  # what is wrong with the parameters is said here, not in a worker
        groups = range(self.first, self.first + self.episodes // self.group)
        missing = [number for number in groups if any(one not in known for one in self.ids(number))]
        if self.workers == 1:
            for number in missing:
                yield from self.run(number)
            return
        pool = ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"))
        under_way: deque[Future[list[Episode]]] = deque()
        alone = self._alone
        alone.ids(self.first)  # hashes the checkpoint once, for all workers
        try:
            for number in missing:
                under_way.append(pool.submit(alone.run, number))
                if len(under_way) >= AHEAD * self.workers:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def run(self, number: int) -> list[Episode]:
        """The attempts of one group."""
        policy, world = _stage(self._alone, self._recipe)
        scene, task = self.place(number)
        tried = []
        for member in range(self.group):
            seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{scene}/{task}/{member}".encode()).digest()[:7])
            tried.append(Attempted(attempt(policy, world, scene, task, seed=seed, noise=self.noise), member, seed))
        group = Group(self, world, scene, task, self._recipe, tuple(tried))
        return [to_episode(group, one, identity) for one, identity in zip(tried, self.ids(number), strict=True)]

    def place(self, number: int) -> tuple[int, str]:
        """Scene and task of a group."""
        scene_of = training_scene if self.scenes == "training" else evaluation_scene
        return scene_of(self.seed, number // len(self.tasks)), self.tasks[number % len(self.tasks)]

    def ids(self, number: int) -> tuple[str, ...]:
        """The ids of a group's episodes."""
        scene, task = self.place(number)
        return tuple(episode_id(self._recipe, f"{scene}/{task}/{member}") for member in range(self.group))

    def summary(self, store: Store) -> dict[str, Any]:
        """What came of this collector's episodes in a store. mixed: share of the groups with more than one return, of
        which alone RIPT-VLA learns."""
        groups = range(self.first, self.first + self.episodes // self.group)
        told = [[store.get(one).meta.extra["rollout"] for one in self.ids(number)] for number in groups]
        each = [values for group in told for values in group]
        wins = sum(values["success"] for values in each)
        return {
            "episodes": len(each),
            "success": round(wins / len(each), 4),
            "interval_95": [round(bound, 4) for bound in wilson(wins, len(each))],
            "return": round(fmean(values["return"] for values in each), 4),
            "mixed": round(fmean(len({values["return"] for values in group}) > 1 for group in told), 4),
        }

    @cached_property
    def shaping(self) -> dict[str, Any]:
        """The parameters that shape an episode, JSON-able; of the policy its kind and the hash of what it is."""
        kind, path = _kind_and_path(self.policy)
        chosen = {k: v for k, v in plugins.params_of(self).items() if k not in _NOT_SHAPING and v is not None}
        return json.loads(json.dumps({**chosen, "policy": kind, "policy_sha256": fingerprint(path)}))

    @cached_property
    def _recipe(self) -> str:
        version = plugins.load("worlds", self.world).version
        return hashlib.sha256(json.dumps([version, self.version, self.shaping]).encode()).hexdigest()

    @property
    def _alone(self) -> RolloutCollector:
        return replace(self, episodes=self.group, first=0, workers=1)


@lru_cache(maxsize=2)
def _stage(collector: RolloutCollector, recipe: str) -> tuple[Policy, World]:
    """The policy and its world, made once in each process and again when the checkpoint has changed."""
    said = {name: getattr(collector, name) for name in ("arm", "fps") if getattr(collector, name) is not None}
    params = {name: getattr(collector, name) for name in _OF_WORLD}
    world = plugins.make("worlds", collector.world, params | said)
    kind, path = _kind_and_path(collector.policy)
    factory = plugins.load("policies", kind)
    policy = factory() if path is None else factory(path)
    refuse_other_actions(policy, world)
    if isinstance(policy, Privileged):
        policy.enter(world)
    return policy, world


def _kind_and_path(policy: str) -> tuple[str, Path | None]:
    """`PATH` is the reference policy's, `NAME:PATH` another kind's, `NAME` one that needs no checkpoint."""
    known = plugins.parts("policies")
    kind, found, path = policy.partition(":")
    if found and kind in known:
        return kind, _folder(Path(path))
    if policy in known and not Path(policy).exists():
        return policy, None
    return "reference", _folder(Path(policy))


def _folder(path: Path) -> Path:
    """Where the policy itself lies: what `dataengine train` wrote beside it is not part of it."""
    if not path.is_dir():
        kinds = ", ".join(plugins.parts("policies"))
        raise ConfigError(f"there is no checkpoint at {path}; kinds of policies, as in KIND:PATH: {kinds}")
    return path / "policy" if (path / "policy").is_dir() else path


def fingerprint(path: Path | None) -> str | None:
    """Hash of all files of a checkpoint, by name and content; None where there is none."""
    if path is None:
        return None
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
