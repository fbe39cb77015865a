"""When something is in the hand, from motion alone: the gripper is closed and the hand carries it somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from dataengine.runs import runs

GRASP = "grasp"
SHORTEST, TRAVEL = 0.2, 0.02  # [s] closed, and [m] from where it closed, that make a grasp of it

SCHEMA = pa.schema([("start", pa.int64()), ("stop", pa.int64()), ("side", pa.string()), ("travel", pa.float64())])


class Grasp(NamedTuple):
    """Frames `start` to `stop` (exclusive). travel: farthest from where the gripper closed [m]."""

    start: int
    stop: int
    side: str
    travel: float


def grasps(
    side: str, closed: np.ndarray, point: np.ndarray, there: np.ndarray, fps: float, sigma: np.ndarray
) -> list[Grasp]:
    """closed, there: `(T,)` bool; point: `(T, 3)` of the tool, sigma: `(T,)` standard deviation of its place [m]: a way
    that is no longer than that may be none. A hand that is lost ends its grasp."""
    found = []
    for start, stop in runs(closed & there):
        travel = float(np.linalg.norm(point[start:stop] - point[start], axis=1).max())
        if stop - start >= SHORTEST * fps and travel >= max(TRAVEL, float(np.median(sigma[start:stop]))):
            found.append(Grasp(start, stop, side, travel))
    return found


def grasp_table(found: Mapping[str, list[Grasp]]) -> pa.Table:
    """Of all sides, in order of time."""
    rows = sorted(grasp for each in found.values() for grasp in each)
    return pa.Table.from_pylist([row._asdict() for row in rows], SCHEMA)
