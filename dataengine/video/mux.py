"""Writing packets that were encoded elsewhere, on the exact clock of a dataset."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av.error
import numpy as np
from av import Packet
from av.container import InputContainer
from av.video.stream import VideoStream

from dataengine.video.container import reading
from dataengine.video.encode import TICKS, finish, open_output
from dataengine.video.index import PacketIndex, index_of, packets
from dataengine.video.probe import VideoInfo

# What an mp4 holds and stock readers decode.
COPYABLE = ("h264", "hevc", "av1", "vp9", "mpeg4")


class Copier:
    """Packets of one stream into `target`, which appears when `close` has counted its frames.

    template: the stream whose codec parameters the file gets; nothing else of its container is taken over: no
    sound, no other tracks, no tags. delay: frames by which decoding runs ahead of showing (0 without B-frames).
    """

    def __init__(self, target: str | Path, template: VideoStream, rate: Fraction, delay: int = 0) -> None:
        self.target, self.frames = Path(target), 0
        self._step, self._delay = rate.denominator * TICKS, delay
        self._base = Fraction(1, rate.numerator * TICKS)
        self._partial = self.target.with_name(f".{self.target.name}.partial")
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._output = open_output(self._partial, rate)
        try:
            with reading(target, "cannot be written"):
                # opaque: PyAV needs no encoder of that name (AV1 is decoded by a library that has none).
                self._stream = self._output.add_stream_from_template(template, opaque=True)
                self._stream.time_base = self._base
        except BaseException:
            self._abort()
            raise

    def add(self, packet: Packet | bytes, shown: int, keyframe: bool) -> None:
        """Append a packet; its frame is shown as number `shown`. Packets come in the order of decoding."""
        packet = Packet(packet) if isinstance(packet, bytes) else packet
        packet.time_base = self._base
        packet.pts, packet.dts = shown * self._step, (self.frames - self._delay) * self._step
        packet.duration = self._step
        packet.is_keyframe = keyframe
        packet.stream = self._stream
        with reading(self.target, "cannot be written"):
            self._output.mux_one(packet)
        self.frames += 1

    def close(self, reencoded: int = 0) -> VideoInfo:
        with reading(self.target, "cannot be written"):
            self._output.close()
        return finish(self._partial, self.target, self.frames, reencoded=reencoded)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._abort()

    def _abort(self) -> None:
        with contextlib.suppress(av.error.FFmpegError):
            self._output.close()
        self._partial.unlink(missing_ok=True)


class Run:
    """Frames `start` to `stop` of a file, whose packets stand together in it and need no others."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self.path, self.start, self.stop = path, start, stop
        self.index: PacketIndex = index_of(path)
        # Before a clean cut at frame i stand exactly i packets.
        self.order = self.index.order[start:stop] - start
        self._keys = set((self.index.keys - start).tolist())

    @property
    def delay(self) -> int:
        return max(int((np.arange(len(self.order)) - self.order).max(initial=0)), 0)

    def packets(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[Packet, int, bool]]:
        """Every packet of the freshly opened file with the number of its frame in the run, and whether it is a key."""
        found = packets(container, stream, self.index, self.path, self.start, self.stop)
        for packet, shown in zip(found, self.order.tolist(), strict=True):
            yield packet, shown, shown in self._keys


def copyable_run(path: Path, start: int, stop: int) -> Run | None:
    """The longest run inside frames `start` to `stop` that can be copied: from a keyframe of a closed group to the
    last place before `stop` where the file's order and the shown order agree. None if there is none, or an mp4 cannot
    hold the codec.

    Raises `VideoError` when the file cannot be read.
    """
    index = index_of(path)
    if index.times is None or index.coding.codec not in COPYABLE or "avi" in index.coding.container:
        return None
    clean = index.clean_cuts()
    ends = np.flatnonzero(clean[start : stop + 1]) + start
    for key in index.keys[(index.keys >= start) & (index.keys < stop)]:
        if clean[key] and ends[-1] > key and not ((index.hidden > key) & (index.hidden < ends[-1])).any():
            return Run(path, int(key), int(ends[-1]))
    return None
