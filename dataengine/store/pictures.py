"""Pictures that stand in the table (dtype "image"): PNG written, PNG, JPEG and plain TIFF read, by PyAV."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pyarrow as pa
from av.video.codeccontext import VideoCodecContext

from dataengine.episode import Clip
from dataengine.errors import StoreError
from dataengine.store.rows import read_rows
from dataengine.store.tiff import decode_tiff

_MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "mjpeg", b"II*\0": "tiff", b"MM\0*": "tiff"}
_DEEP: dict[str, np.dtype[Any]] = {"gray16le": np.dtype("<u2"), "gray16be": np.dtype(">u2")}


def encode_png(frame: np.ndarray) -> bytes:
    """A `(H, W, 3)` uint8 picture as PNG, without loss."""
    codec = av.CodecContext.create("png", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = frame.shape[1], frame.shape[0], "rgb24"
    codec.time_base = Fraction(1)
    packets = codec.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")) + codec.encode(None)
    return b"".join(bytes(packet) for packet in packets)


def decode(data: bytes, where: str) -> np.ndarray:
    """`(H, W, 3)` uint8 RGB, or `(H, W)` in a depth picture's own 16-bit or float numbers.

    Raises `StoreError` naming `where` for anything that is not one whole PNG, JPEG or TIFF.
    """
    name = next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)
    if name is None:
        raise StoreError(f"{where} is not a PNG, JPEG or TIFF picture")
    try:
        if name == "tiff":
            return decode_tiff(data)
        codec = av.CodecContext.create(name, "r")
        assert isinstance(codec, VideoCodecContext)
        frame = (codec.decode(av.Packet(data)) or codec.decode(None))[0]
        if frame.format.name in _DEEP:
            kind, plane = _DEEP[frame.format.name], frame.planes[0]
            numbers = np.frombuffer(bytes(plane), kind).reshape(frame.height, plane.line_size // kind.itemsize)
            return numbers[:, : frame.width].astype(kind.newbyteorder("="))
        return frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise StoreError(f"{where} cannot be decoded: {error}") from error


@dataclass(frozen=True)
class PictureClip(Clip):
    """One camera of one episode, kept as pictures in rows `row` to `row + length` of a data file.

    unit: what a depth picture's numbers are, "m" or "mm".
    """

    path: Path
    key: str
    row: int
    length: int
    fps: float
    height: int
    width: int
    kind: Literal["rgb", "depth"] = "rgb"
    unit: str = "mm"

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        stop = self.length if stop is None else min(stop, self.length)
        for first in range(start, stop, 64):
            count = min(64, stop - first)
            cells = _cells(self.path, self.key, self.row + first, count)
            for offset, cell in enumerate(cells.field("bytes")):
                yield self._decode(cell.as_py(), first + offset)

    def slice(self, start: int, stop: int) -> PictureClip:

        return replace(self, row=self.row + start, length=stop - start)

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for first in range(0, self.length, 64):
            for cell in _cells(self.path, self.key, self.row + first, min(64, self.length - first)).field("bytes"):
                digest.update(hashlib.sha256(cell.as_py() or b"").digest())
        return digest.hexdigest()

    def _decode(self, data: bytes | None, frame: int) -> np.ndarray:
        where = f"{self.path.name}: {self.key!r}, row {self.row + frame}"
        if not data:
            raise StoreError(f"{where} holds no picture (a path beside the table is not followed)")
        picture = decode(data, where)
        if picture.shape[:2] != (self.height, self.width):
            raise StoreError(f"{where} is {picture.shape[0]}×{picture.shape[1]}, declared {self.height}×{self.width}")
        if self.kind == "rgb":
            if picture.ndim == 2:
                raise StoreError(f"{where} is a depth picture, but the camera is not marked as one")
            return picture
        plane = picture if picture.ndim == 2 else picture[..., 0]
        return plane[..., None].astype(np.float32) * np.float32(0.001 if self.unit == "mm" else 1.0)


def _cells(path: Path, key: str, row: int, count: int) -> pa.StructArray:
    return _cells_of(path, path.stat().st_mtime_ns if path.exists() else 0, key, row, count)


@lru_cache(maxsize=16)
def _cells_of(path: Path, changed: int, key: str, row: int, count: int) -> pa.StructArray:
    column = read_rows(path, row, count, [key]).column(key).combine_chunks()
    return column.storage if isinstance(column, pa.ExtensionArray) else column
