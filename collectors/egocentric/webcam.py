"""A webcam into a video file on an even clock: every instant shows the newest picture, late ones are shown again."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dataengine.errors import SourceError
from dataengine.progress import Progress
from dataengine.video import Encoder

RATE = 30.0  # [Hz] where the camera does not say
SILENT = 5.0  # [s] without a picture after which a camera is given up


def record(device: str, folder: Path, seconds: float) -> Path:
    """Record from a camera, by its number or whatever OpenCV opens, into a new file of `folder`; the file.

    Ctrl-C ends the recording and keeps it. Raises `SourceError` where no picture comes.
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
    target = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.mp4"
    encoder = Encoder(target, picture.shape[0], picture.shape[1], rate)
    total = round(seconds * rate)
    begin = newest = time.monotonic()
    with encoder, Progress() as progress:
        advance = progress.counter("recording", total)
        try:
            while encoder.frames < total:
                due = min(int((time.monotonic() - begin) * rate) + 1, total)
                for _ in range(due - encoder.frames):
                    encoder.add(np.ascontiguousarray(picture[..., ::-1]))
                    advance(1)
                got, fresh = camera.read()
                now = time.monotonic()
                picture, newest = (fresh, now) if got else (picture, newest)
                if now - newest > SILENT:
                    break
                if not got:
                    time.sleep(0.01)
        except KeyboardInterrupt:  # what was recorded is kept
            pass
        encoder.close()
    return target
