"""The last session's first pictures: kept beside the store, shown over the live ones, compared with them.

A camera that was knocked, or light that has changed, makes a dataset of two halves; it is cheaper to see before.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dataengine.store import layout

FOLDER = f"{layout.PRIVATE}/framing"
SMALL = 32  # pixels a side of what is compared
MOST_BYTES = 1 << 26  # of a picture that is read


class Framing:
    """Of a store's folder. `reference`: the last session's first picture of every camera, by feature key."""

    def __init__(self, store: Path, cameras: Mapping[str, tuple[int, int]]) -> None:
        self.folder = store / FOLDER
        self.reference: dict[str, np.ndarray] = {}
        for key, size in cameras.items():
            picture = _read(self.folder / f"{key}.npy")
            if picture is not None and picture.shape == (*size, 3) and picture.dtype == np.uint8:
                self.reference[key] = picture
        self._small = {key: _small(picture) for key, picture in self.reference.items()}

    def drift(self, key: str, picture: np.ndarray) -> float | None:
        """How far framing and exposure are from the last session's, 0 the same to 1; None without one.

        The greater of the difference of brightness, as a share of half the range, and of what the pictures' patterns
        do not share, `(1 - correlation) / 2` doubled and capped.
        """
        if key not in self._small:
            return None
        one, other = _small(picture), self._small[key]
        exposure = abs(float(one.mean() - other.mean())) / 128
        a, b = one - one.mean(), other - other.mean()
        size = float(np.linalg.norm(a) * np.linalg.norm(b))
        alike = float((a * b).sum()) / size if size > 1e-6 else 1.0
        return float(np.clip(max(exposure, 1 - alike), 0, 1))

    def keep(self, pictures: Mapping[str, np.ndarray]) -> None:
        """For the next session. A folder that cannot be written costs only the comparison."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            for key, picture in pictures.items():
                part = self.folder / f".{key}-{time.time_ns()}.part"
                with part.open("wb") as file:
                    np.save(file, picture, allow_pickle=False)
                part.rename(self.folder / f"{key}.npy")


def _read(path: Path) -> np.ndarray | None:
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        with path.open("rb") as file:
            found: np.ndarray = np.load(file, allow_pickle=False)
            return found
    except (OSError, ValueError, EOFError):
        return None


def _small(picture: np.ndarray) -> np.ndarray:
    """Brightness `(SMALL, SMALL)` float32, each the mean of a block of pixels."""
    height, width = picture.shape[:2]
    rows = np.linspace(0, height, SMALL + 1).astype(int)[:-1]
    columns = np.linspace(0, width, SMALL + 1).astype(int)[:-1]
    grey = picture[..., 1].astype(np.float32)  # green alone: most of brightness, a third of the work
    summed = np.add.reduceat(np.add.reduceat(grey, rows, 0), columns, 1)
    counts = np.diff([*rows, height])[:, None] * np.diff([*columns, width])[None]
    return summed / counts
