"""Decoding frames by number, with one open decoder per file and process kept for the next question.

Every picture is matched with the index by its presentation time: a frame that the decoder leaves out or adds is
an error, never a shift of all later frames.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
from av import VideoFrame

from dataengine.errors import VideoError
from dataengine.video.container import FileKey, file_key, open_video
from dataengine.video.index import PacketIndex, index_of, keep_index

COVER = 0x400  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC
_KEPT = 32  # opening takes as long as decoding ten small pictures


class Reader:
    """One open file. Not thread-safe: `borrowed` gives it to one user at a time."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._container, self._stream = opened = open_video(path)
        try:
            self.index: PacketIndex = index_of(path, opened)
        except BaseException:
            self._container.close()
            raise
        self._decoded: Iterator[VideoFrame] | None = None
        self._next = 0  # number of the frame that the decoder gives next
        self._from_start = False

    def pictures(self, start: int, stop: int) -> Iterator[VideoFrame]:
        """Frames `start` to `stop` (exclusive) as decoded, each once. Raises `VideoError` at the first bad one."""
        if not 0 <= start <= stop <= len(self.index):
            raise VideoError(self.path, f"has {len(self.index)} frames; {start} to {stop} were asked for")
        if start == stop:
            return
        place = self.index.keyframe_before(start)
        if self._decoded is None or not self._key(place) <= self._next <= start:
            self._seek(place)
        while self._next < stop:
            try:
                picture = self._picture()
            except VideoError:
                # The keyframe may need what stands before it (an open group, a wrong mark): once from the start.
                if self._from_start:
                    raise
                self._seek(None)
                continue
            wanted = self._next >= start
            start = max(start, self._next + 1)
            self._next += 1
            if wanted:
                yield picture

    def close(self) -> None:
        self._decoded = None
        self._container.close()

    def _key(self, place: int) -> int:
        """The first frame that decoding from keyframe number `place` gives right."""
        return int(self.index.keys[place]) if self.index.times is not None and place else 0

    def _seek(self, place: int | None) -> None:
        """Start decoding at keyframe number `place`; None, or a container without times: at the first packet."""
        self._from_start = place is None or self.index.times is None
        try:
            if place is None or self._from_start:
                self._reopen()
            else:
                target = int(self.index.key_seek[place])
                self._container.seek(target, stream=self._stream, backward=True, any_frame=False)
        except av.error.FFmpegError:
            self._reopen()
        self._decoded = self._container.decode(self._stream)
        self._next = 0 if place is None or self._from_start else self._key(place)

    def _reopen(self) -> None:
        self._container.close()
        self._container, self._stream = open_video(self.path)
        self._from_start = True

    def _picture(self) -> VideoFrame:
        """The decoder's next picture, which must be frame `_next`."""
        assert self._decoded is not None
        times = self.index.times
        while True:
            try:
                picture = next(self._decoded, None)
            except (av.error.FFmpegError, ValueError, MemoryError) as error:
                self._decoded = None
                raise VideoError(self.path, f"frame {self._next} cannot be decoded: {error}") from error
            if picture is None:
                self._decoded = None
                raise VideoError(self.path, f"ends at frame {self._next}, {len(self.index)} were promised")
            if picture.is_corrupt:  # the decoder patched it up
                raise VideoError(self.path, f"frame {self._next} is damaged")
            if times is None:
                return picture
            pts = picture.pts
            if pts is not None and pts < times[self._next]:
                continue  # between the keyframe before and the one asked for
            if pts != times[self._next]:
                raise VideoError(self.path, f"frame {self._next} is missing: the decoder gives the one at {pts}")
            return picture

    @property
    def tags(self) -> dict[str, str]:
        return {**self._container.metadata, **self._stream.metadata}

    @property
    def aspect(self) -> Fraction:
        """Width of a pixel over its height; 1 where the file does not say it, or nonsense."""
        said = self._stream.sample_aspect_ratio
        return said if said and Fraction(1, 4) <= said <= 4 else Fraction(1)

    @property
    def others(self) -> int:
        """Further films in the file, no cover pictures."""
        films = (each for each in self._container.streams.video if not each.disposition.value & COVER)
        return sum(each.index != self._stream.index for each in films)

    @property
    def has_audio(self) -> bool:
        return bool(self._container.streams.audio)

    def seconds(self) -> np.ndarray:
        """`(N,)` float64: presentation times [s]; frame numbers where the container has no times."""
        times = self.index.times
        if times is None:
            return np.arange(len(self.index), dtype=np.float64)
        return times * float(self.index.time_base)


_pool: OrderedDict[tuple[FileKey, int], Reader] = OrderedDict()
_lock = threading.Lock()


@contextmanager
def borrowed(path: str | Path) -> Iterator[Reader]:
    """A reader of `path` for one user. Two users of one file at the same time get one each."""
    key = file_key(path)
    with _lock:
        same = next((k for k in reversed(_pool) if k[0] == key), None)
        reader = _pool.pop(same) if same else None
    reader = reader or Reader(path)
    try:
        yield reader
    except GeneratorExit:  # the user took as many frames as it wanted
        _give_back(key, reader)
        raise
    except BaseException:
        reader.close()
        raise
    _give_back(key, reader)


def _give_back(key: FileKey, reader: Reader) -> None:
    with _lock:
        _pool[key, id(reader)] = reader
        spare = [_pool.popitem(last=False)[1] for _ in range(len(_pool) - _KEPT)]
    for old in spare:
        old.close()


def rename(path: Path, target: Path) -> None:
    """Give a file its final name. What is open of it and known about it goes along."""
    old = file_key(path)
    path.replace(target)
    new = file_key(target)
    keep_index(old, new)
    with _lock:
        for key in [key for key in _pool if key[0] == old]:
            reader = _pool[new, key[1]] = _pool.pop(key)
            reader.path = target


def close_readers() -> None:
    """Close every file this process keeps open for later."""
    with _lock:
        readers = list(_pool.values())
        _pool.clear()
    for reader in readers:
        reader.close()


def _forget() -> None:
    """After a fork: parent and child would move one shared file position, so the child opens its own."""
    global _lock
    _lock = threading.Lock()
    _pool.clear()


os.register_at_fork(after_in_child=_forget)
