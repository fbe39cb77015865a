"""A clip whose faces cannot be seen: every box is replaced by a few patches of mean colour, as pictures are decoded.

Of a face nothing is left but these means. They are few, because a blur that keeps more, or a fine mosaic, still tells
a network who it is (McPherson, Shokri & Shmatikov 2016).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from collectors.egocentric.face_tracks import Boxes
from dataengine.episode import Clip, ClipOf, hash_array

LEAST = 4  # pixels along the side of a patch


@dataclass(frozen=True, eq=False)
class Blurred(ClipOf):
    """boxes: of every frame of the source. margin: by which a box grows on every side, of its own sides. cells: patches
    along a side."""

    source: Clip
    boxes: Boxes
    margin: float
    cells: int

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for frame, picture in enumerate(self.source.frames(start, stop), start):
            boxes = self.boxes.of(frame)
            yield blurred(picture, boxes, self.margin, self.cells) if len(boxes) else picture

    def slice(self, start: int, stop: int) -> Blurred:
        return replace(self, source=self.source.slice(start, stop), boxes=self.boxes.slice(start, stop))

    @property
    def fingerprint(self) -> str:
        boxes = hash_array(self.boxes.first) + hash_array(self.boxes.boxes)
        return hashlib.sha256(f"{self.source.fingerprint}{boxes}{self.margin}{self.cells}".encode()).hexdigest()


def blurred(picture: np.ndarray, boxes: np.ndarray, margin: float, cells: int) -> np.ndarray:
    """A copy of a picture `(H, W, 3)` with the boxes `(n, 4)` [px], grown by `margin`, as `cells`² patches each."""
    picture = picture.copy()
    for left, top, right, bottom in grown(boxes, margin, *picture.shape[:2]):
        if right > left and bottom > top:
            _patch(picture[top:bottom, left:right], cells)
    return picture


def grown(boxes: np.ndarray, margin: float, height: int, width: int) -> np.ndarray:
    """`(n, 4)` int: whole pixels that boxes grown by `margin` touch, inside of the picture."""
    more = margin * (boxes[:, 2:] - boxes[:, :2])
    low, high = np.floor(boxes[:, :2] - more), np.ceil(boxes[:, 2:] + more)
    return np.clip(np.concatenate([low, high], 1), 0, [width, height, width, height]).astype(np.int64)


def _patch(area: np.ndarray, cells: int) -> None:
    """In place: means of up to `cells` by `cells` patches, each over all of its pixels."""
    numbers = [max(1, min(cells, size // LEAST)) for size in area.shape[:2]]
    rows, columns = (np.arange(n + 1) * size // n for n, size in zip(numbers, area.shape[:2], strict=True))
    sums = np.add.reduceat(np.add.reduceat(area, rows[:-1], 0, np.int64), columns[:-1], 1, np.int64)
    means = sums / (np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None])
    area[:] = np.repeat(np.repeat(np.rint(means).astype(np.uint8), np.diff(rows), 0), np.diff(columns), 1)
