"""MediaPipe's hand landmarker as a tracker. Its model is a file that the user gives: `model`, or the environment's
DATAENGINE_HAND_MODEL, or the place where `fetch` has put it."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dataengine.doctor import require
from dataengine.errors import ConfigError, SourceError
from dataengine.plugins import Sighting

VARIABLE = "DATAENGINE_HAND_MODEL"
NAME = "hand_landmarker.task"
# The address that MediaPipe's guide gives, and what the file of version 1 (float16) has as its sha256.
ADDRESS = f"https://storage.googleapis.com/mediapipe-models/hand_landmarker/hand_landmarker/float16/1/{NAME}"
SHA256 = "fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1"
LARGEST = 64 << 20  # [bytes] of a model
LONGEST = 1280  # pixels of a picture's longer side; the model looks at 192 and then at 224 of them


@dataclass(frozen=True)
class MediaPipeHands:
    """model: path of `hand_landmarker.task`. hands: how many at most. detection, presence, tracking: confidences, 0 to
    1, below which no hand is found, believed, or followed from picture to picture. fetch: get the model once from the
    address in MediaPipe's guide where it is not here.

    Raises `ConfigError` for a model that is not here, and how to get it.
    """

    model: Path | None = None
    hands: int = 2
    detection: float = 0.5
    presence: float = 0.5
    tracking: float = 0.5
    fetch: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.hands <= 8:
            raise ConfigError(f"hands is 1 to 8, not {self.hands}")
        for name in ("detection", "presence", "tracking"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is 0 to 1, not {getattr(self, name)}")

    @cached_property
    def file(self) -> Path:
        """Where the model lies."""
        said = self.model or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
        if said is not None:
            if not said.is_file():
                raise ConfigError(f"the hand model {said} is not there")
            return said
        kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dataengine" / NAME
        if not kept.is_file():
            if not self.fetch:
                raise ConfigError(
                    f"the hand tracker needs MediaPipe's model {NAME} (8 MB, Apache-2.0): give its path as model=… or "
                    f"in {VARIABLE}, or say fetch=true to get it from {ADDRESS} into {kept.parent}"
                )
            _fetch(kept)
        return kept

    @cached_property
    def version(self) -> str:
        from importlib.metadata import version

        require("hands")
        said = f"{self.hands} {self.detection} {self.presence} {self.tracking}"
        return f"mediapipe {version('mediapipe')} {hashlib.sha256(_model(self.file)).hexdigest()[:16]} {said}"

    def track(self, pictures: Iterable[np.ndarray], fps: float) -> Iterator[list[Sighting]]:
        import mediapipe

        with _quiet():
            landmarker = _landmarker(self)
        with landmarker:
            for number, picture in enumerate(pictures):
                height, width = picture.shape[:2]
                image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=_smaller(picture))
                with nullcontext() if number else _quiet():
                    found = landmarker.detect_for_video(image, round(number * 1000 / fps))
                yield [
                    _sighting(*hand, width, height)
                    for hand in zip(found.hand_landmarks, found.hand_world_landmarks, found.handedness, strict=True)
                ]


def _model(file: Path) -> bytes:
    """What a file holds that looks like a model. Raises `SourceError`."""
    try:
        if file.stat().st_size > LARGEST:
            raise SourceError(file, f"is larger than {LARGEST >> 20} MiB and no hand model")
        if not zipfile.is_zipfile(file):
            raise SourceError(file, f"is no hand model, or cut short: {NAME} is a zip file of 8 MB", hint=ADDRESS)
        return file.read_bytes()
    except OSError as problem:
        raise SourceError(file, problem.strerror or str(problem)) from problem


def _landmarker(settings: MediaPipeHands) -> Any:
    from mediapipe.tasks.python import vision
    from mediapipe.tasks.python.core.base_options import BaseOptions

    file = settings.file
    options = vision.HandLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=_model(file)),
        running_mode=vision.RunningMode.VIDEO,
        num_hands=settings.hands,
        min_hand_detection_confidence=settings.detection,
        min_hand_presence_confidence=settings.presence,
        min_tracking_confidence=settings.tracking,
    )
    try:
        return vision.HandLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as problem:
        raise SourceError(file, f"is no hand model that MediaPipe reads: {problem}") from problem


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that MediaPipe's C++ writes to the terminal whatever it is told, when it starts."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _smaller(picture: np.ndarray) -> np.ndarray:
    """Halved as often as is needed: the model scales it down anyway, and far from so well."""
    import cv2

    side = max(picture.shape[:2])
    if side <= LONGEST:
        return np.ascontiguousarray(picture)
    scale = LONGEST / side
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _sighting(marks: Any, world: Any, sides: Any, width: int, height: int) -> Sighting:
    return Sighting(
        np.array([(mark.x * width - 0.5, mark.y * height - 0.5) for mark in marks], np.float32),
        np.array([(mark.x, mark.y, mark.z) for mark in world], np.float32),
        sides[0].category_name == "Right",
        float(sides[0].score),
    )


def _fetch(target: Path) -> None:
    """Get the model, whole and as it should be, or not at all."""
    import urllib.request

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with urllib.request.urlopen(ADDRESS, timeout=60) as answer:
            content = answer.read(LARGEST + 1)
    except OSError as problem:
        raise ConfigError(f"{ADDRESS} cannot be fetched: {problem}. Get it by hand and give model=PATH") from problem
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise ConfigError(f"{ADDRESS} gave another file than expected (sha256 {found}, not {SHA256}); it was not kept")
    partial.write_bytes(content)
    partial.replace(target)
