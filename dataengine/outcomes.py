"""What came of an attempt, in numbers to learn from: rewards, returns, advantages, the onset of failure.

Frame t is the step from state t to state t + 1; its reward is what the step brought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np

from dataengine.errors import ConfigError

RISE = 0.01  # of progress, 0 to 1: less is the jitter of a gripper that rests

Reward = Literal["success", "gain"]
Cause = Literal["lost", "wrong_object", "time"]


def rewards(kind: Reward, progress: np.ndarray, success: np.ndarray) -> np.ndarray:
    """`(T,)` float32 from progress and success `(T,)` after each step.

    success: 1 for the first step that succeeds, 0 for all others. gain: what the step added to progress, the first one
    counted from 0; they sum up to the last progress.
    """
    if kind == "gain":
        return np.diff(progress, prepend=0.0).astype(np.float32)
    sparse = np.zeros(len(success), np.float32)
    if success.any():
        sparse[int(np.argmax(success))] = 1.0
    return sparse


def returns_to_go(reward: np.ndarray, gamma: float) -> np.ndarray:
    """G_t = Σ_{k ≥ t} γ^(k-t) r_k, `(T,)` float64."""
    backwards = accumulate(map(float, reward[::-1]), lambda later, now: now + gamma * later)
    return np.array(list(backwards))[::-1]


def chunk_returns(reward: np.ndarray, starts: Sequence[int], gamma: float) -> np.ndarray:
    """What each decision's own steps brought, Σ γ^k r_(start+k) until the next decision, `(decisions,)` float64."""
    ends = (*starts[1:], len(reward))
    pieces = zip(starts, ends, strict=True)
    return np.array([float((reward[a:b] * gamma ** np.arange(b - a)).sum()) for a, b in pieces])


def leave_one_out(returns: Sequence[float]) -> np.ndarray:
    """A_i = R_i - mean of the others' R, `(n,)` float64 (RLOO, Ahmadian et al. 2024; RIPT-VLA, Tan et al. 2025).

    Raises `ConfigError` where there are no others.
    """
    values = np.asarray(returns, np.float64)
    if len(values) < 2:
        raise ConfigError("an advantage against the others of a group needs at least two of them")
    return values - (values.sum() - values) / (len(values) - 1)


@dataclass(frozen=True)
class Onset:
    """frame: from which on nothing gets better. cause: `lost`; `wrong_object`; `time` where it was still getting
    better when the time was up."""

    frame: int
    cause: Cause


def failure_onset(progress: np.ndarray, success: bool, wrong_object: bool = False) -> Onset | None:
    """Where a failed attempt was lost: the frame that starts in the best state the attempt ever reached.

    progress: `(T,)` after each step, 0 to 1. After that frame progress never rises above what it had been (by more than
    `RISE`), however it moves below. An attempt whose best state is its last one was cut off by time, or ended by the
    wrong object, at its last frame. None for a success.
    """
    if success:
        return None
    best = int(np.argmax(progress >= progress.max() - RISE))
    last = len(progress) - 1
    cause: Cause = "wrong_object" if wrong_object else "lost" if best < last else "time"
    return Onset(min(best + 1, last), cause)
