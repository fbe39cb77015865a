"""Pictures in, one mp4 of constant rate out: every frame that goes in stands in the file, or there is no file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self, cast

import av
import av.error
import numpy as np
from av import VideoFrame
from av.container import OutputContainer
from av.video.stream import VideoStream

from dataengine.episode import Clip
from dataengine.errors import VideoError
from dataengine.video.codec import DEFAULT, DEPTH, Codec
from dataengine.video.container import MAX_PIXELS, MAX_SIDE, reading
from dataengine.video.depth import PIX_FMT, DepthCoding
from dataengine.video.probe import VideoInfo, probe
from dataengine.video.reader import rename
from dataengine.video.written import Noted

os.environ.setdefault("SVT_LOG", "1")  # libsvtav1 prints a banner for every file otherwise; errors stay

# Ticks of the clock per frame. LeRobot's readers compare times in float32: bases of 1/1000 miss its tolerance.
TICKS = 512


class FrameStats(Protocol):
    """Statistics that see every frame that is encoded."""

    def update(self, frame: np.ndarray) -> object: ...


def frame_rate(fps: float | Fraction) -> Fraction:
    """The exact rate a float stands for: 29.97 is 2997/100, 33.333… is 100/3."""
    return Fraction(fps).limit_denominator(1001)


def open_output(path: Path, rate: Fraction) -> OutputContainer:
    """An mp4 for one video stream: its clock runs `TICKS` a frame, the header stands first, nothing else is said."""
    options = {
        "movflags": "+faststart",
        "video_track_timescale": str(rate.numerator * TICKS),
        "fflags": "+bitexact",  # no name and version of the writer
    }
    with reading(path, "cannot be written"):
        return av.open(str(path.absolute()), "w", format="mp4", options=options)


class Encoder:
    """Frames pushed one at a time into `target`, which appears when `close` has checked it.

    Colour frames are `(H, W, 3)` uint8 RGB; depth frames `(H, W, 1)` float32 metres, kept by `depth`. Memory does
    not grow with the number of frames. Leaving the `with` block by an exception leaves no file. tap: sees every packet
    as it is encoded, and whether it is a keyframe; `extradata` holds the parameters that go before the first.
    """

    def __init__(
        self,
        target: str | Path,
        height: int,
        width: int,
        fps: float | Fraction,
        codec: Codec = DEFAULT,
        kind: Literal["rgb", "depth"] = "rgb",
        depth: DepthCoding | None = None,
        tap: Callable[[bytes, bool], object] | None = None,
    ) -> None:
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
            raise VideoError(target, f"pictures of {width}×{height} cannot be encoded")
        if fps <= 0:
            raise VideoError(target, f"a rate of {fps} frames a second cannot be encoded")
        self.target, self.frames = Path(target), 0
        self.codec = codec if kind == "rgb" else depth_codec(codec)
        self._shape = (height, width, 3 if kind == "rgb" else 1)
        self._depth = None if kind == "rgb" else depth or DepthCoding()
        self._rate, self._tap = frame_rate(fps), tap
        self._partial = self.target.with_name(f".{self.target.name}.partial")
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._output: OutputContainer | None = open_output(self._partial, self._rate)
        try:
            with reading(target, "cannot be encoded"):
                self._stream = self._add_stream(height, width)
            self._noted = Noted(self._stream.codec_context, self._rate)
        except BaseException:
            self.abort()
            raise

    @property
    def extradata(self) -> bytes:
        return self._stream.codec_context.extradata or b""

    def add(self, frame: np.ndarray) -> None:
        """Encode one frame. Raises `VideoError` when its shape or type is another than promised."""
        if self._output is None:
            raise VideoError(self.target, "is closed; no frame can be added")
        self._encode(self._picture(frame))
        self.frames += 1

    def close(self) -> VideoInfo:
        """Finish the file, count what is in it, and move it to its name. Raises `VideoError` when a frame is lost."""
        if self._output is None:
            raise VideoError(self.target, "is closed already")
        try:
            if self.frames == 0:
                raise VideoError(self.target, "cannot be encoded: it was given no frames")
            self._encode(None)
            with reading(self.target, "cannot be written"):
                self._output.close()
            self._output = None
            return finish(self._partial, self.target, self.frames, self._noted.info(self._partial))
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up: close and remove what was written so far. Does nothing after `close`."""
        output, self._output = self._output, None
        if output is not None:
            # The file is thrown away, and the first error is already on its way.
            with contextlib.suppress(av.error.FFmpegError):
                output.close()
        self._partial.unlink(missing_ok=True)

    def _add_stream(self, height: int, width: int) -> VideoStream:
        assert self._output is not None
        stream = cast(
            VideoStream, self._output.add_stream(self.codec.encoder, self._rate, options=self.codec.options())
        )
        context = stream.codec_context
        context.width, context.height = width, height
        context.pix_fmt = self.codec.format_for(height, width)
        context.time_base = 1 / self._rate
        context.thread_count = self.codec.threads
        context.open()  # a setting that the encoder does not know is refused here, not at the first frame
        return stream

    def _picture(self, frame: np.ndarray) -> VideoFrame:
        dtype = np.uint8 if self._depth is None else np.float32
        if frame.shape != self._shape or frame.dtype != dtype:
            got, want = f"{frame.shape} {frame.dtype}", f"{self._shape} {np.dtype(dtype)}"
            raise VideoError(self.target, f"frame {self.frames} is {got}, expected {want}")
        if self._depth is None:
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
        else:
            picture = VideoFrame.from_ndarray(self._depth.encode(frame[..., 0]), PIX_FMT)
        picture.pts, picture.time_base = self.frames, 1 / self._rate
        return picture

    def _encode(self, picture: VideoFrame | None) -> None:
        assert self._output is not None
        with reading(self.target, "cannot be encoded"):
            for packet in self._stream.encode(picture):
                self._noted.add(packet)
                if self._tap is not None:
                    self._tap(bytes(packet), packet.is_keyframe)
                self._output.mux(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self.abort()
        elif self._output is not None:
            self.close()


def encode(clip: Clip, target: str | Path, codec: Codec = DEFAULT, *, stats: FrameStats | None = None) -> VideoInfo:
    """Encode a clip at a constant rate. stats: sees every frame, as it was before encoding.

    Raises `VideoError` when the clip does not give exactly `clip.length` frames of its size.
    """
    depth = getattr(clip, "depth", None)
    with Encoder(target, clip.height, clip.width, clip.fps, codec, clip.kind, depth) as encoder:
        for frame in clip.frames():
            encoder.add(frame)
            if stats is not None:
                stats.update(frame)
        if encoder.frames != clip.length:
            raise VideoError(target, f"the clip promised {clip.length} frames and gave {encoder.frames}")
        return encoder.close()


def depth_codec(codec: Codec) -> Codec:
    """The codec of a depth camera beside colour ones: LeRobot reads 12-bit grey in lossless HEVC and nothing else."""
    return codec if codec.pix_fmt == PIX_FMT else replace(DEPTH, threads=codec.threads)


def finish(
    partial: Path, target: Path, frames: int, known: VideoInfo | None = None, *, reencoded: int | None = None
) -> VideoInfo:
    """Check a written file, make it readable for all (a temporary name must not decide that) and give it its name.

    known: about the file; None: it is probed.
    """
    info = known or probe(partial)
    if info.frames != frames:
        raise VideoError(target, f"{frames} frames went in and {info.frames} came out")
    partial.chmod(0o644)
    rename(partial, target)
    return replace(info, reencoded=frames if reencoded is None else reencoded)
