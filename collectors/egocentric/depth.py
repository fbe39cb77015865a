"""Distances of a palm from a depth camera whose pictures lie over those of the video.

A folder beside the video holds one PNG of 16 bits for each of its pictures, named by its number from 000000.png on; a
pixel is the distance from the camera's plane in mm, 0 where it was not measured. They show what the video's pixels
show, as they are stored; they may be larger or smaller, and some may be missing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from collectors.egocentric.footage import LARGEST, Footage, Seen
from dataengine import hands
from dataengine.errors import SourceError

SKIN, SKIN_SPREAD = 0.010, 0.005  # [m] from the skin to where a tracker puts the joints of a palm
AROUND = 0.06  # palm lengths around a landmark that are looked at
EDGE = 0.03  # [m] between the quarters of what is there: more is an edge, or something before the hand
RANGE = (0.08, 5.0)  # [m]


def palm_depths(folder: Path, footage: Footage, pixels: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """`(T, 6)` of the landmarks of the palm [m], NaN where they were not measured. pixels: `(T, 21, 2)` in the video's
    pictures. frames: which of them to look at. Raises `SourceError`."""
    if not folder.is_dir():
        raise SourceError(folder, "is not there: it holds the distances of each picture, 000000.png and so on")
    clip = footage.clip
    if isinstance(clip, Seen) and (clip.turns or clip.mirrored):
        raise SourceError(footage.path, "is turned, and its distances are not: store it upright")
    found: np.ndarray = np.full((len(pixels), 6), np.nan)
    seen = 0
    for frame in frames.tolist():
        number = clip.order[frame] if isinstance(clip, Seen) else frame
        path = folder / f"{number:06d}.png"
        if path.exists():
            picture, seen = _read(path, folder), seen + 1
            marks = pixels[frame, list(hands.PALM)]
            scale = np.array(picture.shape[::-1]) / (clip.width, clip.height)
            found[frame] = _around((marks + 0.5) * scale - 0.5, picture)
    if not seen and len(frames):
        raise SourceError(folder, f"has none of the {len(frames)} pictures looked for, such as {frames[0]:06d}.png")
    return found


def _around(marks: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """`(6,)` [m] of the joints under the skin at these pixels `(6, 2)`."""
    reach = max(1, round(AROUND * float(np.linalg.norm(marks[3] - marks[0]))))
    found = np.full(len(marks), np.nan)
    for which, (x, y) in enumerate(np.rint(marks).astype(int).tolist()):
        if 0 <= y < picture.shape[0] and 0 <= x < picture.shape[1]:
            near = picture[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] / 1000.0
            near = near[(near > RANGE[0]) & (near < RANGE[1])]
            if near.size >= 5:
                low, middle, high = np.percentile(near, [25, 50, 75])
                found[which] = middle + SKIN if high - low < EDGE else np.nan
    return found


def _read(path: Path, folder: Path) -> np.ndarray:
    """`(H, W)` mm."""
    from PIL import Image

    if not path.resolve().is_relative_to(folder.resolve()):
        raise SourceError(path, "leads out of its folder")
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > LARGEST:
                raise SourceError(path, f"is {image.width}×{image.height}; {LARGEST} pixels are the most")
            if not image.mode.startswith("I"):
                raise SourceError(path, f"has pixels of the kind {image.mode}, not numbers of 16 bits: mm")
            return np.asarray(image).astype(np.float32)
    except SourceError:
        raise
    except Exception as error:  # PIL raises many kinds
        raise SourceError(path, f"is no picture that can be read: {error}") from error
