"""The lens of a camera from a video of a board (Zhang 2000, OpenCV's), as a file that `--camera` reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from collectors.egocentric.board import Board, Marks
from collectors.egocentric.camera import Camera
from collectors.egocentric.footage import Footage
from dataengine.errors import SourceError

LOOKED = 150  # pictures that are searched, spread over the video
MOST, FEWEST = 25, 8  # views of the board that are used, that are needed
APART = 0.03  # of the picture's longer side: corners of two views that differ less, on average, are one view
WORST = 1.5  # [px] root mean square: what is not explained better is no pinhole with this distortion, or no such board


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
            f"shows the board of {board.columns}x{board.rows} inner corners in {len(views)} different views; {FEWEST} "
            f"are needed: near and far, in every corner of the picture, tilted each way",
        )
    flat = [board.corners[view.ids] for view in views]
    error, matrix, bent, _, _, unsure, _, _ = cv2.calibrateCameraExtended(
        flat, [view.pixels[:, None] for view in views], (clip.width, clip.height), np.eye(3), np.zeros(5)
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
    """The corners of each view that differs from the others."""
    import cv2

    clip, found = footage.clip, list[Marks]()
    every = max(1, clip.length // LOOKED)
    side = max(clip.width, clip.height)
    for number, picture in enumerate(clip.frames()):
        if number % every or len(found) == MOST:
            continue
        seen = board.find(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        if seen is not None and all(_differ(seen, other) > APART * side for other in found):
            found.append(seen)
    return found


def _differ(one: Marks, other: Marks) -> float:
    """[px], on average over the corners that both show; without any they differ."""
    _, mine, theirs = np.intersect1d(one.ids, other.ids, return_indices=True)
    return float(np.abs(one.pixels[mine] - other.pixels[theirs]).mean()) if len(mine) else np.inf
