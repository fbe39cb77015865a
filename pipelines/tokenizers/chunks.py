"""Action chunks of a store: `(N, T, A)` windows that never straddle an episode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.store import Store


class Bounds(NamedTuple):
    """1 % and 99 % quantiles of every action dimension, `(A,)` float64 each, in the actions' own units."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, actions: np.ndarray) -> Bounds:
        """Of actions `(N, A)`; exact."""
        low, high = np.quantile(actions.astype(np.float64), [0.01, 0.99], axis=0)
        return cls(low, high)

    def normalise(self, actions: np.ndarray) -> np.ndarray:
        """To [-1, 1] between the quantiles, clipped outside; a dimension that never moves becomes 0."""
        span = self.high - self.low
        moving = span > 1e-9
        scaled = 2 * (actions - self.low) / np.where(moving, span, 1.0) - 1
        return np.where(moving, np.clip(scaled, -1, 1), 0.0)

    def restore(self, normalised: np.ndarray) -> np.ndarray:
        return (normalised + 1) / 2 * (self.high - self.low) + self.low


def windows(actions: np.ndarray, length: int, stride: int) -> np.ndarray:
    """Chunks `(N, length, A)` of one episode's actions `(T, A)`; the last ones repeat the last action."""
    starts = np.arange(0, len(actions), stride)
    rows = np.minimum(starts[:, None] + np.arange(length), len(actions) - 1)
    return actions[rows]


def held_out(episode_id: str, share: float = 0.1) -> bool:
    """Whether an episode is kept for measuring: decided by its id alone, so it never changes."""
    return int(hashlib.sha256(episode_id.encode()).hexdigest()[:8], 16) / 2**32 < share


def actions_of(store: Store, key: str) -> Iterator[tuple[Episode, np.ndarray]]:
    """Every episode with its actions `(T, A)` float64; no video is opened."""
    if key not in store.features:
        raise ConfigError(f"the store has no {key!r} to tokenize; it has {', '.join(store.features)}")
    if store.features[key].is_camera or store.features[key].dtype == "string":
        raise ConfigError(f"{key!r} is not numeric, so there is nothing to tokenize")
    for episode in store.episodes():
        yield episode, episode.frames[key].reshape(episode.length, -1).astype(np.float64)
