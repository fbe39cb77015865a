"""A stretch of an episode in memory, and batches made of frames of many of them.

Colour pictures that one sample needs stay as the decoder gave them (planar YUV, half the bytes of RGB) and become
RGB when they leave; what several samples need, depth, and pictures from the table are arrays from the beginning.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from dataengine.episode import Clip
from dataengine.errors import VideoError
from dataengine.store.reader import Selection
from dataengine.video import VideoClip
from dataengine.video.index import index_of

Picture = VideoFrame | np.ndarray
_converter = threading.local()
_SPARE = 8  # arrays of one size kept for later


@dataclass(eq=False)
class Segment:
    """Frames `start` to `stop` of one episode.

    columns: `(n, …)` by key, windows and their `<key>_is_pad` included. pictures: by camera, from episode frame `low`
    of that camera on; None where no sample needs one any more. windows: by camera, `(n, W)` places in `pictures`.
    uses: by camera, how many samples still need each. sizes: by camera, bytes of a picture. left: samples that are
    still to leave.
    """

    columns: dict[str, np.ndarray]
    pictures: dict[str, list[Picture | None]]
    windows: dict[str, np.ndarray]
    uses: dict[str, np.ndarray]
    sizes: dict[str, int]
    left: int

    @property
    def held(self) -> int:
        """Bytes of pictures that are still needed."""
        return sum(int((uses > 0).sum()) * self.sizes[camera] for camera, uses in self.uses.items())

    def leave(self, frames: np.ndarray) -> int:
        """These samples are in a batch now; gives the bytes that nobody needs any more."""
        freed = 0
        self.left -= len(frames)
        for camera, uses in self.uses.items():
            places = self.windows[camera][frames].reshape(-1)
            uses -= np.bincount(places, minlength=len(uses))
            gone = set(places[uses[places] == 0].tolist())
            freed += len(gone) * self.sizes[camera]
            for place in gone:
                self.pictures[camera][place] = None
        return freed


def load(
    chosen: Selection,
    columns: Mapping[str, np.ndarray],
    clip_of: Callable[[str], Clip],
    length: int,
    start: int,
    stop: int,
    frames: np.ndarray,
) -> Segment:
    """Read and decode what samples `frames` (counted from `start`) of an episode of `length` frames need.

    columns: those of the whole episode. clip_of: gives the clip of a camera. Raises `VideoError`, `StoreError`.
    """
    at = np.arange(start, stop)[:, None]
    given: dict[str, np.ndarray] = {}
    for key, offsets in chosen.offsets.items():
        given[f"{key}_is_pad"] = (at + offsets < 0) | (at + offsets >= length)
    for key, column in columns.items():
        rows = np.clip(at + chosen.offsets[key], 0, length - 1) if key in chosen.offsets else at[:, 0]
        given[key] = column[rows]
    segment = Segment(given, {}, {}, {}, {}, len(frames))
    for camera in chosen.cameras:
        offsets = chosen.offsets.get(camera, np.zeros(1, np.int64))
        window = np.clip(at + offsets, 0, length - 1)
        low, high = int(window[frames].min()), int(window[frames].max()) + 1
        segment.windows[camera] = window - low
        segment.uses[camera] = np.bincount(segment.windows[camera][frames].reshape(-1), minlength=high - low)
        keep = segment.uses[camera] > 0
        found = _pictures(clip_of(camera), low, high, shared=len(offsets) > 1)
        pictures = [one if needed else None for one, needed in zip(found, keep, strict=True)]
        segment.pictures[camera], segment.sizes[camera] = pictures, picture_bytes(pictures[0])
    return segment


def _pictures(clip: Clip, start: int, stop: int, shared: bool) -> Iterator[Picture]:
    """Frames of a clip in order, each as it is kept."""
    if not isinstance(clip, VideoClip) or clip.kind == "depth" or shared:
        yield from clip.frames(start, stop)
        return
    for picture in clip.pictures(start, stop):
        if (picture.height, picture.width) != (clip.height, clip.width):
            got, want = f"{picture.width}×{picture.height}", f"{clip.width}×{clip.height}"
            raise VideoError(clip.path, f"its pictures are {got}, expected {want}")
        yield picture


def picture_bytes(picture: Picture | None) -> int:
    """What it takes in memory."""
    if isinstance(picture, VideoFrame):
        return sum(plane.buffer_size for plane in picture.planes)
    return 0 if picture is None else picture.nbytes


def kept_bytes(clip: Clip, shared: bool) -> int:
    """What a picture of a clip takes in memory; one is decoded. shared: several samples need each."""
    return picture_bytes(next(_pictures(clip, 0, 1, shared)))


def keyframes_apart(clip: Clip) -> int:
    """The greatest number of frames of which every keyframe's place is a multiple; 0 without one inside the clip."""
    if not isinstance(clip, VideoClip):
        return 1
    keys = index_of(clip.path).keys - clip.start
    return int(np.gcd.reduce(keys[(keys > 0) & (keys < clip.length)], initial=0))


class Memory:
    """Room for pictures of batches, used again when nobody holds the array: fresh pages cost as much as filling."""

    def __init__(self) -> None:
        self._free: dict[int, list[memoryview]] = {}

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """As `np.empty`."""
        size = math.prod(shape) * dtype.itemsize
        free = self._free.setdefault(size, [])
        try:
            room = free.pop()
        except IndexError:
            room = np.empty(size, np.uint8).data
        array = np.frombuffer(room, dtype)  # every view of it holds on to it
        weakref.finalize(array, _keep, free, room).atexit = False
        return array.reshape(shape)


def _keep(free: list[memoryview], room: memoryview) -> None:
    if len(free) < _SPARE:
        free.append(room)


def collate(
    chosen: Selection, segments: Mapping[int, Segment], segment: np.ndarray, frame: np.ndarray, memory: Memory
) -> dict[str, Any]:
    """Samples as one dict of arrays `(n, …)`: frame `frame[i]` of `segments[segment[i]]` in row i."""
    order = np.argsort(segment, kind="stable")
    back = np.argsort(order, kind="stable")
    names, firsts = np.unique(segment[order], return_index=True)
    parts = [(segments[j], rows) for j, rows in zip(names.tolist(), np.split(frame[order], firsts[1:]), strict=True)]
    batch: dict[str, Any] = {
        key: np.concatenate([one.columns[key][rows] for one, rows in parts])[back] for key in parts[0][0].columns
    }
    for camera in chosen.cameras:
        batch[camera] = _stack(camera, parts, order, memory, windowed=camera in chosen.offsets)
    return batch


def _stack(
    camera: str, parts: list[tuple[Segment, np.ndarray]], order: np.ndarray, memory: Memory, windowed: bool
) -> np.ndarray:
    """`(n, [W,] H, W, C)`: the pictures of one camera; order: the row of every sample of `parts`."""
    pictures = [
        one.pictures[camera][place]
        for one, rows in parts
        for places in one.windows[camera][rows].tolist()
        for place in places
    ]
    width = len(pictures) // len(order)
    first = pictures[0]
    if isinstance(first, VideoFrame):
        shape, kind = (first.height, first.width, 3), np.dtype(np.uint8)
    else:
        assert first is not None
        shape, kind = first.shape, first.dtype
    stacked = memory.empty((len(order), width, *shape), kind)
    for number, picture in enumerate(pictures):
        _put(picture, stacked[order[number // width], number % width])
    return stacked if windowed else stacked[:, 0]


def _put(picture: Picture | None, target: np.ndarray) -> None:
    """Write one picture; the conversion is that of `VideoClip.frames`, its scaler kept per thread."""
    if not isinstance(picture, VideoFrame):
        target[:] = picture
        return
    if not hasattr(_converter, "value"):
        _converter.value = VideoReformatter()
    plane = _converter.value.reformat(picture, format="rgb24").planes[0]
    height, width, channels = target.shape
    target[:] = np.frombuffer(plane, np.uint8).reshape(height, -1)[:, : width * channels].reshape(target.shape)
