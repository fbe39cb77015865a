"""OpenCV's two face detectors. Neither has a model that is taken by default: which one finds enough faces is for the
user to judge, and `faces.sample` measures it.

A model is a stranger's file: it is tried in a process of its own first, where it may crash or hang.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dataengine.errors import ConfigError, MissingDependency, SourceError
from dataengine.guard import run_guarded

LARGEST = 64 << 20  # [bytes] of a model
TRIED = (96, 128)  # height and width of the picture that a model is tried on
SECONDS = 30.0  # for the trial
NO_MODEL = {
    "yunet": "the detector yunet needs its model, a file of the OpenCV Model Zoo (face_detection_yunet_….onnx, MIT): "
    "give its path as faces.model",
    "haar": "the detector haar needs a cascade, such as haarcascade_frontalface_default.xml of OpenCV (the folder "
    "cv2.data.haarcascades has it): give its path as faces.model",
}


@dataclass(frozen=True)
class YuNet:
    """YuNet (Wu, Peng & Yu 2023), a network of 75 000 weights. model: its ONNX file. score: below which nothing is a
    face, 0 to 1; lower finds more faces and more that are none. overlap: of two boxes from which on they are one face.
    longest: pixels of a picture's longer side that are looked at.

    Raises `ConfigError` without a model, `SourceError` for a file that is none.
    """

    model: Path | None = None
    score: float = 0.6
    overlap: float = 0.3
    longest: int = 1280

    def __post_init__(self) -> None:
        if not 0 < self.score < 1 or not 0 < self.overlap <= 1 or not 64 <= self.longest <= 8192:
            raise ConfigError(
                f"yunet: score={self.score} and overlap={self.overlap} are 0 to 1, longest={self.longest} 64 to 8192"
            )

    @cached_property
    def content(self) -> bytes:
        return _model(self.model, "yunet", _try_yunet)

    @cached_property
    def version(self) -> str:
        return _version("yunet", self.content, self.score, self.overlap, self.longest)

    @cached_property
    def network(self) -> Any:
        return _yunet(self.content, (self.longest, self.longest), self.score, self.overlap)

    def find(self, picture: np.ndarray) -> np.ndarray:
        """As `FaceDetector.find`; scores are 0 to 1."""
        small, scale = _smaller(picture, self.longest)
        with _opencv(self.model):
            self.network.setInputSize((small.shape[1], small.shape[0]))
            _, found = self.network.detect(np.ascontiguousarray(small[..., ::-1]))
        if found is None:
            return np.empty((0, 5), np.float32)
        return _edges(found[:, :4], found[:, 14], scale)


@dataclass(frozen=True)
class Haar:
    """A cascade of Haar-like features (Viola & Jones 2001): fast, and blind for faces that do not look at the camera.
    model: its XML file. scale: between two sizes that are tried. neighbours: how many hits make a face; fewer find more
    faces and more that are none. smallest: side of a face [px]. longest: as for YuNet.

    Raises `ConfigError` without a model, `SourceError` for a file that is none.
    """

    model: Path | None = None
    scale: float = 1.1
    neighbours: int = 4
    smallest: int = 20
    longest: int = 1280

    def __post_init__(self) -> None:
        if not 1.01 <= self.scale <= 2 or not 1 <= self.neighbours <= 100:
            raise ConfigError(f"haar: scale={self.scale} is 1.01 to 2, neighbours={self.neighbours} 1 to 100")
        if not 8 <= self.smallest <= 4096 or not 64 <= self.longest <= 8192:
            raise ConfigError(f"haar: smallest={self.smallest} is 8 to 4096, longest={self.longest} 64 to 8192")

    @cached_property
    def content(self) -> bytes:
        return _model(self.model, "haar", _try_haar)

    @cached_property
    def version(self) -> str:
        return _version("haar", self.content, self.scale, self.neighbours, self.smallest, self.longest)

    @cached_property
    def cascade(self) -> Any:
        return _haar(self.content)

    def find(self, picture: np.ndarray) -> np.ndarray:
        """As `FaceDetector.find`; a score is the number of hits."""
        import cv2

        small, scale = _smaller(picture, self.longest)
        with _opencv(self.model):
            grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
            smallest = (max(1, round(self.smallest * scale)),) * 2
            found, hits = self.cascade.detectMultiScale2(grey, self.scale, self.neighbours, minSize=smallest)
        return _edges(np.reshape(found, (-1, 4)), np.reshape(hits, -1), scale)


def _model(path: Path | None, name: str, attempt: Callable[[Path, bytes], None]) -> bytes:
    """The bytes of a model that works, read once, so that what was tried and hashed is what is used."""
    if path is None:
        raise ConfigError(NO_MODEL[name])
    if not path.is_file():
        raise ConfigError(f"faces.model: {path} is not there; {NO_MODEL[name]}")
    if path.stat().st_size > LARGEST:
        raise SourceError(path, f"is larger than {LARGEST >> 20} MiB and no model of faces")
    if importlib.util.find_spec("cv2") is None:
        raise MissingDependency("OpenCV", extra="hands")
    content = path.read_bytes()
    try:
        run_guarded(attempt, path, content, seconds=SECONDS)
    except SourceError as problem:
        raise SourceError(path, f"is no model that {name} of OpenCV can use: {problem.reason}") from problem
    return content


def _version(name: str, content: bytes, *said: float) -> str:
    import cv2

    digest = hashlib.sha256(content).hexdigest()[:16]
    return f"{name} OpenCV {cv2.__version__} {digest} {' '.join(f'{each:g}' for each in said)}"


def _try_yunet(path: Path, content: bytes) -> None:
    with _opencv(path):
        _, found = _yunet(content, TRIED[::-1], 0.01, 0.3).detect(_grain())
    if found is not None and (found.ndim != 2 or found.shape[1] != 15):
        raise SourceError(path, f"gives rows of {found.shape}, not of 15 numbers")


def _try_haar(path: Path, content: bytes) -> None:
    with _opencv(path):
        _haar(content).detectMultiScale2(_grain()[..., 0], 1.1, 1)


def _grain() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*TRIED, 3), np.uint8)


def _yunet(content: bytes, size: tuple[int, int], score: float, overlap: float) -> Any:
    import cv2

    nothing = np.empty(0, np.uint8)
    return cv2.FaceDetectorYN.create("onnx", np.frombuffer(content, np.uint8), nothing, size, score, overlap)


def _haar(content: bytes) -> Any:
    import cv2

    try:
        file = cv2.FileStorage(content.decode(), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        cascade = cv2.CascadeClassifier()
        read = cascade.read(file.getFirstTopLevelNode())
    except (cv2.error, SystemError, ValueError) as problem:  # SystemError: how OpenCV refuses what is no XML
        raise SourceError("cascade", "it is no XML file of OpenCV") from problem
    if not read or cascade.empty():
        raise SourceError("cascade", "it holds no cascade of the kind that OpenCV 2.4 and later train")
    return cascade


@contextmanager
def _opencv(path: Path | None) -> Iterator[None]:
    """Errors of OpenCV as ours, without its own file names."""
    import cv2

    try:
        yield
    except cv2.error as error:
        raise SourceError(str(path), f"OpenCV says: {error.err or error.msg or error}") from error


def _smaller(picture: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """The picture scaled down to `longest`, and by how much."""
    import cv2

    scale = min(1.0, longest / max(picture.shape[:2]))
    if scale == 1.0:
        return np.ascontiguousarray(picture), 1.0
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


def _edges(boxes: np.ndarray, scores: np.ndarray, scale: float) -> np.ndarray:
    """Left, top, width and height in the small picture as edges in the whole one, with their scores."""
    boxes = np.asarray(boxes, np.float32) / np.float32(scale)
    return np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:], scores]).astype(np.float32)
