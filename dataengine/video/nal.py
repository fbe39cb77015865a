"""The units inside h264 and HEVC packets, as far as cutting and joining need them: where a decoder's parameters stand.

mp4 keeps parameter sets once, in the header (avcC, hvcC), and packets as length-prefixed units; other containers
and encoders use start codes ("Annex B"). ISO/IEC 14496-15 gives both layouts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_START_CODE = re.compile(b"\0\0\0?\1")


def has_units(codec: str) -> bool:
    return codec in ("h264", "hevc")


def length_size(codec: str, extradata: bytes) -> int | None:
    """Bytes of the length before every unit of a packet; None where packets use start codes."""
    at = 4 if codec == "h264" else 21
    if len(extradata) <= at or extradata[0] != 1:
        return None
    return (extradata[at] & 3) + 1


def split(packet: bytes, prefix: int | None) -> list[bytes]:
    """The units of a packet. A length that runs over the end ends the list."""
    if prefix is None:
        marks = [match.span() for match in _START_CODE.finditer(packet)]
        ends = [start for start, _ in marks[1:]] + [len(packet)]
        return [packet[begin:end] for (_, begin), end in zip(marks, ends, strict=False)]
    units, at = [], 0
    while at + prefix <= len(packet):
        size = int.from_bytes(packet[at : at + prefix], "big")
        if size == 0 or at + prefix + size > len(packet):
            break
        units.append(packet[at + prefix : at + prefix + size])
        at += prefix + size
    return units


def join(units: Iterable[bytes], prefix: int | None) -> bytes:
    """A packet of these units."""
    if prefix is None:
        return b"".join(b"\0\0\0\1" + unit for unit in units)
    return b"".join(len(unit).to_bytes(prefix, "big") + unit for unit in units)


def is_parameter_set(codec: str, unit: bytes) -> bool:
    """h264: sequence and picture parameters (types 7, 8); HEVC: video, sequence, picture (32 to 34)."""
    if not unit:
        return False
    return unit[0] & 31 in (7, 8) if codec == "h264" else (unit[0] >> 1) & 63 in (32, 33, 34)


def is_message(codec: str, unit: bytes) -> bool:
    """Supplemental enhancement information; HEVC has it before the pictures and after them."""
    if not unit:
        return False
    return unit[0] & 31 == 6 if codec == "h264" else (unit[0] >> 1) & 63 in (39, 40)


def header_sets(codec: str, extradata: bytes) -> list[bytes]:
    """The parameter sets in a stream's extradata, in order; none where it is damaged."""
    if length_size(codec, extradata) is None:
        return [unit for unit in split(extradata, None) if is_parameter_set(codec, unit)]
    try:
        found = _avcc(extradata) if codec == "h264" else _hvcc(extradata)
    except IndexError:
        return []
    return [unit for unit in found if is_parameter_set(codec, unit)]


def _avcc(data: bytes) -> list[bytes]:
    at, units = 5, []
    for mask in (31, 255):  # sequence sets (their count shares a byte with reserved bits), then picture sets
        count = data[at] & mask
        at += 1
        for _ in range(count):
            size = data[at] << 8 | data[at + 1]
            units.append(data[at + 2 : at + 2 + size])
            at += 2 + size
    return units


def _hvcc(data: bytes) -> list[bytes]:
    at, units = 23, []
    for _ in range(data[22]):
        count = data[at + 1] << 8 | data[at + 2]
        at += 3
        for _ in range(count):
            size = data[at] << 8 | data[at + 1]
            units.append(data[at + 2 : at + 2 + size])
            at += 2 + size
    return units
