"""The lens of a camera from a video of a chessboard (Zhang 2000, OpenCV's), as a file that `--camera` reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from collectors.egocentric.camera import Camera
from collectors.egocentric.footage import Footage
from dataengine.errors import ConfigError, SourceError

LOOKED = 150  # pictures that are searched, spread over the video
MOST, FEWEST = 25, 8  # views of the board that are used, that are needed
APART = 0.03  # of the picture's longer side: corners of two views that differ less, on average, are one view
LONGEST = 1280  # [px] of the picture's longer side that is searched first
WORST = 1.5  # [px] root mean square: what is not explained better is no pinhole with this distortion, or no such board


@dataclass(frozen=True)
class Board:
    """columns, rows: inner corners of a chessboard, where four squares meet. square: their size [m]; a lens does not
    depend on it."""

    columns: int
    rows: int
    square: float = 0.025

    def __post_init__(self) -> None:
        if not (3 <= self.columns <= 40 and 3 <= self.rows <= 40 and 0.001 <= self.square <= 1):
            raise ConfigError(
                f"a board has 3 to 40 inner corners each way and squares of 0.001 to 1 m, "
                f"not {self.columns}x{self.rows}:{self.square:g}"
            )

    @classmethod
    def said(cls, text: str) -> Board:
        """Of `9x6` or `9x6:0.025`. Raises `ConfigError`."""
        found = re.fullmatch(r"(\d{1,3})x(\d{1,3})(?::(\d*\.?\d+))?", text.strip().lower())
        if not found:
            raise ConfigError(f"a board is inner corners and squares in m, such as 9x6:0.025, not {text!r}")
        return cls(int(found[1]), int(found[2]), float(found[3] or 0.025))

    @property
    def corners(self) -> np.ndarray:
        """`(rows * columns, 3)` on the board [m]."""
        y, x = np.mgrid[: self.rows, : self.columns]
        flat = np.zeros((self.rows * self.columns, 3), np.float32)
        flat[:, :2] = np.stack([x, y], -1).reshape(-1, 2) * self.square
        return flat


class Calibrated(NamedTuple):
    """error: root mean square of the corners [px]. views: of the board that were used."""

    camera: Camera
    error: float
    views: int


def lens_of(footage: Footage, board: Board) -> Calibrated:
    """Raises `SourceError` where the board is not seen often enough, or does not fit."""
    import cv2

    clip = footage.clip
    views = _views(footage, board)
    if len(views) < FEWEST:
        raise SourceError(
            footage.path,
            f"shows all {board.columns}x{board.rows} inner corners in {len(views)} different views; {FEWEST} are "
            f"needed: near and far, in every corner of the picture, tilted each way",
        )
    flat = [board.corners] * len(views)
    error, matrix, bent, _, _, unsure, _, _ = cv2.calibrateCameraExtended(
        flat, views, (clip.width, clip.height), np.eye(3), np.zeros(5)
    )
    spread = float(unsure[0, 0] / matrix[0, 0])
    if not (error < WORST and np.isfinite(matrix).all() and spread < 0.1):
        raise SourceError(
            footage.path,
            f"the board fits badly: {error:.2f} px off, focal length ±{spread:.1%}. Is it flat, has it "
            f"{board.columns}x{board.rows} inner corners, and is it seen tilted each way?",
        )
    camera = Camera(
        width=clip.width,
        height=clip.height,
        fx=float(matrix[0, 0]),
        fy=float(matrix[1, 1]),
        cx=float(matrix[0, 2]),
        cy=float(matrix[1, 2]),
        distortion=tuple(np.ravel(bent).tolist()),
        spread=max(spread, 0.001),
    )
    return Calibrated(camera, float(error), len(views))


def write_lens(lens: Calibrated, path: Path) -> None:
    """As YAML. Raises `SourceError` where the file cannot be written or is there already."""
    said = {**lens.camera.to_json(), "distortion": list(lens.camera.distortion)}
    text = f"# {lens.views} views of a chessboard, corners {lens.error:.2f} px off\n"
    text += yaml.safe_dump(said, sort_keys=False)
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError as error:
        raise SourceError(path, "is there already", hint="remove it, or name another") from error
    except OSError as error:
        raise SourceError(path, f"cannot be written: {error}") from error


def _views(footage: Footage, board: Board) -> list[np.ndarray]:
    """`(N, 1, 2)` corners of each view that differs from the others."""
    import cv2

    clip, found = footage.clip, list[np.ndarray]()
    every = max(1, clip.length // LOOKED)
    side = max(clip.width, clip.height)
    for number, picture in enumerate(clip.frames()):
        if number % every or len(found) == MOST:
            continue
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        seen = _corners(grey, board)
        if seen is not None and all(np.abs(seen - other).mean() > APART * side for other in found):
            found.append(seen)
    return found


def _corners(grey: np.ndarray, board: Board) -> np.ndarray | None:
    import cv2

    size = (board.columns, board.rows)
    share = min(1.0, LONGEST / max(grey.shape))
    small = grey if share == 1 else cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    flags = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
    good, seen = cv2.findChessboardCorners(small, size, flags=flags)
    if not good:
        return None
    rough = ((np.asarray(seen).reshape(-1, 2) + 0.5) / share - 0.5).astype(np.float32)
    apart = np.linalg.norm(np.diff(rough.reshape(board.rows, board.columns, 2), axis=1), axis=2).min()
    reach = int(np.clip(0.3 * apart, 2, 15))  # no other corner within it
    steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-3)
    corners = np.ascontiguousarray(rough.reshape(-1, 1, 2))
    return cv2.cornerSubPix(grey, corners, (reach, reach), (-1, -1), steps)
