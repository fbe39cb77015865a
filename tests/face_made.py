"""Faces for tests: red squares, a detector that finds them, trackers of hands, and all as an installed plugin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from hands_made import person
from scipy import ndimage

from dataengine.plugins import Sighting

RED = np.array([220, 30, 30], np.uint8)
POINTS = """
[dataengine.face_detectors]
red = face_made:RedFaces
haar = collectors.egocentric.opencv_faces:Haar
yunet = collectors.egocentric.opencv_faces:YuNet
[dataengine.hand_trackers]
waving = face_made:Waving
idle = face_made:Idle
"""


def install(folder: Path) -> Path:
    """What a plugin's distribution leaves on the path."""
    about = folder / "faces_made-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faces-made\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    return folder


@dataclass
class RedFaces:
    """Red is a face. every: it looks only at every so manieth picture, and misses those between."""

    every: int = 1
    looked: ClassVar[int] = 0

    @property
    def version(self) -> str:
        return f"red 1.0 {self.every}"

    def find(self, picture: np.ndarray) -> np.ndarray:
        type(self).looked += 1
        if (self.looked - 1) % self.every:
            return np.empty((0, 5), np.float32)
        parts, _ = ndimage.label((picture[..., 0] > 150) & (picture[..., 1:].max(2) < 110))
        found = [(at[1].start, at[0].start, at[1].stop, at[0].stop, 1.0) for at in ndimage.find_objects(parts)]
        return np.array([box for box in found if box[2] - box[0] >= 6], np.float32).reshape(-1, 5)


class Waving:
    """A right hand that goes round, in every picture."""

    version = "waving 2"

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        hand = person(1) * [1.0, -1.0, -1.0]
        for number, _ in enumerate(pictures):
            points = hand + np.array([0.05 * np.sin(number / fps * 3), 0.04 * np.cos(number / fps * 3), 0.5])
            pixels = points[:, :2] / points[:, 2:] * 60 + (31.5, 23.5)
            yield [Sighting(pixels.astype(np.float32), hand.astype(np.float32), True, 0.9)]


class Idle:
    """Sees no hand anywhere, which costs no time."""

    version = "idle 1"

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        for _ in pictures:
            yield []


def scene(count: int, first: int, last: int, side: int = 16, height: int = 96, width: int = 128) -> np.ndarray:
    """`(count, H, W, 3)` uint8: grey grain; from frame `first` to before `last` a red face with a white stripe across
    it moves right by a pixel each frame."""
    grain = np.random.default_rng(3).integers(80, 120, (height, width, 1), np.uint8).repeat(3, 2)
    frames = np.repeat(grain[None], count, 0)
    for frame in range(first, last):
        left = 30 + frame - first
        frames[frame, 40 : 40 + side, left : left + side] = RED
        frames[frame, 47:49, left + 4 : left + side - 4] = 250
    return frames


def place(frame: int, first: int, side: int = 16) -> tuple[slice, slice]:
    """Where the face is in that frame of the scene."""
    left = 30 + frame - first
    return slice(40, 40 + side), slice(left, left + side)
