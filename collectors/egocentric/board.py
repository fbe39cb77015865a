"""A printed board of squares whose size is known, and where a picture shows its corners.

A chessboard is found as a whole or not at all, and looks the same when it is turned round; a ChArUco board
(Garrido-Jurado et al. 2014, OpenCV's) may be half hidden by a hand, and says which way up it is.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from dataengine.errors import ConfigError

LONGEST, FINER = 1280, 1920  # [px] of the picture's longer side that is searched for squares, for markers
FEWEST = 6  # corners of a ChArUco board that say where it is
PRINTED = "a ChArUco board with a marker in its first corner, as OpenCV printed them before 4.6, ends in :legacy"
FORMS = "9x6:0.025 (inner corners, squares in m) or charuco:10x7:0.025:0.018:4x4_50 (squares, squares and markers in m)"
_CHESS = re.compile(r"(\d{1,3})x(\d{1,3})(?::(\d*\.?\d+))?")
_CHARUCO = re.compile(
    r"charuco:(\d{1,3})x(\d{1,3}):(\d*\.?\d+):(\d*\.?\d+):([4-7]x[4-7]_(?:50|100|250|1000))(:legacy)?"
)


class Marks(NamedTuple):
    """Corners that a picture shows. ids: `(N,)` rows of `Board.corners`. pixels: `(N, 2)`."""

    ids: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class Board:
    """columns, rows: inner corners, where four squares meet. square: their size [m]; None where nobody said it: a lens
    does not depend on it. marker, dictionary: of a ChArUco board [m]. legacy: with an even number of rows of squares it
    has a marker in its first corner, as OpenCV printed it before 4.6 and others do still."""

    columns: int
    rows: int
    square: float | None = None
    marker: float | None = None
    dictionary: str | None = None
    legacy: bool = False

    def __post_init__(self) -> None:
        if not (3 <= self.columns <= 40 and 3 <= self.rows <= 40 and 0.001 <= self.side <= 1):
            raise ConfigError(
                f"a board has 3 to 40 inner corners each way and squares of 0.001 to 1 m, "
                f"not {self.columns}x{self.rows}:{self.side:g}"
            )
        if self.marker is not None and not 0.2 * self.side <= self.marker < self.side:
            raise ConfigError(f"a ChArUco board's markers are smaller than its squares, not {self.marker:g} m")
        if self.dictionary is not None and (self.columns + 1) * (self.rows + 1) // 2 > int(self.dictionary[4:]):
            raise ConfigError(f"a ChArUco board of that size has more markers than the dictionary {self.dictionary}")

    @classmethod
    def said(cls, text: str) -> Board:
        """Of `9x6`, `9x6:0.025` or `charuco:10x7:0.025:0.018:4x4_50`. Raises `ConfigError`."""
        text = str(text).strip().lower()
        if found := _CHESS.fullmatch(text):
            return cls(int(found[1]), int(found[2]), float(found[3]) if found[3] else None)
        if found := _CHARUCO.fullmatch(text):
            return cls(int(found[1]) - 1, int(found[2]) - 1, float(found[3]), float(found[4]), found[5], bool(found[6]))
        raise ConfigError(f"a board is such as {FORMS}, not {text!r}")

    @property
    def symmetric(self) -> bool:
        """Whether it looks the same turned round by half."""
        return self.dictionary is None

    @property
    def side(self) -> float:
        """[m]"""
        return 0.025 if self.square is None else self.square

    @property
    def corners(self) -> np.ndarray:
        """`(rows * columns, 3)` float32 [m], row by row: x along a row, y from the last row to the first, z out of the
        board to who looks at it; the origin is in the middle of them."""
        y, x = np.mgrid[: self.rows, : self.columns]
        flat = np.zeros((self.rows * self.columns, 3), np.float32)
        flat[:, 0] = (x.ravel() - (self.columns - 1) / 2) * self.side
        flat[:, 1] = ((self.rows - 1) / 2 - y.ravel()) * self.side
        return flat

    def find(self, grey: np.ndarray) -> Marks | None:
        """The corners that a picture `(H, W)` uint8 shows; None where it shows no such board."""
        return self._chess(grey) if self.symmetric else self._charuco(grey)

    def _charuco(self, grey: np.ndarray) -> Marks | None:
        small, share = _searched(grey, FINER)
        corners, ids, _, _ = _detector(self).detectBoard(small)
        if ids is None or len(ids) < FEWEST:
            return None
        ids = np.ravel(ids)
        if any(np.bincount(line).max() > len(ids) - 2 for line in (ids // self.columns, ids % self.columns)):
            return None  # a line of corners, or one and a single corner beside it, is no plane
        free = 0.4 * (1 - float(self.marker or 0) / self.side)  # up to the markers' own corners
        # OpenCV 4.13 gives these corners with the first pixel's centre at 0.5.
        return Marks(ids, _exact(grey, np.asarray(corners).reshape(-1, 2) / share - 0.5, free))

    def _chess(self, grey: np.ndarray) -> Marks | None:
        import cv2

        size = (self.columns, self.rows)
        small, share = _searched(grey, LONGEST)
        flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
        good, seen = cv2.findChessboardCorners(small, size, flags=flags)
        if not good:
            return None
        rough = (np.asarray(seen).reshape(-1, 2) + 0.5) / share - 0.5
        return Marks(np.arange(len(rough)), _exact(grey, rough, 0.3))


def _searched(grey: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """What is searched of a picture, and its size over that of the picture."""
    import cv2

    share = min(1.0, longest / max(grey.shape))
    return (grey if share == 1 else cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)), share


def _exact(grey: np.ndarray, rough: np.ndarray, free: float) -> np.ndarray:
    """Corners `(N, 2)` put right by the edges around them. free: of a square, in which nothing else has edges."""
    import cv2

    reach = int(np.clip(free * pdist(rough).min(), 2, 15))
    steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-3)
    corners = np.ascontiguousarray(rough.reshape(-1, 1, 2), np.float32)
    return np.asarray(cv2.cornerSubPix(grey, corners, (reach, reach), (-1, -1), steps)).reshape(-1, 2)


@functools.cache
def _detector(board: Board) -> Any:
    import cv2

    words = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{board.dictionary}".upper()))
    printed = cv2.aruco.CharucoBoard((board.columns + 1, board.rows + 1), board.side, float(board.marker or 0), words)
    printed.setLegacyPattern(board.legacy)
    return cv2.aruco.CharucoDetector(printed)
