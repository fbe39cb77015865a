"""How large a hand is, from what measures metres: a depth camera, a second camera, or a board of known size beside it.

Each says where the landmarks of the palm are in some frames. A hand seen by one camera is as far away as it is large;
so what a hand of the usual size would have to be multiplied by, to be where it was measured to be, is its size. One
number for a clip, the median over its frames; how far single frames are from it is how far single distances are off.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from collectors.egocentric.camera import Camera
from collectors.egocentric.depth import SKIN_SPREAD, palm_depths
from collectors.egocentric.footage import Footage
from collectors.egocentric.identity import Tracks
from collectors.egocentric.metric import FEWEST, SHAPE_SPREAD, calibrate, lift
from collectors.egocentric.over_board import OverBoard, palm_distances_over
from collectors.egocentric.settings import EgoSettings
from collectors.egocentric.stereo import beside, palm_distances, stereo_of
from dataengine import hands
from dataengine.plugins import HandTracker

MOST = 240  # frames of a clip that are measured, spread over it
AGREE = 3  # landmarks of a palm that say how far away it is
SIZES = (0.6, 1.6)  # times the usual: no hand is smaller or larger
TOGETHER = 5.0  # frames that err alike


class Sized(NamedTuple):
    """size: wrist to middle knuckle, and sigma: its standard deviation, that of the palm's shape included [m]. spread:
    relative standard deviation of the distance in single frames, of which the shape is none: a palm that is longer than
    it looks is as far away as it was measured to be. frames: that measured it. source: what with."""

    size: float
    sigma: float
    spread: float
    frames: int
    source: str

    def to_json(self) -> dict[str, Any]:
        return {"from": self.source, "sigma_m": round(self.sigma, 4), "frames": self.frames}


def sizes(
    footage: Footage,
    tracks: Tracks,
    camera: Camera,
    settings: EgoSettings,
    tracker: HandTracker,
    over: OverBoard | None = None,
) -> dict[str, Sized]:
    """By side, of the hands that could be measured, by what the settings name. over: the board that is seen. Raises
    `SourceError`."""
    found: dict[str, Sized | None] = {}
    for side in () if settings.hand_size else settings.sides:
        pixels = tracks.pixels[hands.SIDES.index(side)].astype(float)
        frames = _some(pixels)
        if not len(frames):
            continue
        if settings.depth:
            measured = palm_depths(beside(footage.path, settings.depth, "depth"), footage, pixels, frames)
            there = np.isfinite(measured)
            skin = SKIN_SPREAD / float(np.median(measured[there])) if there.any() else 0.0
            found[side] = sized(tracks, side, camera, measured, "depth", skin)
        elif settings.stereo:
            measured = palm_distances(stereo_of(settings.stereo), footage, pixels, side, camera, tracker)
            found[side] = sized(tracks, side, camera, measured, "stereo")
        elif over is not None:
            world = tracks.world[hands.SIDES.index(side)].astype(float)
            measured, unsure = palm_distances_over(
                over, camera.rays(pixels), world, right=side == "right", fps=footage.clip.fps
            )
            found[side] = sized(tracks, side, camera, measured, "board", unsure)
    return {side: each for side, each in found.items() if each is not None}


def _some(pixels: np.ndarray) -> np.ndarray:
    """Numbers of at most `MOST` frames `(N,)` that show a hand, spread over the clip. pixels: `(T, 21, 2)`."""
    seen = np.flatnonzero(np.isfinite(pixels).all((1, 2)))
    return seen[np.unique(np.linspace(0, len(seen) - 1, min(MOST, len(seen))).astype(int))] if len(seen) else seen


def sized(
    tracks: Tracks, side: str, camera: Camera, measured: np.ndarray, source: str, unsure: float = 0.0
) -> Sized | None:
    """Of one hand; None where too few frames are measured. measured: `(T, 6)` distances from the camera's plane [m] of
    the landmarks of the palm, NaN where they are not. unsure: relative standard deviation of all of them together."""
    place, right = hands.SIDES.index(side), side == "right"
    pixels, world = tracks.pixels[place].astype(float), tracks.world[place].astype(float)
    enough = np.isfinite(measured).sum(1) >= AGREE
    if enough.sum() < FEWEST:
        return None
    rays = camera.rays(pixels)
    palm = calibrate(rays, world, right=right, size=hands.SIZE)
    told = lift(rays[enough], world[enough], palm).points[:, list(hands.PALM), 2]
    ratio = np.nanmedian(measured[enough] / told, axis=1)
    ratio = ratio[(ratio > SIZES[0]) & (ratio < SIZES[1])]
    if len(ratio) < FEWEST:
        return None
    middle = float(np.median(ratio))
    spread = 1.4826 * float(np.median(np.abs(ratio - middle))) / middle
    sigma = float(np.hypot(1.2533 * spread * np.sqrt(TOGETHER / len(ratio)), unsure))  # of a median
    size = hands.SIZE * middle
    return Sized(size, size * float(np.hypot(sigma, SHAPE_SPREAD)), float(np.hypot(spread, sigma)), len(ratio), source)
