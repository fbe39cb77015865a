"""Where faces are in a clip: what a detector finds picture by picture, followed, and bridged where it misses one.

A detector that finds a face in nine pictures of ten shows it in the tenth. So boxes are joined to tracks (Hungarian
assignment, Kuhn 1955); inside of a track a missing box is interpolated, its first and last are held for a while.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from collectors.egocentric.footage import Footage
from collectors.egocentric.sightings import LARGEST, PIECE, keep
from dataengine.errors import ConfigError, SourceError
from dataengine.guard import load_npz
from dataengine.plugins import FaceDetector
from dataengine.store.remote import cache_folder

MOST = 1000  # faces in a picture
GATE = 1.0  # sides of a face: one that is farther from where it was is another one
NEVER = 1e3  # what it costs to take two for one beyond that
SLACK = 0.1  # sides more for every picture it was not seen in


class Boxes(NamedTuple):
    """Boxes of every frame. first: `(T + 1,)` int64: those of frame t are `first[t]` to `first[t + 1]`. boxes: `(N, 4)`
    float32, left, top, right, bottom [px]."""

    first: np.ndarray
    boxes: np.ndarray

    def of(self, frame: int) -> np.ndarray:
        return self.boxes[self.first[frame] : self.first[frame + 1]]

    def slice(self, start: int, stop: int) -> Boxes:
        first = self.first[start : stop + 1]
        return Boxes(first - first[0], self.boxes[first[0] : first[-1]])


@dataclass(eq=False)
class Track:
    """One face while it is seen. at: frames, growing; boxes: `(4,)` each."""

    at: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)


def faces(footage: Footage, detector: FaceDetector) -> Boxes:
    """What a detector finds in every picture, looked at once and kept by pieces of a minute.

    Raises `ConfigError` for a detector that gives no boxes.
    """
    clip = footage.clip
    about = f"{footage.sha256}\0{clip.fps!r}\0{clip.length}\0{clip.height}\0{clip.width}\0{detector.version}"
    folder = cache_folder() / "faces" / hashlib.sha256(about.encode()).hexdigest()[:32]
    step = max(1, round(PIECE * clip.fps))
    counts: list[np.ndarray] = []
    found: list[np.ndarray] = []
    for start in range(0, clip.length, step):
        stop = min(start + step, clip.length)
        kept = folder / f"{start:08d}.npz"
        piece = _read(kept, stop - start)
        if piece is None:
            seen = [find(detector, picture)[:, :4] for picture in clip.frames(start, stop)]
            piece = np.array([len(boxes) for boxes in seen], np.int64), np.concatenate(seen)
            keep(kept, count=piece[0], boxes=piece[1])
        counts.append(piece[0])
        found.append(piece[1])
    return Boxes(np.concatenate([[0], np.cumsum(np.concatenate(counts))]), np.concatenate(found))


def find(detector: FaceDetector, picture: np.ndarray) -> np.ndarray:
    """`(n, 5)` float32 as `FaceDetector.find`, whatever the detector is. Raises `ConfigError` for what is no such."""
    boxes = np.asarray(detector.find(picture))
    if boxes.ndim != 2 or boxes.shape[1] != 5 or boxes.dtype.kind not in "fiu" or len(boxes) > MOST:
        raise ConfigError(
            f"the face detector {detector.version!r} gave {boxes.dtype} of {boxes.shape} for a picture, not up to "
            f"{MOST} rows of left, top, right, bottom and score"
        )
    boxes = boxes.astype(np.float32)
    if not np.isfinite(boxes).all() or (boxes[:, 2:4] < boxes[:, :2]).any():
        raise ConfigError(f"the face detector {detector.version!r} gave a box that ends before it begins, or NaN")
    return boxes


def follow(found: Boxes, wait: int) -> list[Track]:
    """Boxes joined to tracks over at most `wait` frames without one; every box is in one track."""
    done: list[Track] = []
    live: list[Track] = []
    for frame in np.flatnonzero(np.diff(found.first)).tolist():
        boxes = found.of(frame)
        done += [track for track in live if frame - track.at[-1] > wait + 1]
        live = [track for track in live if frame - track.at[-1] <= wait + 1]
        taken = set()
        if live:
            far = _apart(np.stack([track.boxes[-1] for track in live]), boxes)
            far -= SLACK * np.array([[frame - track.at[-1] - 1] for track in live])
            for row, column in zip(*linear_sum_assignment(np.where(far <= GATE, far, NEVER)), strict=True):
                if far[row, column] <= GATE:
                    live[row].at.append(frame)
                    live[row].boxes.append(boxes[column])
                    taken.add(int(column))
        live += [Track([frame], [box]) for place, box in enumerate(boxes) if place not in taken]
    return sorted(done + live, key=lambda track: track.at[0])


def spans(tracks: list[Track], length: int, hold: int) -> np.ndarray:
    """`(n, 2)` int64 first frame and the one after the last of every track, held `hold` frames at both ends."""
    ends = np.array([(track.at[0] - hold, track.at[-1] + 1 + hold) for track in tracks], np.int64).reshape(-1, 2)
    return np.clip(ends, 0, length)


def filled(tracks: list[Track], length: int, hold: int) -> Boxes:
    """A box of every track in every frame of its span: between two that were found on a line, at the ends held."""
    frames: list[np.ndarray] = [np.empty(0, np.int64)]
    boxes: list[np.ndarray] = [np.empty((0, 4), np.float32)]
    for track, (start, stop) in zip(tracks, spans(tracks, length, hold), strict=True):
        at = np.arange(start, stop)
        known = np.stack(track.boxes)
        frames.append(at)
        boxes.append(np.stack([np.interp(at, track.at, known[:, k]) for k in range(4)], 1).astype(np.float32))
    every = np.concatenate(frames)
    order = np.argsort(every, kind="stable")
    counts = np.bincount(every, minlength=length)
    return Boxes(np.concatenate([[0], np.cumsum(counts)]), np.concatenate(boxes)[order])


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`(A, B)` between the middles of boxes, in mean sides of both."""
    middles = [(each[:, :2] + each[:, 2:]) / 2 for each in (a, b)]
    sides = [(each[:, 2:] - each[:, :2]).mean(1) for each in (a, b)]
    size = np.maximum((sides[0][:, None] + sides[1]) / 2, 1.0)
    return np.linalg.norm(middles[0][:, None] - middles[1], axis=2) / size


def _read(path: Path, length: int) -> tuple[np.ndarray, np.ndarray] | None:
    """None where nothing was kept, or what was kept is not what was written."""
    try:
        kept = load_npz(path, LARGEST)
        count, boxes = kept["count"], kept["boxes"]
    except (OSError, SourceError, KeyError):
        return None
    if count.dtype != np.int64 or count.shape != (length,) or count.min() < 0 or count.max() > MOST:
        return None
    if boxes.dtype != np.float32 or boxes.shape != (int(count.sum()), 4) or not np.isfinite(boxes).all():
        return None
    return count, boxes
