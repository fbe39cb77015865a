"""Stretches of frames in which something holds."""

from __future__ import annotations

import numpy as np


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Starts and stops (exclusive) of the stretches where `mask` `(T,)` is true, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(mask, bool), [False]])))
    return [(start, stop) for start, stop in edges.reshape(-1, 2).tolist()]
