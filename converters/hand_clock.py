"""Tracks on a clock of their own, laid on the pictures of a video.

A picture takes the sample that is nearest to it within half a picture's time; between two samples that are not too far
apart the hand goes straight; elsewhere there is none. Where the way of the device through the world is known, hands go
through the world between their time and that of the picture, since a head turns further in that time than hands move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from converters.mano_model import FROM_MANO
from dataengine import hands

Space = Literal["camera", "device", "world"]
LOST = 0.1  # [s] without a pose after which nobody knows where a headset is
SHORT, LONG = 0.03, 0.25  # [m] wrist to middle knuckle: children's and giants' lie between
# Landmarks in the wrong one of the two orders that are mixed up – HaMeR and WiLoR give MANO's joints in MediaPipe's –
# still lie within a hand, but its bones are longer then, by a tenth where it is no fist.
MIXED = (FROM_MANO, tuple(np.argsort(FROM_MANO).tolist()))
SHORTER, OPEN, ENOUGH = 0.95, 0.05, 1000


@dataclass(frozen=True)
class Tracks:
    """What a tracker said of both hands, in order of time.

    times: `(N,)` int64 [ns], ascending, on the tracker's clock. landmarks: by side, `(N, 21, 3)` [m], NaN where no hand
    is. confidence: by side, `(N,)`, 0 to 1. space: the frame they are in. by_picture: there are no times, a row is
    a picture and `times` is its number. every: each picture has its row. remarks: what had to be done to the rows.
    """

    times: np.ndarray
    landmarks: Mapping[str, np.ndarray]
    confidence: Mapping[str, np.ndarray]
    space: Space
    by_picture: bool = False
    every: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Way:
    """Poses in a world that does not move. times: `(N,)` int64 [ns], ascending. poses: `(N, 7)`, quaternions xyzw.
    of: what is placed, the device or its camera."""

    times: np.ndarray
    poses: np.ndarray
    of: Literal["device", "camera"] = "device"

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`(T, 4, 4)` at the times [ns], and `(T,)` whether a pose is near enough to say so. Straight lines and the
        shortest turns between two poses (Shoemake 1985)."""
        after = np.clip(np.searchsorted(self.times, times), 0, len(self.times) - 1)
        before = np.maximum(after - 1, 0)
        since, span = _seconds(times - self.times[before]), _seconds(self.times[after] - self.times[before])
        until = _seconds(self.times[after] - times)
        share = np.clip(np.where(span > 0, since / np.where(span > 0, span, 1), 0), 0, 1)
        near = np.minimum(abs(since), abs(until)) <= LOST
        first, second = (Rotation.from_quat(self.poses[i, 3:]) for i in (before, after))
        turn = first * Rotation.from_rotvec(share[:, None] * (first.inv() * second).as_rotvec())
        found = np.tile(np.eye(4), (len(times), 1, 1))
        found[:, :3, :3] = turn.as_matrix()
        found[:, :3, 3] = self.poses[before, :3] + share[:, None] * (self.poses[after, :3] - self.poses[before, :3])
        return found, near


class Laid(NamedTuple):
    """One hand on the pictures: places `(T, 21, 3)`, and `(T,)` each: tracked, confidence, seconds to a sample."""

    points: np.ndarray
    tracked: np.ndarray
    confidence: np.ndarray
    wait: np.ndarray


def in_order(times: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The rows `(M,)` of times `(N,)` in ascending order, each time once (the first row counts), and what was done."""
    order = np.argsort(times, kind="stable")
    keep = np.concatenate([[True], np.diff(times[order]) > 0]) if len(times) else np.zeros(0, bool)
    remarks = []
    if (order != np.arange(len(order))).any():
        remarks.append("rows do not stand in the order of their time; they were sorted")
    if not keep.all():
        remarks.append(f"{int((~keep).sum())} rows repeat a time; the first of each counts")
    return order[keep], tuple(remarks)


def to_world(tracks: Tracks, way: Way, on_device: np.ndarray) -> Tracks:
    """The tracks in the world; samples of times without a pose are no hand. on_device: `(4, 4)` of the camera."""
    if tracks.space == "world":
        return tracks
    frame, near = way.at(tracks.times)
    if way.of == "device" and tracks.space == "camera":
        frame = frame @ on_device
    elif way.of == "camera" and tracks.space == "device":
        frame = frame @ np.linalg.inv(on_device)
    turn, place = frame[:, :3, :3], frame[:, None, :3, 3]
    moved = {
        side: np.where(near[:, None, None], points @ turn.swapaxes(1, 2) + place, np.nan)
        for side, points in tracks.landmarks.items()
    }
    return replace(tracks, landmarks=moved, space="world")


def lay(tracks: Tracks, side: str, times: np.ndarray, fps: float, bridge: float, sure: float) -> Laid:
    """One hand at the times `(T,)` [ns] of pictures. bridge: longest gap between two samples that is filled [s].
    sure: least confidence of a sample."""
    count = len(times)
    points, confidence = tracks.landmarks[side], tracks.confidence[side]
    known = np.flatnonzero(np.isfinite(points).all((1, 2)) & (confidence >= sure))
    if not len(known):
        return Laid(np.zeros((count, 21, 3)), np.full(count, hands.ABSENT), np.zeros(count), np.zeros(count))
    had = tracks.times[known]
    after = np.clip(np.searchsorted(had, times), 0, len(had) - 1)
    before = np.maximum(after - 1, 0)
    since, until = _seconds(times - had[before]), _seconds(had[after] - times)
    close = np.where(abs(since) <= abs(until), before, after)
    wait = np.minimum(abs(since), abs(until))
    seen = wait <= 0.5 / fps * (1 + 1e-6)
    gap = _seconds(had[after] - had[before])
    filled = ~seen & (since > 0) & (until > 0) & (gap <= bridge)
    share = np.where(filled, since / np.where(gap > 0, gap, 1), 0)[:, None, None]
    one, two = points[known[before]], points[known[after]]
    laid = np.where(filled[:, None, None], (1 - share) * one + share * two, points[known[close]])
    tracked = np.where(seen, hands.SEEN, np.where(filled, hands.FILLED, hands.ABSENT))
    surely = confidence[known[close]] * np.where(seen, 1.0, np.where(filled, 0.5, 0.0))
    return Laid(laid, tracked, surely, np.where(seen, 0.0, wait))


def size_fault(landmarks: np.ndarray) -> str | None:
    """Why these cannot be landmarks of a hand in metres, in the order of `hands.LANDMARKS`. NaN is no hand."""
    there = landmarks[np.isfinite(landmarks).all((1, 2))]
    if not len(there):
        return None
    if (far := np.abs(there).max()) >= 1e6:
        return f"it is {far:.3g} m away: landmarks are metres"
    some = there[:: -(-len(there) // ENOUGH)]
    span = float(np.median(np.linalg.norm(some[:, hands.MIDDLE_KNUCKLE] - some[:, hands.WRIST], axis=1)))
    if not SHORT <= span <= LONG:
        return f"wrist to middle knuckle is {span:.3g} m: landmarks are metres, in the documented order"
    if any(np.quantile(_bones(some[:, other]) / _bones(some), OPEN) < SHORTER for other in MIXED):
        return "its landmarks stand in another order than is said: MediaPipe's are not MANO's"
    return None


def _bones(landmarks: np.ndarray) -> np.ndarray:
    """`(T,)` length of all bones [m], from the wrist to every knuckle too."""
    pairs = [(hands.WRIST, root) for root in hands.PALM[1:]] + [pair[:2] for pair in hands.PHALANGES]
    ends = np.array(pairs)
    return np.linalg.norm(landmarks[:, ends[:, 0]] - landmarks[:, ends[:, 1]], axis=2).sum(1)


def _seconds(nanoseconds: np.ndarray) -> np.ndarray:
    return np.asarray(nanoseconds, np.float64) * 1e-9
