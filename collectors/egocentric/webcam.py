"""A webcam into a video file on an even clock: every instant shows the newest picture, late ones are shown again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dataengine.errors import SourceError
from dataengine.progress import Progress
from dataengine.video import Encoder, VideoClip, join

RATE = 30.0  # [Hz] where the camera does not say
SILENT = 5.0  # [s] without a picture after which a camera is given up
PIECE = 30.0  # [s] that a crash may lose


def record(device: str, folder: Path, seconds: float) -> Path:
    """Record from a camera, by its number or whatever OpenCV opens, into a new file of `folder`; the file.

    Ctrl-C ends the recording and keeps it; of one that was killed all but its last half minute is there, in pieces.
    Raises `SourceError` where no picture comes.
    """
    import cv2

    camera = cv2.VideoCapture(int(device) if device.isdigit() else device)
    try:
        if not camera.isOpened():
            raise SourceError(device, "cannot be opened as a camera", hint="is it plugged in, and used by nobody else?")
        return _record(camera, device, folder, seconds)
    finally:
        camera.release()


def _record(camera: Any, device: str, folder: Path, seconds: float) -> Path:
    import cv2

    said = camera.get(cv2.CAP_PROP_FPS)
    rate = said if 5 <= said <= 120 else RATE
    got, picture = camera.read()
    if not got:
        raise SourceError(device, "gives no picture")
    film = Film(folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.mp4", picture.shape[:2], rate)
    total = round(seconds * rate)
    begin = newest = time.monotonic()
    try:
        with Progress() as progress:
            advance = progress.counter("recording", total)
            while film.frames < total:
                due = min(int((time.monotonic() - begin) * rate) + 1, total)
                for _ in range(due - film.frames):
                    film.add(np.ascontiguousarray(picture[..., ::-1]))
                    advance(1)
                got, fresh = camera.read()
                if got and fresh.shape != picture.shape:  # it went into another mode: what was recorded is kept
                    break
                now = time.monotonic()
                picture, newest = (fresh, now) if got else (picture, newest)
                if now - newest > SILENT:
                    break
                if not got:
                    time.sleep(0.01)
    except KeyboardInterrupt:  # what was recorded is kept
        pass
    except BaseException:
        film.abort()
        raise
    return film.close()


class Film:
    """A video of which a crash loses one piece at most: those that are finished lie beside it, whole, and become one
    when it is closed."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        self.path, self.frames = path, 0
        self._size, self._rate = size, rate
        self._pieces: list[Path] = []
        self._encoder: Encoder | None = None

    def add(self, picture: np.ndarray) -> None:
        """`(H, W, 3)` uint8 RGB."""
        if self._encoder is None:
            self._pieces.append(self.path.with_stem(f"{self.path.stem}-{len(self._pieces) + 1:03d}"))
            self._encoder = Encoder(self._pieces[-1], *self._size, self._rate)
        self._encoder.add(picture)
        self.frames += 1
        if self._encoder.frames >= PIECE * self._rate:
            self._finish()

    def close(self) -> Path:
        self._finish()
        if len(self._pieces) == 1:
            self._pieces[0].rename(self.path)
            return self.path
        join([VideoClip.from_file(piece) for piece in self._pieces], self.path)
        for piece in self._pieces:
            piece.unlink()
        return self.path

    def abort(self) -> None:
        """Leaves the pieces that are finished."""
        if self._encoder is not None:
            self._encoder.abort()

    def _finish(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
