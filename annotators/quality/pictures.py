"""What a camera's pictures do over time, from one pass over the clip in constant memory.

Every frame is reduced to a *glance*: at most 64 × 64 of its own pixels on a regular grid. Sampled pixels keep
sensor noise and coding differences that averaging would hide, so a picture that really repeats is told apart
from one that hardly changes.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from dataengine.episode import Clip

GRID = 64
THUMBNAIL = 8
# A picture whose spread is below shows nothing: two grey levels; of depth, which may be of a flat table, 3 mm.
CONTENT = {"rgb": 2.0, "depth": 0.2}
_KEPT = 256

# Traces of clips seen lately in this process: the stage looks twice (to learn the set, then to judge).
_seen: OrderedDict[tuple[str, int], Trace] = OrderedDict()


@dataclass(frozen=True)
class Trace:
    """One camera over one episode. Colour in grey levels 0..255, depth scaled so that 4 m is 255.

    change: `(T,)` mean absolute difference to the last picture before that shows something (0 for the first). mean:
    `(T,)` of the picture. spread: `(T,)` how much it shows, see `_content`. thumbnail: `(8, 8, C)` mean picture of the
    episode. first: the same of its first picture. shape: (H, W, C) of the pictures.
    """

    change: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    thumbnail: np.ndarray
    first: np.ndarray
    shape: tuple[int, int, int]
    kind: str

    @property
    def blank(self) -> np.ndarray:
        """`(T,)` bool: pictures that show nothing."""
        return self.spread < CONTENT[self.kind]


def trace(clip: Clip) -> Trace:
    """Decode a clip once and describe it. Raises what the clip raises when it cannot be decoded."""
    key = (clip.fingerprint, clip.length)
    if key in _seen:
        _seen.move_to_end(key)
        return _seen[key]
    change, mean, spread = (np.zeros(clip.length) for _ in range(3))
    total = first = before = None
    seen = False
    channels = 3 if clip.kind == "rgb" else 1
    for number, frame in enumerate(clip.frames()):
        glance = _glance(frame, clip.kind)
        small = _thumbnail(glance)
        mean[number], spread[number] = glance.mean(), _content(glance, small)
        if before is None:
            total, first = small.copy(), small
        else:
            change[number] = np.abs(glance - before).mean()
            total += small
        # A black picture in between must not hide that the others stand still.
        shows = spread[number] >= CONTENT[clip.kind]
        if shows or not seen:
            before, seen = glance, shows
    if total is None or first is None:
        total = first = np.zeros((THUMBNAIL, THUMBNAIL, channels))
    found = Trace(
        change, mean, spread, total / max(clip.length, 1), first, (clip.height, clip.width, channels), clip.kind
    )
    _seen[key] = found
    while len(_seen) > _KEPT:
        _seen.popitem(last=False)
    return found


def _glance(frame: np.ndarray, kind: str) -> np.ndarray:
    """`(h, w, C)` float32 of at most `GRID` pixels a side, off the frame's own grid."""
    rows, columns = (max(1, -(-size // GRID)) for size in frame.shape[:2])
    glance = frame[rows // 2 :: rows, columns // 2 :: columns].astype(np.float32)
    if kind == "depth":
        glance = np.clip(np.nan_to_num(glance), 0, 4) * (255 / 4)
    return glance


def _content(glance: np.ndarray, small: np.ndarray) -> float:
    """Deviation over the picture, of the channel that shows most; four times that of the block means where this is
    more: noise hardly moves those, so that a scene in the dark is told from a covered lens."""
    return float(max(glance.std(axis=(0, 1)).max(), 4 * small.std(axis=(0, 1)).max()))


def _thumbnail(glance: np.ndarray) -> np.ndarray:
    """`(8, 8, C)` block means."""
    height, width, channels = glance.shape
    rows, columns = (np.linspace(0, size, THUMBNAIL + 1).astype(int)[:-1] for size in (height, width))
    sums = np.add.reduceat(np.add.reduceat(glance, rows, axis=0), columns, axis=1)
    counts = np.diff(np.append(rows, height))[:, None] * np.diff(np.append(columns, width))[None]
    return (sums / np.maximum(counts, 1)[..., None]).reshape(THUMBNAIL, THUMBNAIL, channels)
