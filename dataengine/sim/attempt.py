"""One attempt of a policy in a world, with everything that was seen, decided and said on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dataengine.errors import ConfigError
from dataengine.plugins import Explained, Explaining, Policy
from dataengine.sim.base import World


@dataclass(frozen=True)
class Decision:
    """frame: at which the policy looked. steps: how many of its actions were carried out."""

    frame: int
    steps: int
    said: Explained


@dataclass(frozen=True)
class Attempt:
    """observations: `(T, …)` by feature key, each before the action of its frame. actions: `(T, A)` float32. progress,
    success: `(T,)` after each action. start: hash of the first observation, for those that must begin alike."""

    instruction: str
    observations: Mapping[str, np.ndarray]
    actions: np.ndarray
    progress: np.ndarray
    success: np.ndarray
    wrong_object: bool
    decisions: tuple[Decision, ...]
    start: str


def attempt(policy: Policy, world: World, scene: int, task: str, *, seed: int = 0, noise: float = 0.0) -> Attempt:
    """Let a policy try a task in the scene of a seed. seed, noise: of the policy's own randomness, where it has one.

    Raises `ConfigError` where it shall explore and cannot, or gives no chunk of finite actions.
    """
    observation, info = world.reset(seed=scene, options={"task": task})
    instruction = world.instruction
    if isinstance(policy, Explaining):
        policy.begin(seed, noise)
    elif noise:
        raise ConfigError(f"{type(policy).__name__} cannot explore: it has no begin(seed, noise)")
    else:
        policy.reset()
    seen: list[Mapping[str, np.ndarray]] = []
    done: list[np.ndarray] = []
    outcome: list[tuple[float, bool]] = []
    decisions: list[Decision] = []
    start, over = _digest(observation), False
    while not over:
        said = _decide(policy, observation, instruction)
        frame = len(done)
        for action in said.actions:
            seen.append(observation)
            done.append(action)
            observation, progress, terminated, truncated, info = world.step(action)
            outcome.append((float(progress), bool(info["is_success"])))
            over = terminated or truncated
            if over:
                break
        decisions.append(Decision(frame, len(done) - frame, said))
    return Attempt(
        instruction=instruction,
        observations={key: np.stack([each[key] for each in seen]) for key in seen[0]},
        actions=np.stack(done),
        progress=np.array([progress for progress, _ in outcome], np.float32),
        success=np.array([success for _, success in outcome]),
        wrong_object=bool(info["wrong_object"]),
        decisions=tuple(decisions),
        start=start,
    )


def _decide(policy: Policy, observation: Mapping[str, np.ndarray], instruction: str) -> Explained:
    if isinstance(policy, Explaining):
        said = policy.act_explained(observation, instruction)
    else:
        said = Explained(np.asarray(policy.act(observation, instruction), np.float32))
    if said.actions.ndim != 2 or not len(said.actions) or not np.isfinite(said.actions).all():
        raise ConfigError(f"a policy gives chunks of finite actions (n, A), n at least 1, not {said.actions}")
    return said


def _digest(observation: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(observation):
        digest.update(key.encode() + np.ascontiguousarray(observation[key]).tobytes())
    return digest.hexdigest()[:20]
