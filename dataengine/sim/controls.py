"""Policies that know nothing: what a learned one must beat.

Each is a `Policy` for the action space of one of the tabletop's arms (`spaces.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.plugins import Policy
from dataengine.sim.arms import ARMS


@dataclass
class RepeatLast:
    """Repeats the last action; there is none at first, so it holds the tool where it finds it."""

    arm: str = "five"
    _held: np.ndarray | None = field(default=None, init=False, repr=False)

    def reset(self) -> None:
        self._held = None

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        if self._held is None:
            names = ARMS[self.arm].state_names  # the action's names stand among them
            measured = [names.index(name) for name in ARMS[self.arm].action_names]
            self._held = observation["observation.state"][measured].astype(np.float32)
        return self._held[None]


@dataclass
class MeanAction:
    """Always the mean action of a data set. mean: `(A,)`."""

    mean: np.ndarray

    @classmethod
    def of(cls, episodes: Iterable[Episode]) -> MeanAction:
        """The mean over all frames. Raises `ConfigError` where there are none."""
        total, frames = np.zeros(()), 0
        for episode in episodes:
            total, frames = total + episode.frames["action"].sum(0, dtype=np.float64), frames + episode.length
        if frames == 0:
            raise ConfigError("the mean action of no episodes is not known")
        return cls((total / frames).astype(np.float32))

    def reset(self) -> None:
        pass

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        return np.asarray(self.mean, np.float32)[None]


@dataclass
class RandomTargets:
    """Goes to places drawn evenly from the action space, a new one every `hold` steps; an attempt's are fixed by how
    it begins."""

    hold: int = 8
    arm: str = "five"
    _rng: np.random.Generator | None = field(default=None, init=False, repr=False)

    def reset(self) -> None:
        self._rng = None

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        if self._rng is None:
            self._rng = np.random.default_rng(np.frombuffer(observation["observation.state"].tobytes(), np.uint32))
        body = ARMS[self.arm]
        return np.tile(self._rng.uniform(body.action_low, body.action_high).astype(np.float32), (self.hold, 1))


@dataclass
class Blind:
    """Another policy that is not told what to do: it reads `told` instead of the instruction."""

    policy: Policy
    told: str = ""

    def reset(self) -> None:
        self.policy.reset()

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        return self.policy.act(observation, self.told)
