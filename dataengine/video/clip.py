"""A camera's pictures over one episode, kept as a span of a video file and decoded when asked for."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from av import VideoFrame

from dataengine.episode import Clip
from dataengine.errors import VideoError
from dataengine.video.container import file_key, open_video
from dataengine.video.depth import PIX_FMT, DepthCoding
from dataengine.video.index import PacketIndex, index_of, packets
from dataengine.video.probe import probe_guarded
from dataengine.video.reader import borrowed


@dataclass(frozen=True)
class VideoClip(Clip):
    """Frames `start` to `start + length` of a video file, counted in the order they are shown.

    fps is what the dataset says; the file's own clock may differ. depth: how its codes become metres, for a depth
    camera. Making one opens nothing: `from_file` looks at the file.
    """

    path: Path
    start: int
    length: int
    fps: float
    height: int
    width: int
    kind: Literal["rgb", "depth"] = "rgb"
    depth: DepthCoding | None = None

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        start: int = 0,
        length: int | None = None,
        fps: float | None = None,
        from_timestamp: float | None = None,
        depth: DepthCoding | None = None,
        trusted: bool = False,
    ) -> VideoClip:
        """A span of a file: `length` frames (None: to its end) from `start`, or from the frame at `from_timestamp` [s].

        depth: makes it a depth clip. trusted: the file is our own work; others are demuxed once in the guarded
        process before they are opened here. Raises `VideoError`, also when the file is shorter.
        """
        if not trusted:
            probe_guarded(path)
        index = index_of(path)
        rate = index.rate() or index.coding.average_rate
        if from_timestamp is not None:
            start += _frame_at(path, index, from_timestamp)
        length = len(index) - start if length is None else length
        if start < 0 or length < 1 or start + length > len(index):
            raise VideoError(path, f"has {len(index)} frames; {length} from frame {start} on were promised")
        if fps is None and not rate:
            raise VideoError(path, "does not say how many frames make a second", hint="give fps")
        kind: Literal["rgb", "depth"] = "rgb" if depth is None else "depth"
        coding = index.coding
        return cls(Path(path), start, length, float(fps or rate), coding.height, coding.width, kind, depth)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """As `Clip.frames`. One seek at most, then decoding in order. Raises `VideoError` at the first bad frame."""
        for picture in self.pictures(start, stop):
            yield self._array(picture)

    def pictures(self, start: int = 0, stop: int | None = None) -> Iterator[VideoFrame]:
        """The frames as the decoder gives them, in the file's own pixel format."""
        stop = self.length if stop is None else stop
        if not 0 <= start <= stop <= self.length:
            raise VideoError(self.path, f"the clip has {self.length} frames; {start} to {stop} were asked for")
        with borrowed(self.path) as reader:
            yield from reader.pictures(self.start + start, self.start + stop)

    def times(self) -> np.ndarray:
        """`(length,)` float64: when the file itself shows each frame [s]."""
        with borrowed(self.path) as reader:
            return reader.seconds()[self.start : self.start + self.length]

    def slice(self, start: int, stop: int) -> VideoClip:
        if not 0 <= start < stop <= self.length:
            raise VideoError(self.path, f"the clip has {self.length} frames and cannot be cut to {start}:{stop}")
        return replace(self, start=self.start + start, length=stop - start)

    @property
    def whole(self) -> bool:
        """Whether it spans its whole file."""
        return self.start == 0 and self.length == len(index_of(self.path))

    @property
    def fingerprint(self) -> str:
        """sha256 over the coded bytes that its frames need: copying, joining or moving the file does not change it."""
        key = (file_key(self.path), self)
        if (found := _fingerprints.get(key)) is None:
            found = _fingerprints[key] = _hash_span(self)
            while len(_fingerprints) > _KEPT:
                _fingerprints.popitem(last=False)
        return found

    def _array(self, picture: VideoFrame) -> np.ndarray:
        if (picture.height, picture.width) != (self.height, self.width):
            got, want = f"{picture.width}×{picture.height}", f"{self.width}×{self.height}"
            raise VideoError(self.path, f"its pictures are {got}, expected {want}")
        # The conversion of LeRobot's PyAV reader, so that both see the same pixels.
        if self.depth is None:
            return picture.to_ndarray(format="rgb24")
        return self.depth.decode(picture.to_ndarray(format=PIX_FMT))[..., None]


_KEPT = 4096
_fingerprints: OrderedDict[tuple, str] = OrderedDict()


def _frame_at(path: str | Path, index: PacketIndex, seconds: float) -> int:
    """The number of the frame shown at a time, at most half a frame away."""
    if index.times is None:
        raise VideoError(path, "has no times, so nothing starts at a timestamp", hint="give a frame number")
    times = index.times * float(index.time_base)
    nearest = int(np.argmin(np.abs(times - seconds)))
    tolerance = 0.5 * float(np.median(np.diff(times))) if len(times) > 1 else 0.5
    if abs(times[nearest] - seconds) > tolerance:
        raise VideoError(path, f"has no frame at {seconds:g} s; it shows {times[0]:g} to {times[-1]:g} s")
    return nearest


def _hash_span(clip: VideoClip) -> str:
    """sha256 of the packets from the keyframe before a span to its last one, and of where in them it begins."""
    index = index_of(clip.path)
    first = int(index.keys[index.keyframe_before(clip.start)]) if len(index.keys) else 0
    first = first if first <= clip.start else 0
    needed = (index.order >= first) & (index.order < clip.start + clip.length)
    begin, end = int(np.argmax(needed)), int(np.flatnonzero(needed)[-1]) + 1
    container, stream = open_video(clip.path)
    with container:
        about = (index.coding.codec, clip.length, clip.fps, clip.kind, clip.depth)
        digest = hashlib.sha256(f"{about}".encode() + index.coding.extradata)
        for n, packet in enumerate(packets(container, stream, index, clip.path, begin, end), begin):
            if needed[n]:
                digest.update(packet)
    return digest.hexdigest()
