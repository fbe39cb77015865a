"""Single compressed pictures inside a data file: how large they say they are, and decoding them."""

from __future__ import annotations

import struct

import numpy as np

from dataengine.errors import MissingDependency

# Nothing a robot's camera makes; a header may claim 65,500 × 65,500 in a hundred bytes.
MAX_SIDE = 16384
_PNG = b"\x89PNG\r\n\x1a\n"


def picture_size(data: bytes) -> tuple[int, int]:
    """Height and width from the header of a JPEG or PNG. Raises `ValueError` for anything else."""
    if data[:8] == _PNG and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
    elif data[:2] == b"\xff\xd8":
        height, width = _jpeg_size(data)
    else:
        raise ValueError(f"is neither JPEG nor PNG, it begins with {data[:4].hex(' ') or 'nothing'}")
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ValueError(f"says it is {height}×{width} pixels; at most {MAX_SIDE} a side are read")
    return height, width


def decode(data: np.ndarray) -> np.ndarray:
    """`(H, W, 3)` uint8 exactly as `cv2.imdecode(data, 1)` gives it, that is blue first for an ordinary JPEG.

    data: `(n,)` uint8, may be padded with zeros. Raises `ValueError` when it cannot be decoded.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingDependency("opencv", extra="convert") from error
    picture_size(data[: 1 << 16].tobytes())
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded: {error}") from error
    if picture is None:
        raise ValueError("cannot be decoded: the picture is damaged")
    return picture


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments to the frame header (SOF0 to SOF15 without DHT, JPG and DAC), ITU T.81 annex B."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return height, width
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    raise ValueError("is a JPEG without a frame header")
