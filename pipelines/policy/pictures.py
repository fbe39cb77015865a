"""Pictures at training size: resized once, kept as a flat uint8 file that every later run maps instead of decoding."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np

from dataengine.episode import Clip
from dataengine.errors import ConfigError, EpisodeError

Counter = Callable[[str, int], Callable[[int], None]]  # (what, how many) gives the function that is told of each


def no_counter(what: str, total: int) -> Callable[[int], None]:
    return lambda by: None


def resize(picture: np.ndarray, size: int) -> np.ndarray:
    """`(H, W, 3)` uint8 to `(size, size, 3)` by area averaging, as when training; the aspect ratio is not kept."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ConfigError(f"a picture is (H, W, 3) uint8, not {picture.shape} {picture.dtype}")
    if picture.shape[:2] == (size, size):
        return picture
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return frame.reformat(width=size, height=size, interpolation="AREA").to_ndarray()


def cached_pictures(
    clips: Sequence[tuple[str, Clip]], size: int, cache: Path, counter: Counter = no_counter
) -> np.ndarray:
    """All frames of one camera over `(episode id, clip)`, in order, as a read-only map `(N, size, size, 3)` uint8.

    The file is named by what it holds, so a changed video or another selection never meets a stale cache, and two
    processes that fill it at once do no harm. `counter` makes the progress of what has to be decoded.
    Raises `ConfigError` when the disk cannot hold it, `EpisodeError` when a video ends early.
    """
    key = hashlib.sha256(f"area {size}".encode())
    for _, clip in clips:
        key.update(f"\0{clip.fingerprint} {clip.length}".encode())
    path = cache / f"{key.hexdigest()[:24]}.npy"
    frames = sum(clip.length for _, clip in clips)
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        need, free = frames * size * size * 3, shutil.disk_usage(cache).free
        if need > 0.9 * free:
            raise ConfigError(f"{cache}: needs {need / 1e9:.1f} GB for pictures, has {free / 1e9:.1f} GB")
        for left in cache.glob(f"{path.stem}.*.tmp"):
            if not _alive(int(left.suffixes[-2][1:])):  # of a process that was killed while it filled it
                left.unlink(missing_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            _fill(partial, clips, frames, size, counter("reading pictures", frames))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return _mapped(path)


def _mapped(path: Path) -> np.ndarray:
    """The array of a file, mapped and never read ahead: training asks for frames in no order, and where the pictures do
    not all fit into memory, neighbours that nobody asked for would put out others."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
        whole = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    whole.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(whole, np.uint8, offset=start).reshape(shape)


def _fill(
    path: Path, clips: Sequence[tuple[str, Clip]], frames: int, size: int, advance: Callable[[int], None]
) -> None:
    pictures = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(frames, size, size, 3))
    place = 0
    for episode, clip in clips:
        got = 0
        for picture in clip.frames():
            pictures[place + got] = resize(picture, size)
            got += 1
        if got != clip.length:
            raise EpisodeError(episode, f"its video holds {got} of {clip.length} frames")
        place += got
        advance(got)
    pictures.flush()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # not ours
        return True
    return True
