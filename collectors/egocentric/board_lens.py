"""The lens of a camera from a video of a board (Zhang 2000, OpenCV's), as a file that `--camera` reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from collectors.egocentric.board import PRINTED, Board, Marks
from collectors.egocentric.camera import Camera
from collectors.egocentric.footage import Footage
from dataengine.errors import SourceError

LOOKED = 150  # pictures that are searched, spread over the video
MOST, FEWEST = 40, 8  # views of the board that are used, spread over the video, and that are needed
APART = 0.01  # of the picture's longer side: corners of two views that differ less, on average, are one view
TILTED = np.deg2rad(15)  # between two views at least: parallel ones tell no focal length
WORST = 1.5  # [px] root mean square: what is not explained better is no pinhole with this distortion, or no such board


class Calibrated(NamedTuple):
    """error: root mean square of the corners [px]. views: of the board that were used."""

    camera: Camera
    error: float
    views: int


def lens_of(footage: Footage, board: Board) -> Calibrated:
    """Raises `SourceError` where the board is not seen often enough, or does not fit."""
    clip = footage.clip
    views = _views(footage, board)
    if len(views) < FEWEST:
        raise SourceError(
            footage.path,
            f"shows the board of {board.columns}x{board.rows} inner corners in {len(views)} different views; {FEWEST} "
            f"are needed: near and far, in every corner of the picture, tilted each way",
            hint=PRINTED if board.dictionary else "",
        )
    size = (clip.width, clip.height)
    error, matrix, bent, unsure, tilt = _fitted(views, board, size)
    # Views that are tilted too little fit well with any focal length, and say that they are sure of it: so do two
    # halves of them, each of another one.
    halves = [_fitted(views[start::2], board, size).matrix[0, 0] for start in (0, 1)]
    spread = float(max(unsure, abs(halves[0] - halves[1]) / 2 / matrix[0, 0]))
    if not (error < WORST and np.isfinite(matrix).all() and spread < 0.1 and tilt > TILTED):
        raise SourceError(
            footage.path,
            f"the board fits badly: {error:.2f} px off, focal length ±{spread:.1%}, tilted by {np.rad2deg(tilt):.0f}°. "
            f"Is it flat, has it {board.columns}x{board.rows} inner corners, and is it seen tilted each way?",
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
    return Calibrated(camera, error, len(views))


class _Fitted(NamedTuple):
    """error: as `Calibrated`. matrix: `(3, 3)`. unsure: standard deviation of the focal length, relative. tilt: largest
    angle [rad] between the board in two views."""

    error: float
    matrix: np.ndarray
    distortion: np.ndarray
    unsure: float
    tilt: float


def _fitted(views: list[Marks], board: Board, size: tuple[int, int]) -> _Fitted:
    import cv2

    flat, pixels = [board.corners[view.ids] for view in views], [view.pixels[:, None] for view in views]
    try:
        error, matrix, bent, turns, _, unsure, _, _ = cv2.calibrateCameraExtended(
            flat, pixels, size, np.eye(3), np.zeros(5)
        )
    except cv2.error:  # views that fit no camera at all
        return _Fitted(np.inf, np.eye(3), np.zeros(5), np.inf, 0.0)
    out = Rotation.from_rotvec(np.reshape(turns, (-1, 3))).as_matrix()[..., 2]
    tilt = float(np.arccos(np.clip(out @ out.T, -1, 1)).max())
    return _Fitted(float(error), matrix, bent, float(unsure[0, 0] / matrix[0, 0]), tilt)


def write_lens(lens: Calibrated, path: Path) -> None:
    """As YAML. Raises `SourceError` where the file cannot be written or is there already."""
    said = {**lens.camera.to_json(), "distortion": list(lens.camera.distortion)}
    text = f"# {lens.views} views of a board, corners {lens.error:.2f} px off\n"
    text += yaml.safe_dump(said, sort_keys=False)
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError as error:
        raise SourceError(path, "is there already", hint="remove it, or name another") from error
    except OSError as error:
        raise SourceError(path, f"cannot be written: {error}") from error


def _views(footage: Footage, board: Board) -> list[Marks]:
    """The corners of views that differ from each other, from the whole video."""
    import cv2

    clip, found = footage.clip, list[Marks]()
    every = max(1, clip.length // LOOKED)
    side = max(clip.width, clip.height)
    for number, picture in enumerate(clip.frames()):
        if number % every:
            continue
        seen = board.find(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        if seen is not None and all(_differ(seen, other) > APART * side for other in found):
            found.append(seen)
    return [found[at] for at in np.unique(np.linspace(0, len(found) - 1, min(MOST, len(found))).astype(int))]


def _differ(one: Marks, other: Marks) -> float:
    """[px], on average over the corners that both show; without any they differ."""
    _, mine, theirs = np.intersect1d(one.ids, other.ids, return_indices=True)
    return float(np.abs(one.pixels[mine] - other.pixels[theirs]).mean()) if len(mine) else np.inf
