"""What a tracker saw in a video, kept by pieces of a minute: a run that was killed goes on at the piece it was in, and
another smoothing, calibration or cut needs no second look."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from collectors.egocentric.footage import Footage
from dataengine.errors import MachineError, SourceError
from dataengine.guard import load_npz
from dataengine.plugins import HandTracker, Sighting
from dataengine.store.remote import cache_folder

PIECE = 60.0  # [s] a tracker looks at in one go
LARGEST = 256 << 20  # [bytes] of a kept piece


def sightings(footage: Footage, tracker: HandTracker) -> list[list[Sighting]]:
    """Of every frame. Found in the cache, or by the tracker and then kept there."""
    clip = footage.clip
    about = f"{footage.sha256}\0{clip.fps!r}\0{clip.length}\0{clip.height}\0{clip.width}\0{tracker.version}"
    folder = cache_folder() / "hands" / hashlib.sha256(about.encode()).hexdigest()[:32]
    step = max(1, round(PIECE * clip.fps))
    found: list[list[Sighting]] = []
    for start in range(0, clip.length, step):
        stop = min(start + step, clip.length)
        kept = folder / f"{start:08d}.npz"
        piece = _read(kept, stop - start)
        if piece is None:
            piece = list(tracker.track(clip.frames(start, stop), clip.fps))
            _write(kept, piece)
        found += piece
    return found


def _write(path: Path, piece: list[list[Sighting]]) -> None:
    every = [sighting for seen in piece for sighting in seen]
    keep(
        path,
        count=np.array([len(seen) for seen in piece], np.int64),
        pixels=np.array([s.pixels for s in every], np.float32).reshape(-1, 21, 2),
        world=np.array([s.world for s in every], np.float32).reshape(-1, 21, 3),
        right=np.array([s.right for s in every], bool),
        score=np.array([s.score for s in every], np.float32),
    )


def keep(path: Path, **arrays: np.ndarray) -> None:
    """Arrays as a file of the cache that is there whole or not at all. Raises `MachineError`."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        why = error.strerror or str(error)
        said = f"the cache {cache_folder()} cannot be written: {why} – name another folder in DATAENGINE_CACHE"
        raise MachineError(said) from OSError(error.errno, why, str(path.parent))


def _read(path: Path, length: int) -> list[list[Sighting]] | None:
    """None where nothing was kept, or what was kept is not what was written."""
    try:
        kept = load_npz(path, LARGEST)
        count, pixels, world, right, score = (kept[name] for name in ("count", "pixels", "world", "right", "score"))
    except (OSError, SourceError, KeyError):  # missing, cut short, another format: the tracker looks again
        return None
    total = int(count.sum()) if count.dtype.kind == "i" and count.shape == (length,) and count.min() >= 0 else -1
    if (pixels.shape, world.shape, right.shape, score.shape) != ((total, 21, 2), (total, 21, 3), (total,), (total,)):
        return None
    every = iter(zip(pixels, world, right, score, strict=True))
    return [list(_next(every, n)) for n in count]


def _next(every: Iterator[tuple[np.ndarray, np.ndarray, np.bool_, np.float32]], number: int) -> Iterator[Sighting]:
    for _ in range(number):
        pixels, world, right, score = next(every)
        yield Sighting(pixels, world, bool(right), float(score))
