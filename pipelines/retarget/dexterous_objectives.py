"""What it means that a robot's hand does what a human hand does: the published objectives, with their derivatives.

Each is a weighted sum of Huber's function of differences, robot's less wanted, and pulls to the last solution and
(as DexPilot's to the open hand) to the middle of the joints' ranges, which are added where it is solved:

    f(q) = Σ_k w_k huber(‖P(q)_task(k) - P(q)_origin(k) - wanted_k‖) + keep ‖q - q_last‖² + ease ‖q - q_middle‖²
    huber(d) = d² / 2δ for d < δ, d - δ/2 beyond (Huber 1964)

with P the fingertips in the palm's frame and its origin, the wrist. Constants are those of AnyTeleop (Qin et al. 2023,
"AnyTeleop: A General Vision-Based Dexterous Robot Arm-Hand Teleoperation System") as its program has them, keep
included (4e-3). Lengths in m.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

POSITION_HUBER = VECTOR_HUBER = 0.02
DEXPILOT_HUBER = 0.03
# DexPilot (Handa et al. 2020, §IV-B; distances as widened by AnyTeleop): a thumb and a finger, or two fingers that both
# touch the thumb, that are nearer than `PROJECT` are drawn together until they are farther than `ESCAPE`.
PROJECT, ESCAPE, PROJECT_FINGERS = 0.03, 0.05, 0.03
TOUCHING, APART = 1e-4, 3e-2  # what a thumb and a finger, and two such fingers, are drawn to
THUMB_WEIGHT, FINGERS_WEIGHT = 200.0, 400.0


@dataclass(frozen=True)
class Terms:
    """An objective for every frame of a clip.

    origin, task: `(K,)` of each vector, 0 the wrist and n the n-th of P points. wanted: `(T, K, 3)`.
    weight: `(T, K)`, what the mean over vectors divides by included. huber: δ. apart: Huber's function is of every
    coordinate by itself, not of the length of the vector. points: P.
    """

    origin: np.ndarray
    task: np.ndarray
    wanted: np.ndarray
    weight: np.ndarray
    huber: float
    apart: bool
    points: int

    @cached_property
    def choice(self) -> np.ndarray:
        """`(K, P)`: vectors of points are `choice @ points`; the wrist is at the origin."""
        chosen = np.zeros((len(self.task), self.points + 1))
        rows = np.arange(len(self.task))
        chosen[rows, self.task] += 1
        chosen[rows, self.origin] -= 1
        return chosen[:, 1:]

    @cached_property
    def pairs(self) -> np.ndarray:
        """`(P·P, K)` products of columns of `choice`, which spread second derivatives over pairs of points."""
        return np.einsum("kp,kq->pqk", self.choice, self.choice).reshape(-1, len(self.task))

    def value(self, frame: int, points: np.ndarray) -> float:
        """Without the pull to the last solution. points: `(P, 3)`."""
        off = self.choice @ points - self.wanted[frame]
        length = np.abs(off) if self.apart else np.sqrt((off * off).sum(1))
        delta = self.huber
        cost = np.where(length < delta, length * length / (2 * delta), length - delta / 2)
        return float(self.weight[frame] @ (cost.sum(1) if self.apart else cost))

    def derivatives(self, frame: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By the points: `(P, 3)` first and `(3P, 3P)` second, the latter positive semidefinite."""
        off, weight, delta = self.choice @ points - self.wanted[frame], self.weight[frame], self.huber
        if self.apart:
            near = np.abs(off) < delta
            slope = np.where(near, off / delta, np.sign(off))
            bend: np.ndarray = np.zeros((len(off), 3, 3))
            bend[:, (0, 1, 2), (0, 1, 2)] = near / delta
        else:
            length = np.sqrt((off * off).sum(1))
            steep = _steepness(length, delta)
            slope = off * steep[:, None]
            bend = steep[:, None, None] * _EYE
            if (far := length >= delta).any():  # only across: along the vector the function is straight there
                unit = off / np.maximum(length, 1e-12)[:, None]
                bend -= (far * steep)[:, None, None] * (unit[:, :, None] * unit[:, None])
        first = self.choice.T @ (slope * weight[:, None])
        count = self.points
        second = (self.pairs @ (bend * weight[:, None, None]).reshape(-1, 9)).reshape(count, count, 3, 3)
        return first, second.transpose(0, 2, 1, 3).reshape(3 * count, 3 * count)


_EYE = np.eye(3)


def _steepness(length: np.ndarray, delta: float) -> np.ndarray:
    """Huber's function's derivative over the length: 1/δ near, 1/d beyond."""
    return 1 / np.maximum(length, delta)


def position(wanted: np.ndarray, huber: float | None = None) -> Terms:
    """Every point to its place: wanted `(T, P, 3)`, scaled, from the wrist in the palm's frame. The mean over points
    and coordinates, each by itself."""
    frames, count, _ = wanted.shape
    weight = np.full((frames, count), 1 / (3 * count))
    return Terms(_wrist(count), 1 + np.arange(count), wanted, weight, huber or POSITION_HUBER, True, count)


def vector(wanted: np.ndarray, huber: float | None = None) -> Terms:
    """Vectors from the wrist, as for `position`; the mean over vectors of Huber's function of their length."""
    frames, count, _ = wanted.shape
    weight = np.full((frames, count), 1 / count)
    return Terms(_wrist(count), 1 + np.arange(count), wanted, weight, huber or VECTOR_HUBER, False, count)


def dexpilot(human: np.ndarray, scale: float, huber: float | None = None, begins: np.ndarray | None = None) -> Terms:
    """Vectors between all fingertips and from the wrist to each; human `(T, P, 3)` from the wrist, the thumb first, in
    its own size. Fingers that are about to touch are drawn together, with a weight that makes them.

    A frame that is NaN leaves what is drawn together as it was; one of begins `(T,)` bool knows nothing of it.
    """
    frames, count, _ = human.shape
    task, origin = (np.array(side) for side in zip(*combinations(range(count), 2), strict=True))
    vectors = human[:, task] - human[:, origin]
    length = np.linalg.norm(vectors, axis=2)
    thumb = count - 1  # so many of the pairs have the thumb in them; they come first
    drawn = np.zeros(length.shape, bool)
    forgotten = np.zeros((frames, 1), bool) if begins is None else begins[:, None]
    drawn[:, :thumb] = _held(length[:, :thumb] < PROJECT, (length[:, :thumb] > ESCAPE) | forgotten)
    both = drawn[:, task[thumb:] - 1] & drawn[:, origin[thumb:] - 1]
    drawn[:, thumb:] = both & (length[:, thumb:] <= PROJECT_FINGERS)
    target = np.where(np.arange(len(task)) < thumb, TOUCHING, APART)
    heavy = np.where(np.arange(len(task)) < thumb, THUMB_WEIGHT, FINGERS_WEIGHT)
    projected = vectors / (length + 1e-6)[..., None] * target[:, None]
    wanted = np.concatenate([np.where(drawn[..., None], projected, scale * vectors), scale * human], 1)
    usual = np.full((frames, count), float(len(task) + count))
    weight = np.concatenate([np.where(drawn, heavy, 1.0), usual], 1) / (len(task) + count)
    ends = np.concatenate([1 + origin, _wrist(count)]), np.concatenate([1 + task, 1 + np.arange(count)])
    return Terms(*ends, wanted, weight, huber or DEXPILOT_HUBER, False, count)


def _wrist(count: int) -> np.ndarray:
    return np.zeros(count, int)


def _held(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Bool `(T, K)`: has it started since it last ended? Where both are told it has."""
    event = np.where(starts | ends, np.arange(1, len(starts) + 1)[:, None], 0)
    last = np.maximum.accumulate(event, axis=0)
    return (last > 0) & np.take_along_axis(starts, np.maximum(last - 1, 0), 0)
