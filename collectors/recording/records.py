"""The records of an MCAP file from outside, as far as it is whole: one by one, in bounded memory, by checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, Message
from mcap.writer import MCAP0_MAGIC

MOST_BYTES = 64 << 20  # of one record
MOST_TORN = 1 << 18  # what the last write of a killed process has left of a record; more is damage
_KNOWN = frozenset(opcode.value for opcode in Opcode)


def records(path: Path) -> Iterator[Any]:
    """Attachments, channels and messages in order, as far as the file is whole. Raises `ValueError` and the like where
    it is not merely torn."""
    with path.open("rb") as file:
        left = path.stat().st_size - len(MCAP0_MAGIC)
        if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
            raise ValueError("it does not begin as MCAP")
        while left >= 9:
            opcode, length = struct.unpack("<BQ", file.read(9))
            left -= 9
            if opcode not in _KNOWN:
                if opcode == length == 0 and not any(file.read(MOST_TORN)):  # blocks that were never written
                    return
                raise ValueError(f"there is no record {opcode}")
            if opcode == Opcode.DATA_END and length == 4:
                return
            if length > MOST_BYTES:
                raise ValueError(f"a record has {length} bytes, {MOST_BYTES} are the most")
            if length > left:
                if left > MOST_TORN or _closed(path):
                    raise ValueError(f"a record of {length} bytes does not fit into {left}")
                return
            content = file.read(length)
            left -= length
            if opcode == Opcode.ATTACHMENT:
                if zlib.crc32(content[:-4]) != int.from_bytes(content[-4:], "little"):
                    raise ValueError("an attachment is not what was written")
                yield Attachment.read(_stream(content))
            elif opcode == Opcode.CHUNK:
                yield from _messages(Chunk.read(_stream(content)))


def _closed(path: Path) -> bool:
    """Whether the file was written to its end, so that nothing in it can be torn."""
    with path.open("rb") as file:
        file.seek(-len(MCAP0_MAGIC), 2)
        return file.read() == MCAP0_MAGIC


def _messages(chunk: Chunk) -> Iterator[Any]:
    if chunk.compression:
        raise ValueError(f"a chunk is compressed ({chunk.compression[:20]!r}); a recorder does not do that")
    if zlib.crc32(chunk.data) != chunk.uncompressed_crc:
        raise ValueError("a chunk is not what was written")
    at = 0
    while at + 9 <= len(chunk.data):
        opcode, length = struct.unpack_from("<BQ", chunk.data, at)
        content = chunk.data[at + 9 : at + 9 + length]
        at += 9 + length
        if len(content) != length:
            raise ValueError("a message runs over the end of its chunk")
        if opcode == Opcode.MESSAGE:
            yield Message.read(_stream(content), length)
        elif opcode == Opcode.CHANNEL:
            yield Channel.read(_stream(content))


def _stream(content: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(content))
