"""Least of a smooth function within bounds: Newton's method on what is free to move, projected (Bertsekas 1982,
"Projected Newton methods for optimization problems with simple constraints") and damped (Levenberg-Marquardt)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from scipy.linalg.lapack import dposv

STEPS = 100
FLAT = 1e-7  # of the projected slope: nothing is to be gained there
ENOUGH = 1e-9  # of the function: less gain than this is none
ENOUGH_SHARE = 1e-6  # of its value
DAMPING, MOST_DAMPING = 1e-6, 1e6
AT_BOUND = 1e-9


class Smooth(Protocol):
    """A function `(N,)` -> number."""

    def value(self, x: np.ndarray) -> float: ...
    def derivatives(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(N,)` first and `(N, N)` second."""
        ...


class Least(NamedTuple):
    x: np.ndarray
    value: float
    steps: int


def least(function: Smooth, start: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Least:
    """A local minimum with `lower <= x <= upper` `(N,)`, from a start within; each step is downwards."""
    x = np.minimum(np.maximum(start, lower), upper)
    value, damping = function.value(x), DAMPING
    steps = 0
    while steps < STEPS:
        slope, bend = function.derivatives(x)
        free = ~(((x <= lower + AT_BOUND) & (slope > 0)) | ((x >= upper - AT_BOUND) & (slope < 0)))
        if not free.any() or np.abs(slope[free]).max() < FLAT:
            break
        slope, bend = slope[free], bend[free][:, free]
        before = value
        while damping <= MOST_DAMPING:
            steps += 1
            damped = bend.copy()
            damped.flat[:: len(damped) + 1] += damping
            _, step, failed = dposv(damped, slope)
            if not failed:
                tried = x.copy()
                tried[free] -= step
                tried = np.minimum(np.maximum(tried, lower), upper)
                if (there := function.value(tried)) < value:
                    x, value, damping = tried, there, max(damping / 10, DAMPING)
                    break
            damping *= 10
        if before - value <= ENOUGH + ENOUGH_SHARE * abs(value):
            break
    return Least(x, value, steps)
