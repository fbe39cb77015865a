"""How many faces a detector finds, measured on pictures whose faces a person marked.

A sample is a folder of pictures and `faces.csv` with the columns `picture,left,top,right,bottom`: a row for every face,
edges in pixels of the picture as it is shown. Pictures of the folder without a row have no face. A face is found by a
box that covers it with at least half of their union, the surest box first and every face once: PASCAL VOC's rule
(Everingham et al. 2010, section 4.2), which WIDER FACE has as well.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from collectors.egocentric.face_tracks import find
from collectors.egocentric.footage import PHOTOS, open_photo
from dataengine.errors import SourceError
from dataengine.guard import read_text, safe_join, safe_name
from dataengine.intervals import wilson
from dataengine.plugins import FaceDetector

TABLE = "faces.csv"
FIELDS = ("picture", "left", "top", "right", "bottom")
MOST = 100_000  # pictures, and rows
OVERLAP = 0.5  # of the union, from which on a box is a face's


def measure(folder: Path, detector: FaceDetector) -> dict[str, Any]:
    """Recall and precision with Wilson's intervals of 95 %, which take every face for a case of its own.

    Raises `SourceError` for a sample that is none, or has no face.
    """
    labelled = read_sample(folder)
    total = sum(len(boxes) for boxes in labelled.values())
    if not total:
        raise SourceError(folder / TABLE, "marks no face, so no recall can be measured on it")
    found = wrong = 0
    for path, boxes in labelled.items():
        picture = open_photo(path)
        height, width = picture.shape[:2]
        if len(boxes) and ((boxes < 0).any() or (boxes > (width, height, width, height)).any()):
            raise SourceError(folder / TABLE, f"has a face outside of {path.name}, which is {width}×{height}")
        hits = matched(find(detector, picture), boxes)
        found += int(hits.sum())
        wrong += int((~hits).sum())
    return {
        "faces": total,
        "pictures": len(labelled),
        "found": found,
        "wrong": wrong,
        "recall": _share(found, total),
        "recall_95": _interval(found, total),
        "precision": _share(found, found + wrong),
        "precision_95": _interval(found, found + wrong),
        "overlap": OVERLAP,
    }


def read_sample(folder: Path) -> dict[Path, np.ndarray]:
    """Faces `(n, 4)` of every picture. Raises `SourceError` that names the row."""
    table = folder / TABLE
    if not table.is_file():
        raise SourceError(table, "is not there", hint=f"a labelled sample has it, with the columns {', '.join(FIELDS)}")
    reader = csv.reader(io.StringIO(read_text(table)))
    try:
        head, *rows = [row for row in reader if row]
    except (csv.Error, ValueError) as error:
        raise SourceError(table, f"is no CSV file with the columns {', '.join(FIELDS)}: {error}") from error
    if tuple(name.strip() for name in head) != FIELDS:
        raise SourceError(table, f"has the columns {', '.join(head)[:200]}, not {', '.join(FIELDS)}")
    if len(rows) > MOST:
        raise SourceError(table, f"has {len(rows)} rows; {MOST} are the most")
    faces: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for number, row in enumerate(rows, 2):
        faces[row[0].strip()].append(_box(table, number, row))
    pictures = {path.name for path in folder.iterdir() if path.suffix.lower() in PHOTOS and path.name[0] != "."}
    if absent := sorted(faces.keys() - pictures):
        raise SourceError(table, f"names the picture {absent[0]!r}, which is not in its folder")
    if len(pictures) > MOST:
        raise SourceError(folder, f"holds {len(pictures)} pictures; {MOST} are the most")
    return {
        safe_join(folder, safe_name(name)): np.array(faces.get(name, []), np.float64).reshape(-1, 4)
        for name in sorted(pictures)
    }


def matched(found: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """`(n,)` bool, in order of falling score: which boxes of `found` `(n, 5)` find a face of their own among `faces`
    `(m, 4)`."""
    found = found[np.argsort(-found[:, 4], kind="stable")]
    hits = np.zeros(len(found), bool)
    if not len(faces):
        return hits
    shared, free = _overlap(found[:, :4].astype(np.float64), faces), np.ones(len(faces), bool)
    best = shared.argmax(1) if len(found) else np.empty(0, np.int64)
    for place, face in enumerate(best):
        hits[place] = free[face] and shared[place, face] >= OVERLAP
        free[face] &= not hits[place]
    return hits


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`(A, B)` areas that boxes share, of their unions."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = np.maximum(high - low, 0).prod(2)
    sizes = [(each[:, 2:] - each[:, :2]).prod(1) for each in (a, b)]
    return shared / np.maximum(sizes[0][:, None] + sizes[1] - shared, 1e-9)


def _box(table: Path, number: int, row: list[str]) -> tuple[float, ...]:
    try:
        left, top, right, bottom = map(float, row[1:])
    except ValueError as error:
        raise SourceError(table, f"row {number} is not a picture and four numbers: {row!r:.200}") from error
    if not all(map(math.isfinite, (left, top, right, bottom))) or left >= right or top >= bottom:
        raise SourceError(table, f"row {number} has a face that is nowhere: its edges are left, top, right, bottom")
    return left, top, right, bottom


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _interval(part: int, whole: int) -> list[float]:
    return [round(end, 4) for end in wilson(part, whole)]
