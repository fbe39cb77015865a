"""Cameras of dtype "image": PNG or JPEG bytes inside the parquet table, as a lazily decoded clip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa

from converters.lerobot_rows import Rows, open_parquet
from dataengine.episode import Clip
from dataengine.errors import SourceError, StoreError
from dataengine.store.pictures import decode

_BATCH = 16
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class TablePictures(Clip):
    """One picture column over an episode's rows. Holds a place in a file, never pixels; reads a page
    of the column at a time (writers put up to 1024 pictures into one).

    Colour pictures come as `(H, W, 3)` uint8; depth as `(H, W, 1)` float32 in the stored unit (16-bit PNG:
    whole numbers, usually millimetres), which the mapping's `scale` brings to metres.
    """

    rows: Rows
    column: str
    fps: float
    height: int
    width: int
    kind: Literal["rgb", "depth"] = "rgb"

    @property
    def length(self) -> int:  # type: ignore[override]
        return len(self.rows)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for index, data in enumerate(self.encoded(start, stop), start):
            where = f"{self.rows.path.name}: {self.column!r}, frame {index}"
            self._check_size(picture_size(data, where), where)
            picture = _decode(data, where)
            self._check_size(picture.shape[:2], where)
            if self.kind == "depth":
                yield picture.reshape(self.height, self.width, -1)[..., :1].astype(np.float32)
            elif picture.ndim == 3:
                yield picture
            else:
                raise SourceError(where, "is a 16-bit depth picture; info.json does not mark the camera as a depth map")

    def encoded(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The stored bytes of each picture, in order."""
        stop = self.length if stop is None else min(stop, self.length)
        first, last, at = self.rows.start + start, self.rows.start + stop, 0
        if first >= last:
            return
        file = open_parquet(self.rows.path)
        try:
            for batch in file.iter_batches(
                _BATCH, row_groups=list(self.rows.groups), columns=[self.column], use_threads=False
            ):
                if at + len(batch) > first:
                    begin = max(at, first)
                    yield from self._bytes_of(batch.slice(begin - at, last - begin), begin)
                at += len(batch)
                if at >= last:
                    return
        except (pa.ArrowException, OSError) as problem:
            reason = str(problem).split("\n", 1)[0][:200]
            raise SourceError(self.rows.path, f"pictures of {self.column!r} are damaged: {reason}") from None
        raise SourceError(self.rows.path, f"pictures of {self.column!r} end after {at} of {last} rows")

    def slice(self, start: int, stop: int) -> TablePictures:
        return replace(self, rows=replace(self.rows, start=self.rows.start + start, stop=self.rows.start + stop))

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.kind.encode())
        for data in self.encoded():
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()

    def _bytes_of(self, batch: pa.RecordBatch, at: int) -> Iterator[bytes]:
        column = batch.column(0)
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
            column = column.field("bytes")
        if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
            raise SourceError(self.rows.path, f"{self.column!r} is declared as pictures and stored as {column.type}")
        for row, data in enumerate(column.to_pylist(), at):
            if not data:
                raise SourceError(
                    self.rows.path, f"{self.column!r}, row {row}: holds no picture; paths are not followed"
                )
            yield data

    def _check_size(self, size: tuple[int, ...] | None, where: str) -> None:
        if size is not None and size != (self.height, self.width):
            raise SourceError(where, f"is {size[0]}×{size[1]} pixels among pictures of {self.height}×{self.width}")


def first_size(rows: Rows, column: str) -> tuple[int, int]:
    """Height and width of an episode's first picture."""
    data = next(TablePictures(rows, column, 1.0, 0, 0).encoded(0, 1))
    where = f"{rows.path.name}: {column!r}, frame 0"
    size = picture_size(data, where)
    if size is None:
        size = (_decode(data, where).shape[0], _decode(data, where).shape[1])
    return size


def picture_size(data: bytes, where: str) -> tuple[int, int] | None:
    """Height and width that a PNG declares, before anything is allocated for it; None for other formats."""
    if not data.startswith(_PNG):
        return None
    if len(data) < 24 or data[12:16] != b"IHDR":
        raise SourceError(where, "is a damaged PNG picture")
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def _decode(data: bytes, where: str) -> np.ndarray:
    try:
        return decode(data, where)
    except StoreError as problem:
        raise SourceError(where, str(problem).removeprefix(where).strip()) from None
