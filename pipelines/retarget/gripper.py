"""How far a parallel gripper is open, from how far thumb and index finger are apart.

The distance is measured against the size of the hand and against what this person's hand does in this clip. Frames in
which the hand is absent keep the opening and the state of the frame before; before the first frame with a hand it is
that frame's, and a hand that never comes is open.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataengine import hands

# Distance of the two tips over the size of the hand [1], where a clip does not show it: landmarks stand inside the
# tips, so a closed pinch leaves a gap; open is a hand about to grasp something as wide as a gripper opens.
CLOSED, OPEN = 0.18, 0.90
APART = 0.30  # of the size: less than this between the extremes is one state only
EXTREMES = (0.02, 0.98)  # quantiles that stand for closed and open: outliers of a tracker are rarer than grasps


class Extremes(NamedTuple):
    """least, most: distance of the tips over the size of the hand [1] that are rarely left; of a whole clip."""

    least: float
    most: float


class Calibration(NamedTuple):
    """closed, opened: distance of the tips [m] that means 0 and 1. measured: whether the clip shows each, or whether it
    was assumed."""

    closed: float
    opened: float
    measured: tuple[bool, bool]


def pinch(landmarks: np.ndarray) -> np.ndarray:
    """Thumb tip to index tip, `(T,)` [m], of landmarks `(T, 21, 3)`."""
    return np.linalg.norm(landmarks[:, hands.TIPS[1]] - landmarks[:, hands.TIPS[0]], axis=-1)


def calibrate(
    distance: np.ndarray,
    seen: np.ndarray,
    size: float,
    closed_at: float | None = None,
    open_at: float | None = None,
    shown: Extremes | None = None,
) -> Calibration:
    """From a clip. distance: `(T,)` [m]. seen: `(T,)` bool, the frames that count. size: of the hand [m]. closed_at,
    open_at: [share of the size], where they are known of the person; else robust extremes of the clip, or those that
    are `shown` by the one it is a piece of.

    A clip whose extremes lie closer than `APART` shows one state only: the other is then assumed, and the one that is
    shown moves an assumption only outwards.
    """
    low, high, both = CLOSED, OPEN, False
    if shown is not None or seen.any():
        least, most = shown or extremes(distance, seen, size)
        both = most - least >= APART
        low, high = (least, most) if both else (min(least, CLOSED), max(most, OPEN))
    low, high = (low if closed_at is None else closed_at), (high if open_at is None else open_at)
    high = max(high, low + APART)  # one end was given and the other lies beyond it
    return Calibration(low * size, high * size, (both and closed_at is None, both and open_at is None))


def extremes(distance: np.ndarray, seen: np.ndarray, size: float) -> Extremes:
    """Of the frames that count, one at least."""
    return Extremes(*map(float, np.quantile(_median_of_three(distance[seen]) / size, EXTREMES)))


def opening(distance: np.ndarray, there: np.ndarray, calibration: Calibration) -> np.ndarray:
    """`(T,)` float64, 0 closed to 1 open. there: `(T,)` bool, frames that have a hand."""
    closed, opened, _ = calibration
    share = np.clip((distance - closed) / (opened - closed), 0.0, 1.0)
    return _held(share, there, 1.0)


def is_closed(openings: np.ndarray, there: np.ndarray, below: float, above: float) -> np.ndarray:
    """`(T,)` bool with hysteresis: closed once the opening has fallen below `below` until it has risen above `above`.

    The thresholds say that the state changes; it changes where the opening last went through the middle between them,
    so that neither edge comes late. It begins with the state that the first opening is nearer to.
    """
    if not len(openings):
        return np.zeros(0, bool)
    nearer = openings < (below + above) / 2
    state = np.where(openings < below, 1.0, np.where(openings > above, 0.0, np.nan))
    state[0] = nearer[0]
    decided = np.isfinite(state) & there
    decided[0] = True
    late = _held(state, decided, 0.0) > 0.5
    crossed = np.concatenate([[True], nearer[1:] != nearer[:-1]])
    since = np.maximum.accumulate(np.where(crossed, np.arange(len(late)), 0))
    edges = since[1 + np.flatnonzero(late[1:] != late[:-1])]
    turned = np.zeros(len(late), np.int64)
    turned[edges] = 1
    return (turned.cumsum() % 2 == 1) ^ late[0]


def _held(values: np.ndarray, valid: np.ndarray, otherwise: float) -> np.ndarray:
    """`(T,)`: where not valid, the last valid value before, else the first one after, else `otherwise`."""
    if not valid.any():
        return np.full(len(values), otherwise)
    last = np.maximum.accumulate(np.where(valid, np.arange(len(values)), -1))
    return values[np.where(last < 0, int(np.argmax(valid)), last)]


def _median_of_three(values: np.ndarray) -> np.ndarray:
    """Running median, `(T,)`: a tracker's single wild frame is no extreme."""
    if len(values) < 3:
        return values
    inner = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
    return np.concatenate([inner[:1], inner, inner[-1:]])
