"""Where the packets of a plain mp4 stand, from its header alone: many times faster than demuxing it.

Only what leaves no question is answered: one video track, no fragments, no B-frames, no edit list that cuts or moves
anything (ISO/IEC 14496-12, section 8). For everything else, and for anything odd, the answer is None, and FFmpeg's
demuxer decides. Tests hold the answer against FFmpeg's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_HEADER = 64 << 20  # bytes of moov at most
_Boxes = dict[bytes, list[memoryview]]


@dataclass(frozen=True, eq=False)
class Samples:
    """Packets in the order of the file, which is that of showing: `(N,)` int64 place and size [bytes], time [1 /
    timescale s], and `(N,)` bool keyframe, as the header has it. description: of the codec, a box `stsd`."""

    place: np.ndarray
    size: np.ndarray
    time: np.ndarray
    key: np.ndarray
    timescale: int
    description: memoryview

    def extradata(self) -> bytes:
        """What FFmpeg gives a decoder of the one codec that a file of ours has (avcC, hvcC)."""
        ((entry,),) = _boxes(self.description[8:]).values()
        boxes = _boxes(entry[78:])  # after what every picture has: sizes, depth
        return bytes(next(content for kind, (content,) in boxes.items() if kind in (b"avcC", b"hvcC")))


def samples_of(path: Path) -> Samples | None:
    """Of a local file; None where the header does not say it all, or says what cannot be."""
    try:
        moov, end = _moov(path)
        return None if moov is None else _samples(_boxes(moov), end)
    except (OSError, ValueError, IndexError, KeyError, struct.error):
        return None


def _moov(path: Path) -> tuple[memoryview | None, int]:
    """The header's content, None for a file that has fragments or none; and the length of the file."""
    found: list[tuple[int, int]] = []
    with path.open("rb") as file:
        end, at = file.seek(0, 2), 0
        while at + 8 <= end:
            file.seek(at)
            size, kind, long_size = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            head, size = (16, long_size) if size == 1 else (8, size or end - at)
            if kind == b"moof" or size < head or at + size > end:
                return None, end
            found += [(at + head, size - head)] if kind == b"moov" else []
            at += size
        if len(found) != 1 or found[0][1] > _HEADER:
            return None, end
        file.seek(found[0][0])
        return memoryview(file.read(found[0][1])), end


def _boxes(content: memoryview) -> _Boxes:
    """The boxes in a box, by kind. Raises `ValueError` where one ends after it."""
    found: _Boxes = {}
    at = 0
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if size < 8 or at + size > len(content):
            raise ValueError(kind)
        found.setdefault(kind, []).append(content[at + 8 : at + size])
        at += size
    return found


def _only(boxes: _Boxes, *path: bytes) -> memoryview:
    """The one box at the end of a path. Raises `ValueError` where there are several, `KeyError` where there is none."""
    for kind in path[:-1]:
        (content,) = boxes[kind]
        boxes = _boxes(content)
    (content,) = boxes[path[-1]]
    return content


def _samples(moov: _Boxes, end: int) -> Samples | None:
    if b"mvex" in moov:
        return None
    tracks = [_boxes(track) for track in moov[b"trak"]]
    video = [t for t in tracks if bytes(_only(t, b"mdia", b"hdlr")[8:12]) == b"vide"]
    if len(tracks) != 1 or len(video) != 1:
        return None
    track = video[0]
    timescale, length = _clock(_only(track, b"mdia", b"mdhd"))
    table = _boxes(_only(track, b"mdia", b"minf", b"stbl"))
    if b"ctts" in table or not _shown_whole(track, length, timescale, _clock(_only(moov, b"mvhd"))[0]):
        return None
    size = _sizes(_only(table, b"stsz"), end)
    count = len(size)
    runs, steps = _columns(_only(table, b"stts"), 2)
    chunks = _columns(_only(table, b"stco"), 1)[0] if b"stco" in table else _long(_only(table, b"co64"))
    key = np.ones(count, bool)
    if b"stss" in table:
        key[:] = False
        key[_columns(_only(table, b"stss"), 1)[0] - 1] = True
    first, each, _ = _columns(_only(table, b"stsc"), 3)
    alike = np.diff(np.append(first, len(chunks) + 1))
    # Nothing is spread out before its sum is known.
    if first[0] != 1 or (alike <= 0).any() or not 0 < count == (each * alike).sum() == runs.sum() or steps.min() <= 0:
        return None
    per_chunk, step = np.repeat(each, alike), np.repeat(steps, runs)
    before = np.cumsum(size) - size
    start = np.cumsum(per_chunk) - per_chunk
    place = np.repeat(chunks, per_chunk) + before - np.repeat(before[start], per_chunk)
    if (size <= 0).any() or (place + size).max() > end:
        return None
    return Samples(place, size, np.cumsum(step) - step, key, timescale, _only(table, b"stsd"))


def _clock(header: memoryview) -> tuple[int, int]:
    """Ticks a second, and duration, of an `mvhd` or `mdhd` box."""
    timescale, length = struct.unpack_from(">IQ", header, 20) if header[0] else struct.unpack_from(">II", header, 12)
    return timescale, length


def _shown_whole(track: _Boxes, length: int, timescale: int, clock: int) -> bool:
    """Whether no edit list cuts or moves anything."""
    if b"edts" not in track:
        return True
    edits = _only(track, b"edts", b"elst")
    wide = bool(edits[0])
    (entries,) = struct.unpack_from(">I", edits, 4)
    duration, begin = struct.unpack_from(">Qq" if wide else ">Ii", edits, 8)
    (rate,) = struct.unpack_from(">I", edits, 24 if wide else 16)
    return entries == 1 and begin == 0 and rate == 1 << 16 and duration * timescale >= length * clock


def _sizes(box: memoryview, end: int) -> np.ndarray:
    constant, count = struct.unpack_from(">II", box, 4)
    if constant:
        return np.full(count if count * constant <= end else 0, constant, np.int64)
    return np.frombuffer(box[12:], ">u4", count).astype(np.int64)


def _columns(box: memoryview, width: int) -> np.ndarray:
    """`(width, N)` int64 of a box with a count and N rows."""
    (count,) = struct.unpack_from(">I", box, 4)
    return np.frombuffer(box[8:], ">u4", count * width).reshape(count, width).T.astype(np.int64)


def _long(box: memoryview) -> np.ndarray:
    (count,) = struct.unpack_from(">I", box, 4)
    return np.frombuffer(box[8:], ">u8", count).astype(np.int64)


def packets_at(path: Path, samples: Samples, wanted: np.ndarray) -> Iterator[bytes]:
    """The packets of these numbers, ascending, as a demuxer gives them."""
    with path.open("rb", 1 << 20) as file:
        at = 0
        for place, size in zip(samples.place[wanted].tolist(), samples.size[wanted].tolist(), strict=True):
            if place != at:
                file.seek(place)
            yield file.read(size)
            at = place + size
