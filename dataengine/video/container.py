"""Opening a video file so that it is only ever read as what it is: one local file in a known container.

FFmpeg guesses formats by content, and some of them (playlists, concat scripts, image lists) name further files
and URLs. So the first bytes decide here, before FFmpeg sees the file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av
import av.error
import av.logging
from av.container import InputContainer
from av.video.stream import VideoStream

from dataengine.errors import VideoError
from dataengine.remote import RemoteFile, openable

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")  # what an mp4 or mov may begin with
MAX_SIDE = 16384
MAX_PIXELS = 1 << 26  # 64 Mpx: 200 MB for one decoded picture

# PyAV prints FFmpeg's complaints to stderr; what matters of them is raised.
av.logging.set_level(None)

FileKey = tuple[str, int, int, int]


def file_key(path: str | Path) -> FileKey:
    """What changes when a file is replaced: path, inode, size, time of change. Raises `VideoError` if it is absent."""
    try:
        status = os.stat(path)  # noqa: PTH116  ten times cheaper than Path.stat for a string
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    return (str(path), status.st_ino, status.st_size, status.st_mtime_ns)


@contextmanager
def reading(path: str | Path, doing: str = "cannot be read as video") -> Iterator[None]:
    """Turn what FFmpeg and PyAV raise about a file into `VideoError`."""
    try:
        yield
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(path, f"{doing}: {getattr(error, 'strerror', None) or error}") from error
    except MemoryError as error:
        raise VideoError(path, f"{doing}: it needs too much memory") from error


def open_video(path: str | Path, *, hollow: bool = False, every: bool = False) -> tuple[InputContainer, VideoStream]:
    """The container and its first video stream, ready to demux or decode with one thread.

    The caller closes the container. hollow: packets may be zeros, so that those of a remote mp4 are not fetched. every:
    packets that an edit list leaves out are given too.
    Raises `VideoError` for other kinds of files, no or unknown video, and pictures beyond 16384 a side or 64 Mpx.
    """
    path = Path(path).absolute()  # a relative name such as "concat:x" would be taken for a protocol
    source = openable(str(path))
    kind, media = _format(path, source)
    # In packets of zeros a parser would find no keyframe and clear the header's marks.
    options = {"fflags": "noparse"} if hollow and isinstance(source, RemoteFile) else {}
    options |= {"ignore_editlist": "1"} if every and kind == "mp4" else {}
    with reading(path):
        container = av.open(source, format=kind, metadata_errors="replace", options=options)
    try:
        stream = _video_stream(container, path)
        if hollow and isinstance(source, RemoteFile):
            source.hollow = media
        return container, stream
    except BaseException:
        container.close()
        raise


def _format(path: Path, source: str | RemoteFile) -> tuple[str, list[tuple[int, int]]]:
    """FFmpeg's name of it, and from where to where in the file there are packets only."""
    try:
        if isinstance(source, RemoteFile):
            return _format_of(path, source)
        with path.open("rb") as file:
            return _format_of(path, file)
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error


def _format_of(path: Path, file: BinaryIO | RemoteFile) -> tuple[str, list[tuple[int, int]]]:
    file.seek(0)
    head = file.read(16)
    if head[4:8] in _BOXES:
        media = _check_boxes(file, path)
        file.seek(0)
        return "mp4", media
    file.seek(0)
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska", []
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi", []
    what = "is empty" if not head else f"is not a video: it starts with {head[:8]!r}"
    raise VideoError(path, what, hint="mp4, mov, mkv, webm and avi are read")


def _check_boxes(file: BinaryIO | RemoteFile, path: Path) -> list[tuple[int, int]]:
    """Where an mp4's packets are. Raises `VideoError` when one of its outermost boxes ends after the file: FFmpeg
    reads what is left.
    """
    end, at = file.seek(0, os.SEEK_END), 0
    media: list[tuple[int, int]] = []
    while at + 8 <= end:
        file.seek(at)
        size, kind, long_size = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        if not kind.isalnum():
            break  # something else is appended to the last box
        size = {0: end - at, 1: long_size}.get(size, size)
        if size < 8 or at + size > end:
            raise VideoError(
                path, f"is truncated: its part {kind.decode()!r} needs {size:,} bytes, {end - at:,} are there"
            )
        if kind == b"mdat":
            media.append((at + 16, at + size))
        at += size
    return media


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams.video:
        raise VideoError(path, "holds no video stream")
    # Not a picture for the cover that comes first, and of several films the one that players show.
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) else container.streams.video[0]
    context = stream.codec_context
    if context is None:  # no decoder: PyAV would crash on the first use
        raise VideoError(path, "its video is damaged or of a codec that this build of PyAV cannot decode")
    width, height = context.width, context.height
    if width <= 0 or height <= 0 or not context.pix_fmt:
        raise VideoError(path, "its header does not say what the pictures are")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise VideoError(path, f"declares pictures of {width}×{height}, more than {MAX_SIDE} a side or 64 Mpx")
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}  # the stream itself may say another size
    return stream
