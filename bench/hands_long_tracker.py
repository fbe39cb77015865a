"""A hand tracker for `bench/hands_long.py`: fast, the same every time, and the end of its process on a marked video.

Every picture is decoded as for any tracker; its mean brightness moves two hands, so a picture that is lost or shown
twice changes what is seen. What it looked at it writes, a line when a piece begins and one when it ends, into the file
that HANDS_LONG_LOG names.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from hands_made import person

from dataengine.plugins import Sighting

LOG = "HANDS_LONG_LOG"
MARK = (255, 0, 255)  # a video whose first picture is of this colour takes its process down
FOCAL, AWAY = 580.0, 0.5  # [pixels], [m]


class Steady:
    """Both hands in every picture, which go round before the camera."""

    version = "steady 1"

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        shapes = [person(1, right=right) * [1.0, -1.0, -1.0] for right in (False, True)]
        _note("begin", 0)
        count = 0
        for count, picture in enumerate(pictures, 1):
            if count == 1 and np.abs(picture.mean((0, 1)) - MARK).max() < 20:
                os.kill(os.getpid(), signal.SIGKILL)
            yield [_seen(hand, side, count / fps, picture) for side, hand in enumerate(shapes)]
        _note("end", count)


def _seen(hand: np.ndarray, side: int, time: float, picture: np.ndarray) -> Sighting:
    height, width = picture.shape[:2]
    bright = float(picture[::16, ::16].mean()) / 255
    about = [0.12 * (2 * side - 1) + 0.05 * np.sin(3 * time), 0.05 * np.cos(3 * time), AWAY + 0.05 * bright]
    points = hand + about
    pixels = points[:, :2] / points[:, 2:] * FOCAL + ((width - 1) / 2, (height - 1) / 2)
    world = (hand - hand.mean(0)).astype(np.float32)
    return Sighting(pixels.astype(np.float32), world, bool(side), 0.9)


def _note(what: str, frames: int) -> None:
    if path := os.environ.get(LOG):
        line = json.dumps({"what": what, "frames": frames, "process": os.getpid()}) + "\n"
        with Path(path).open("a") as file:
            file.write(line)
