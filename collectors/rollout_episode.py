"""An attempt of a policy as an episode: columns, labels and provenance; `rollout.py` says what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta, Step
from dataengine.errors import ConfigError
from dataengine.outcomes import chunk_returns, failure_onset, leave_one_out, returns_to_go, rewards
from dataengine.sim.attempt import Attempt, Decision
from dataengine.sim.base import World

if TYPE_CHECKING:
    from collectors.rollout import RolloutCollector

# What of a decision has the same shape every time, and so becomes a column.
HELD = ("noise", "path", "features")


@dataclass(frozen=True)
class Attempted:
    """An attempt and its place in its group. seed: of the policy's randomness."""

    done: Attempt
    member: int
    seed: int


@dataclass(frozen=True)
class Group:
    """Attempts from one initial state. recipe: hash of everything that shapes them."""

    collector: RolloutCollector
    world: World
    scene: int
    task: str
    recipe: str
    tried: tuple[Attempted, ...]

    def __post_init__(self) -> None:
        if len({one.done.start for one in self.tried}) > 1:
            raise ConfigError(f"the world gave scene {self.scene} twice and differently: there is no group in it")

    @property
    def name(self) -> str:
        """The same for all attempts of the group, and for no others."""
        return f"{self.recipe[:8]}/{self.scene}/{self.task}"

    def rewards(self, one: Attempted) -> np.ndarray:
        return rewards(self.collector.reward, one.done.progress, one.done.success)

    @cached_property
    def advantages(self) -> list[float | None]:
        """Of each attempt's undiscounted return over the others'; None where it has no others."""
        if len(self.tried) == 1:
            return [None]
        return leave_one_out([float(self.rewards(one).sum(dtype=np.float64)) for one in self.tried]).tolist()


def to_episode(group: Group, one: Attempted, identity: str) -> Episode:
    """The episode of one attempt."""
    collector, world, done = group.collector, group.world, one.done
    reward = group.rewards(one)
    features, columns = _columns(done, reward)
    held = _held(done.decisions)
    pictures = {key: column for key, column in done.observations.items() if world.features[key].is_camera}
    values = _values(group, one, reward)
    source = {"name": "collect.rollout", "version": collector.version, "gamma": collector.gamma}
    return Episode(
        id=identity,
        fps=world.fps,
        features={**world.features, **features, **{key: feature for key, (feature, _) in held.items()}},
        frames={
            **{key: column for key, column in done.observations.items() if key not in pictures},
            "action": done.actions,
            **columns,
            **{key: column for key, (_, column) in held.items()},
        },
        clips={key: ArrayClip(column, world.fps) for key, column in pictures.items()},
        labels={
            "rollout": Label("episode", _row(values), source),
            "rollout_decisions": Label("event", _decisions(done, reward, collector.gamma), source),
            "failure_onset": Label("event", _onset(values), source),
        },
        meta=Meta(
            tasks=(done.instruction,),
            success=bool(done.success[-1]),
            operator=f"policy {collector.shaping['policy']}",
            embodiment=world.embodiment,
            licence=collector.licence,
            source={
                "format": "simulation",
                "world": collector.world,
                "version": world.version,
                "seed": group.scene,
                "task": group.task,
                "sha256": group.recipe,
            },
            lineage=(Step("collect.rollout", collector.version, collector.shaping),),
            extra={"task": group.task, "wrong_object": done.wrong_object, "rollout": values},
        ),
    ).check()


def _values(group: Group, one: Attempted, reward: np.ndarray) -> dict[str, Any]:
    """What is said of the episode as a whole."""
    done = one.done
    onset = failure_onset(done.progress, bool(done.success[-1]), done.wrong_object)
    return {
        "group": group.name,
        "member": one.member,
        "seed": one.seed,
        "start": done.start,
        "success": bool(done.success[-1]),
        "steps": len(done.actions),
        "return": float(reward.sum(dtype=np.float64)),
        "discounted_return": float(returns_to_go(reward, group.collector.gamma)[0]),
        "advantage": group.advantages[one.member],
        "onset": onset.frame if onset else None,
        "onset_cause": onset.cause if onset else None,
    }


def _columns(done: Attempt, reward: np.ndarray) -> tuple[dict[str, Feature], dict[str, np.ndarray]]:
    """What came of every step."""
    ends = np.zeros(len(reward), bool)
    ends[-1] = True
    features = {
        "next.reward": Feature("float32", (1,), ("reward",), "reward", "1"),
        "next.success": Feature("bool", (1,), ("success",), "done"),
        "next.done": Feature("bool", (1,), ("done",), "done"),
        "sim.progress": Feature("float32", (1,), ("progress",), "other", "1"),
    }
    return features, {
        "next.reward": reward,
        "next.success": done.success,
        "next.done": ends,
        "sim.progress": done.progress,
    }


def _held(decisions: Sequence[Decision]) -> dict[str, tuple[Feature, np.ndarray]]:
    """Columns of the decision in force at every frame, as far as the policy said it."""
    steps = [decision.steps for decision in decisions]
    decided = np.zeros(sum(steps), bool)
    decided[[decision.frame for decision in decisions]] = True
    found: dict[str, tuple[Feature, np.ndarray]] = {}
    found |= {"policy.decided": (Feature("bool", (1,), ("decided",), "other"), decided)}
    if all(decision.said.log_prob is not None for decision in decisions):
        values = np.array([decision.said.log_prob for decision in decisions], np.float32)
        feature = Feature("float32", (1,), ("log_prob",), "other", "nat")
        found["policy.log_prob"] = (feature, np.repeat(values, steps))
    for name in HELD:
        arrays = [getattr(decision.said, name) for decision in decisions]
        if all(array is not None for array in arrays):
            column = np.repeat(np.stack(arrays).astype(np.float32), steps, axis=0)
            feature = Feature("float32", column.shape[1:], None, "other", "1")
            found[f"policy.{name}"] = (feature, column[:, 0] if feature.shape == (1,) else column)
    return found


def _decisions(done: Attempt, reward: np.ndarray, gamma: float) -> pa.Table:
    """One row for each decision. parts and tokens are empty where the policy does not say them."""
    starts = [decision.frame for decision in done.decisions]
    said = [decision.said for decision in done.decisions]
    return pa.table(
        {
            "frame": pa.array(starts, pa.int64()),
            "steps": pa.array([decision.steps for decision in done.decisions], pa.int64()),
            "log_prob": pa.array([each.log_prob for each in said], pa.float64()),
            "parts": pa.array([[] if e.parts is None else e.parts.tolist() for e in said], pa.list_(pa.float64())),
            "tokens": pa.array([list(each.tokens or ()) for each in said], pa.list_(pa.int64())),
            "chunk_return": pa.array(chunk_returns(reward, starts, gamma), pa.float64()),
            "return_to_go": pa.array(returns_to_go(reward, gamma)[starts], pa.float64()),
        }
    )


_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
_NULLABLE = {"advantage": pa.float64(), "onset": pa.int64(), "onset_cause": pa.string()}


def _row(values: Mapping[str, Any]) -> pa.Table:
    types = {key: _NULLABLE.get(key) or _TYPES[type(value)] for key, value in values.items()}
    return pa.table({key: pa.array([value], types[key]) for key, value in values.items()})


def _onset(values: Mapping[str, Any]) -> pa.Table:
    """One event in a failed attempt, none in a success."""
    failed = values["onset"] is not None
    return pa.table(
        {
            "frame": pa.array([values["onset"]] if failed else [], pa.int64()),
            "cause": pa.array([values["onset_cause"]] if failed else [], pa.string()),
        }
    )
