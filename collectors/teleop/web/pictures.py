"""Live pictures for pages: the newest of every camera, a JPEG made once for all, and only if one looks."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

LIVE, REFERENCE = 1, 2
_HEAD = struct.Struct("<BBxxId")  # kind, length of the name, number, when it was seen [ms]


@dataclass(frozen=True)
class Preview:
    """How pages see the cameras; recorded pictures know nothing of it. rate: at most, a second and camera. quality: of
    the JPEG, 1 to 100. width: wider pictures are made smaller by a whole factor, so that it costs next to nothing."""

    rate: float = 30.0
    quality: int = 80
    width: int = 960


@dataclass
class Picture:
    """number: counts up per camera. seen: when it was first found in the session, monotonic [ms]."""

    number: int
    seen: float
    pixels: np.ndarray
    jpeg: bytes | None = None


@dataclass
class Pictures:
    """A picture is new when the session gives another array than before; arrays are never written to again."""

    preview: Preview = field(default_factory=Preview)
    newest: dict[str, Picture] = field(default_factory=dict)

    def take(self, pixels: Mapping[str, np.ndarray]) -> None:
        """Look at what the session has now; encodes nothing."""
        now = clock()
        for key in self.newest.keys() - pixels.keys():
            del self.newest[key]
        for key, array in pixels.items():
            last = self.newest.get(key)
            if last is not None and (last.pixels is array or now - last.seen < 850 / self.preview.rate):
                continue
            self.newest[key] = Picture(last.number + 1 if last else 1, now, array)

    def message(self, key: str) -> tuple[int, bytes]:
        """Number and bytes of the newest picture of a camera, as a page takes it."""
        picture = self.newest[key]
        if picture.jpeg is None:
            picture.jpeg = encode(picture.pixels, self.preview)
        return picture.number, _message(LIVE, key, picture.number, picture.seen, picture.jpeg)


def reference(pixels: Mapping[str, np.ndarray], preview: Preview) -> list[bytes]:
    """The last session's pictures, as a page takes them."""
    return [_message(REFERENCE, key, 0, 0.0, encode(array, preview)) for key, array in pixels.items()]


def encode(pixels: np.ndarray, preview: Preview) -> bytes:
    """JPEG of `(H, W, 3)` uint8 RGB; empty for what cannot be encoded, which a page shows as no picture."""
    import cv2  # a third of a second to import: only when somebody looks

    try:
        factor = max(1, -(-pixels.shape[1] // preview.width))
        small = np.ascontiguousarray(pixels[::factor, ::factor])
        done, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, preview.quality]
        )
    except (cv2.error, IndexError, TypeError, ValueError):
        logging.getLogger(__name__).exception("a picture of shape %s cannot be shown", np.shape(pixels))
        return b""
    return jpeg.tobytes() if done else b""


def clock() -> float:
    """The server's clock as pages know it [ms]."""
    return time.monotonic() * 1000


def _message(kind: int, key: str, number: int, seen: float, jpeg: bytes) -> bytes:
    name = key.encode()[:255]
    return _HEAD.pack(kind, len(name), number % 2**32, seen) + name + jpeg
