"""How well a policy does: attempts in scenes that no demonstration has seen, each under every instruction."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dataengine import plugins
from dataengine.errors import ConfigError
from dataengine.intervals import wilson
from dataengine.plugins import Policy
from dataengine.sim.base import Privileged, World
from dataengine.sim.filmstrip import Film, spread
from dataengine.sim.fits import refuse_other_actions
from dataengine.sim.seeds import evaluation_scene

FILM_SIZE = 112  # [pixels]
FILM_FRAMES = 8


@dataclass(frozen=True)
class Attempt:
    """One attempt. seed: of the scene. steps: actions carried out. progress: where it ended, 0 to 1."""

    seed: int
    task: str
    instruction: str
    success: bool
    wrong_object: bool
    steps: int
    progress: float


@dataclass(frozen=True)
class Rate:
    """How many of `n` attempts succeeded, with Wilson's 95 % interval, and how many took the wrong object."""

    n: int
    successes: int
    wrong_objects: int

    @classmethod
    def of(cls, attempts: Sequence[Attempt]) -> Rate:
        return cls(len(attempts), sum(a.success for a in attempts), sum(a.wrong_object for a in attempts))

    @property
    def success(self) -> float:
        return self.successes / self.n if self.n else 0.0

    @property
    def wrong_object(self) -> float:
        return self.wrong_objects / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.successes, self.n)

    def to_json(self) -> dict[str, Any]:
        low, high = self.interval
        return {
            "n": self.n,
            "success": round(self.success, 4),
            "interval_95": [round(low, 4), round(high, 4)],
            "wrong_object": round(self.wrong_object, 4),
        }


@dataclass(frozen=True)
class Evaluation:
    """What came out. films: some attempts, failed and successful, as pictures; not part of `to_json`."""

    world: str
    version: str
    seed: int
    attempts: tuple[Attempt, ...]
    films: tuple[Film, ...] = ()

    @property
    def rate(self) -> Rate:
        return Rate.of(self.attempts)

    @property
    def n(self) -> int:
        return self.rate.n

    @property
    def success(self) -> float:
        return self.rate.success

    @property
    def interval(self) -> tuple[float, float]:
        return self.rate.interval

    @property
    def wrong_object(self) -> float:
        return self.rate.wrong_object

    @property
    def by_instruction(self) -> dict[str, Rate]:
        texts = dict.fromkeys(attempt.instruction for attempt in self.attempts)
        return {text: Rate.of([a for a in self.attempts if a.instruction == text]) for text in texts}

    def to_json(self) -> dict[str, Any]:
        return {
            "world": self.world,
            "version": self.version,
            "seed": self.seed,
            **self.rate.to_json(),
            "by_instruction": {text: rate.to_json() for text, rate in self.by_instruction.items()},
            "attempts": [asdict(attempt) for attempt in self.attempts],
        }

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.success:.1%} of {self.n} attempts [95 %: {low:.1%} to {high:.1%}], "
            f"wrong object {self.wrong_object:.1%}"
        )


def evaluate(
    policy: Policy | Callable[[], Policy],
    *,
    world: str = "tabletop",
    tasks: Sequence[str] = ("pick_red", "pick_blue"),
    episodes: int = 100,
    seed: int = 0,
    image_size: int = 64,
    params: Mapping[str, Any] | None = None,
    workers: int = 1,
    films: int = 6,
) -> Evaluation:
    """Let a policy attempt `episodes` times: `episodes / len(tasks)` unseen scenes, each under every task.

    policy: a policy, or what makes one (with several workers: picklable, and called once in each). seed: 0 to 16383;
    the same seed gives the same scenes, and no demonstration is ever made in them. image_size: side of the pictures
    [pixels]. params: further parameters of the world. films: how many attempts to show, half of them failed if so many
    failed. Raises `ConfigError` for an unknown world or task, and where a policy gives no usable actions.
    """
    if episodes < 1 or not tasks:
        raise ConfigError(f"an evaluation needs at least one episode and one task, not {episodes} and {list(tasks)}")
    recipe = {**(params or {}), "tasks": tuple(tasks)}
    place = plugins.make("worlds", world, {**recipe, "image_size": image_size})
    jobs = [(evaluation_scene(seed, k // len(tasks)), tasks[k % len(tasks)]) for k in range(episodes)]
    workers = max(1, min(workers, episodes))
    if workers == 1:
        made = _run(policy, place, jobs)
    else:
        shares = [jobs[k::workers] for k in range(workers)]
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            done = [pool.submit(_work, policy, world, {**recipe, "image_size": image_size}, share) for share in shares]
            parts = [future.result() for future in done]
        made = [parts[k % workers][k // workers] for k in range(episodes)]
    attempts = tuple(attempt for attempt, _ in made)
    shown = _choose(attempts, films)
    # Films show every camera of the world, whichever the policy looks through.
    stage = {key: value for key, value in recipe.items() if key != "cameras"}
    theatre = plugins.make("worlds", world, {**stage, "image_size": FILM_SIZE}) if shown else place
    return Evaluation(
        world=world,
        version=place.version,
        seed=seed,
        attempts=attempts,
        films=tuple(_film(theatre, attempts[k], made[k][1]) for k in shown),
    )


def _work(
    policy: Policy | Callable[[], Policy], world: str, params: Mapping[str, Any], jobs: Sequence[tuple[int, str]]
) -> list[tuple[Attempt, np.ndarray]]:
    """A worker process's share."""
    return _run(policy, plugins.make("worlds", world, params), jobs)


def _run(
    policy: Policy | Callable[[], Policy], world: World, jobs: Sequence[tuple[int, str]]
) -> list[tuple[Attempt, np.ndarray]]:
    """Attempts and the actions `(T, A)` that were carried out in each."""
    # A class has the methods of its instances, so it would pass for a policy.
    actor = policy if isinstance(policy, Policy) and not isinstance(policy, type) else policy()
    if not isinstance(actor, Policy):
        raise ConfigError(f"a policy has reset() and act(observation, instruction); {type(actor).__name__} has not")
    refuse_other_actions(actor, world)
    if isinstance(actor, Privileged):
        actor.enter(world)
    return [_attempt(actor, world, seed, task) for seed, task in jobs]


def _attempt(policy: Policy, world: World, seed: int, task: str) -> tuple[Attempt, np.ndarray]:
    observation, info = world.reset(seed=seed, options={"task": task})
    instruction = world.instruction
    policy.reset()
    actions: list[np.ndarray] = []
    over, progress = False, 0.0
    while not over:
        chunk = np.asarray(policy.act(observation, instruction), np.float32)
        if chunk.ndim != 2 or len(chunk) == 0:
            raise ConfigError(f"a policy gives chunks of actions (n, A), n at least 1, not an array of {chunk.shape}")
        for action in chunk:
            observation, progress, terminated, truncated, info = world.step(action)
            actions.append(action)
            over = terminated or truncated
            if over:
                break
    attempt = Attempt(
        seed=seed,
        task=task,
        instruction=instruction,
        success=bool(info["is_success"]),
        wrong_object=bool(info["wrong_object"]),
        steps=len(actions),
        progress=round(float(progress), 4),
    )
    return attempt, np.stack(actions)


def _choose(attempts: Sequence[Attempt], films: int) -> list[int]:
    """Numbers of the attempts to show: failures and successes in halves, the rest filled up from either."""
    failed = [k for k, a in enumerate(attempts) if not a.success]
    well = [k for k, a in enumerate(attempts) if a.success]
    bad = failed[: max(films // 2, films - len(well))]
    return sorted(bad + well[: films - len(bad)])


def _film(world: World, attempt: Attempt, actions: np.ndarray) -> Film:
    """The attempt once more, action by action, in pictures large enough to look at."""
    observation, _ = world.reset(seed=attempt.seed, options={"task": attempt.task})
    keep = set(spread(len(actions) + 1, FILM_FRAMES).tolist())
    frames = [_side_by_side(observation)]
    for step, action in enumerate(actions, start=1):
        observation, *_ = world.step(action)
        if step in keep:
            frames.append(_side_by_side(observation))
    verdict = "success" if attempt.success else "wrong object" if attempt.wrong_object else "failed"
    caption = f"{attempt.instruction}: {verdict} after {attempt.steps} steps (scene {attempt.seed})"
    return Film(caption, attempt.success, np.stack(frames))


def _side_by_side(observation: Mapping[str, np.ndarray]) -> np.ndarray:
    """All cameras below each other, `(cameras · H, W, 3)`."""
    return np.concatenate([picture for key, picture in observation.items() if key.startswith("observation.images.")])
