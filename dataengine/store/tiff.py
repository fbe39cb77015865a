"""Uncompressed TIFF of one channel: how LeRobot keeps single depth pictures (TIFF 6.0, sections 2 and 8).

FFmpeg reads 16-bit ones but knows no floats. Everything else in TIFF is refused.
"""

from __future__ import annotations

import struct

import numpy as np

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _COUNTS, _FORMAT = 256, 257, 258, 259, 273, 277, 279, 339
_SIZES = {3: "H", 4: "I"}
_KINDS = {(16, 1): "u2", (32, 3): "f4", (64, 3): "f8", (32, 1): "u4"}
MAX_PIXELS = 1 << 26


def decode_tiff(data: bytes) -> np.ndarray:
    """`(H, W)` numbers as they are stored. Raises `ValueError` for anything but one plain, uncompressed channel."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise ValueError("it is no TIFF")
    try:
        tags = _tags(data, order)
        width, height, bits = tags[_WIDTH][0], tags[_HEIGHT][0], tags[_BITS][0]
        offsets, counts = tags[_OFFSETS], tags[_COUNTS]
    except (struct.error, KeyError, IndexError) as error:
        raise ValueError(f"its header is incomplete: {error}") from error
    kind = _KINDS.get((bits, tags.get(_FORMAT, (1,))[0]))
    if tags.get(_COMPRESSION, (1,))[0] != 1 or tags.get(_SAMPLES, (1,))[0] != 1 or kind is None:
        raise ValueError("only uncompressed pictures of one channel of 16-bit or float numbers are read")
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"it declares {width}×{height} pixels")
    strips = b"".join(data[offset : offset + count] for offset, count in zip(offsets, counts, strict=False))
    dtype = np.dtype(kind).newbyteorder(order)  # type: ignore[arg-type]
    if len(strips) != width * height * dtype.itemsize:
        raise ValueError(f"it holds {len(strips)} bytes of pixels, {width}×{height} need more or fewer")
    return np.frombuffer(strips, dtype).reshape(height, width).astype(dtype.newbyteorder("="))


def _tags(data: bytes, order: str) -> dict[int, tuple[int, ...]]:
    """Whole-number tags of the first picture."""
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    found = {}
    for entry in range(count):
        at = start + 2 + 12 * entry
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, at)
        if kind not in _SIZES or number > len(data):
            continue
        layout = f"{order}{number}{_SIZES[kind]}"
        inline = struct.calcsize(layout) <= 4
        (place,) = (at + 8,) if inline else struct.unpack_from(f"{order}I", data, at + 8)
        found[tag] = struct.unpack_from(layout, data, place)
    return found
