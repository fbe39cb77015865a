"""Action chunks of a store: `(N, T, A)` windows that never straddle an episode."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.store import Store

STILL = 1e-9  # a dimension whose bounds are no further apart does not move


class Bounds(NamedTuple):
    """1 % and 99 % quantiles of every action dimension, `(A,)` float64 each, in the actions' own units; the extremes
    where these coincide although the dimension moves, as a flag does that is set once an episode."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, actions: np.ndarray) -> Bounds:
        """Of finite actions `(N, A)`; exact."""
        check_finite(actions)
        low, high = np.quantile(actions.astype(np.float64), [0.01, 0.99], axis=0)
        still = high - low <= STILL
        return cls(np.where(still, actions.min(0), low), np.where(still, actions.max(0), high))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Bounds:
        """From lists `q01` and `q99`. Raises `KeyError`, `TypeError` or `ValueError` for what they cannot be."""
        low, high = np.asarray(data["q01"], np.float64), np.asarray(data["q99"], np.float64)
        if low.shape != high.shape or low.ndim != 1 or not low.size or not (low <= high).all():
            raise ValueError("q01 and q99 are no quantiles")
        return cls(low, high)

    def normalise(self, actions: np.ndarray) -> np.ndarray:
        """To [-1, 1] between the quantiles, clipped outside; a dimension that never moves becomes 0."""
        span = self.high - self.low
        moving = span > STILL
        scaled = 2 * (actions - self.low) / np.where(moving, span, 1.0) - 1
        return np.where(moving, np.clip(scaled, -1, 1), 0.0)

    def restore(self, normalised: np.ndarray) -> np.ndarray:
        return (normalised + 1) / 2 * (self.high - self.low) + self.low


def check_finite(actions: np.ndarray) -> None:
    if not np.isfinite(actions).all():
        raise ConfigError("actions that hold NaN or Inf have no tokens")


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
