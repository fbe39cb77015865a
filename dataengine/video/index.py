"""Which packets a video has: from this follow frame numbers, keyframes to seek to, and where it can be cut.

Frames are numbered by presentation order, so variable rates, odd time bases and B-frames are all the same here.
Indexing demuxes a file once and decodes nothing (3 µs a packet); the result is kept per process.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from av import Packet
from av.container import InputContainer
from av.video.stream import VideoStream

from dataengine.errors import VideoError
from dataengine.remote import is_remote
from dataengine.video import nal
from dataengine.video.container import FileKey, file_key, open_video, reading

_KEPT = 512


@dataclass(frozen=True)
class Coding:
    """What the header says: the codec (h264, av1, …) and its parameters, the pictures, the container's FFmpeg name."""

    codec: str
    pix_fmt: str
    width: int
    height: int
    extradata: bytes
    container: str
    average_rate: Fraction


@dataclass(frozen=True, eq=False)
class PacketIndex:
    """The shown packets of one stream.

    times: `(N,)` int64, presentation times in ascending order in units of `time_base` [s]; None if the container
    does not say (some avi): then frames can only be counted from the start. order: `(N,)` int64, the frame number
    of every packet in the order of the file. keys: `(K,)` int64, frame numbers of keyframes, ascending; key_seek:
    `(K,)` int64, decode times that lead a seek there. hidden: for every packet that is decoded but not shown (an edit
    list), the position in `order` before which it stands; packets across it cannot be copied. size: bytes of packets.
    extradata_sha: sha256 of what a decoder must know beforehand, and of parameter sets that differ inside the stream.
    """

    times: np.ndarray | None
    order: np.ndarray
    keys: np.ndarray
    key_seek: np.ndarray
    hidden: np.ndarray
    time_base: Fraction
    size: int
    extradata_sha: str
    coding: Coding

    def __len__(self) -> int:
        return len(self.order)

    def keyframe_before(self, frame: int) -> int:
        """The position in `keys` of the last keyframe at or before `frame`; 0 if there is none."""
        return max(int(np.searchsorted(self.keys, frame, "right")) - 1, 0)

    @property
    def reordered(self) -> bool:
        """Whether the file keeps frames in another order than they are shown (B-frames)."""
        return bool((np.diff(self.order) < 0).any())

    def clean_cuts(self) -> np.ndarray:
        """`(N + 1,)` bool: whether everything shown before frame i also stands before it in the file."""
        highest = np.maximum.accumulate(self.order)
        return np.concatenate([[True], highest == np.arange(len(self.order))])

    def rate(self) -> Fraction | None:
        """Frames per second where every frame lasts equally long, else None."""
        if self.times is None or len(self.times) < 2:
            return None
        steps = np.diff(self.times)
        return Fraction(1) / (int(steps[0]) * self.time_base) if steps[0] > 0 and (steps == steps[0]).all() else None


_indices: OrderedDict[FileKey, PacketIndex] = OrderedDict()


def index_of(path: str | Path, opened: tuple[InputContainer, VideoStream] | None = None) -> PacketIndex:
    """The index of a file, made once per process; `opened` is read to its end for it. Raises `VideoError`."""
    key = file_key(path)
    if key not in _indices:
        if is_remote(path):
            _indices[key] = _from_header(path)
        else:
            container, stream = opened or open_video(path)
            try:
                _indices[key] = _scan(container, stream, path)
            finally:
                if opened is None:
                    container.close()
        while len(_indices) > _KEPT:
            _indices.popitem(last=False)
    return _indices[key]


def keep(path: Path, index: PacketIndex) -> None:
    """Know the index of a file that was just written here."""
    _indices[file_key(path)] = index


def keep_index(old: FileKey, new: FileKey) -> None:
    """A file has another name now; what is in it is the same."""
    if (index := _indices.pop(old, None)) is not None:
        _indices[new] = index


def _from_header(path: str | Path) -> PacketIndex:
    """Of a remote file, by its header: packets are not fetched."""
    container, stream = open_video(path, hollow=True)
    with container:
        index = _scan(container, stream, path)
    # Which parameters stand inside the stream is not known: it is like no other, and never joined with one.
    return replace(index, extradata_sha=hashlib.sha256(f"{file_key(path)}".encode()).hexdigest())


def _scan(container: InputContainer, stream: VideoStream, path: str | Path) -> PacketIndex:
    """Demux all packets of `stream`. Raises `VideoError` when there are none, or fewer than the header promises."""
    coding = _coding(container, stream)
    shown: list[tuple[int | None, int | None, bool]] = []
    hidden: list[int] = []
    size = 0
    parameters = Parameters(coding)
    with reading(path):
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.is_corrupt:
                raise VideoError(path, f"packet {len(shown) + len(hidden)} is damaged or cut off")
            size += packet.size
            if packet.is_discard:
                hidden.append(len(shown))
                continue
            shown.append((packet.pts, packet.dts, packet.is_keyframe))
            if packet.is_keyframe:
                parameters.add(bytes(packet))
    found = len(shown) + len(hidden)
    if stream.frames > found and stream.frames > _in_the_file(path):
        raise VideoError(path, f"is truncated: its header promises {stream.frames} frames, {found} are there")
    if not shown:
        raise VideoError(path, "holds no frames")
    return _index(shown, hidden, stream.time_base or Fraction(1, 1_000_000), size, parameters.digest(), coding)


def _in_the_file(path: str | Path) -> int:
    """Packets, those that an edit list has FFmpeg pass over included."""
    container, stream = open_video(path, every=True)
    with container, reading(path):
        return sum(packet.size > 0 for packet in container.demux(stream))
    return 0


def _coding(container: InputContainer, stream: VideoStream) -> Coding:
    context = stream.codec_context
    return Coding(
        codec=context.codec.canonical_name,
        pix_fmt=context.pix_fmt or "",
        width=context.width,
        height=context.height,
        extradata=context.extradata or b"",
        container=container.format.name,
        average_rate=Fraction(stream.average_rate or 0).limit_denominator(1001),
    )


class Parameters:
    """Collects the parameter sets inside keyframes that the header does not hold."""

    def __init__(self, coding: Coding) -> None:
        self._codec, self._extradata = coding.codec, coding.extradata
        self._prefix = nal.length_size(self._codec, self._extradata)
        self._known = set(nal.header_sets(self._codec, self._extradata)) if nal.has_units(self._codec) else set()
        self._inside: set[bytes] = set()

    def add(self, packet: bytes) -> None:
        if nal.has_units(self._codec):
            units = nal.split(packet, self._prefix)
            self._inside |= {u for u in units if nal.is_parameter_set(self._codec, u)} - self._known

    def digest(self) -> str:
        digest = hashlib.sha256(self._extradata)
        for unit in sorted(self._inside):
            digest.update(b"\0inside\0" + unit)
        return digest.hexdigest()


def packets(
    container: InputContainer, stream: VideoStream, index: PacketIndex, path: str | Path, start: int, stop: int
) -> Iterator[Packet]:
    """The shown packets that stand at positions `start` to `stop` (exclusive) in the file. One seek to the keyframe
    at `start`, if there is one; else the file is read from where it is open, its beginning."""
    at = 0
    with reading(path):
        place = np.flatnonzero(index.keys == index.order[start])
        if len(place) and index.times is not None:
            container.seek(int(index.key_seek[place[0]]), stream=stream, backward=True, any_frame=False)
            at = start
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if at == start and len(place) and index.times is not None and packet.pts != index.times[index.order[start]]:
                continue  # the seek landed before the keyframe
            if at >= stop:
                return
            if at >= start:
                yield packet
            at += 1
    if at < stop:
        raise VideoError(path, f"ends at packet {at}, {stop} were promised")


def _index(
    shown: list[tuple[int | None, int | None, bool]],
    hidden: list[int],
    time_base: Fraction,
    size: int,
    extradata_sha: str,
    coding: Coding,
) -> PacketIndex:
    count = len(shown)
    timed = all(pts is not None for pts, _, _ in shown)
    pts = np.array([p for p, _, _ in shown] if timed else range(count), np.int64)
    by_time = np.argsort(pts, kind="stable")
    order = np.empty(count, np.int64)
    order[by_time] = np.arange(count)
    at = np.flatnonzero([key for _, _, key in shown])
    seek = np.array([shown[i][1] if shown[i][1] is not None else pts[i] for i in at], np.int64)
    ascending = np.argsort(order[at])
    return PacketIndex(
        times=pts[by_time] if timed else None,
        order=order,
        keys=order[at][ascending],
        key_seek=seek[ascending],
        hidden=np.unique(np.array(hidden, np.int64)),
        time_base=time_base,
        size=size,
        extradata_sha=extradata_sha,
        coding=coding,
    )
