"""Pictures that move, and video files as other people write them, made and read with PyAV by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

Write = Callable[..., Path]


def moving(count: int, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """`(count, H, W, 3)` uint8: soft waves that move over a fixed grain; a corner's brightness counts the frames."""
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(seed).integers(0, 8, (height, width, 1))
    n = np.arange(count)[:, None, None]
    waves = np.stack([np.sin((x + 3 * n) / 9), np.sin((y + 2 * n) / 7), np.sin((x + y + n) / 11)], -1)
    frames = 120 + 90 * waves + grain
    frames[:, :16, :16] = (np.arange(count) * 7 % 256)[:, None, None, None]
    return frames.astype(np.uint8)


def by_hand(path: Path, format: str = "rgb24") -> np.ndarray:
    """All frames as PyAV decodes them from the start."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=format) for frame in container.decode(video=0)])


def packet_hashes(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [hashlib.sha256(bytes(p)).hexdigest() for p in container.demux(video=0) if p.size]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(np.float64) - b) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def write_video(
    folder: Path,
    frames: np.ndarray,
    encoder: str = "libx264",
    *,
    name: str = "foreign.mp4",
    rate: int | Fraction = 30,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Iterable[int] | None = None,
    time_base: Fraction | None = None,
    tags: dict[str, str] | None = None,
    sound: bool = False,
    muxer: dict[str, str] | None = None,
) -> Path:
    """A file from any encoder, on any clock, with any tags and muxer options FFmpeg has."""
    path = folder / name
    with av.open(str(path), "w", options=muxer or {}) as container:
        container.metadata.update(tags or {})
        stream: Any = container.add_stream(encoder, rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        base = time_base or 1 / Fraction(rate)
        stream.codec_context.time_base = base
        audio: Any = container.add_stream("aac", 16000) if sound else None
        for at, pixels in zip(times or range(len(frames)), frames, strict=True):
            picture = av.VideoFrame.from_ndarray(pixels, "rgb24" if pixels.ndim == 3 else pix_fmt)
            picture.pts, picture.time_base = at, base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if audio is not None:
            beep = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
            beep.sample_rate = 16000
            container.mux(audio.encode(beep))
            container.mux(audio.encode(None))
    return path


def with_message(path: Path, text: str, name: str = "told.mp4") -> Path:
    """The same stream with a message in its first packet, by FFmpeg's own filter."""
    target = path.with_name(name)
    with av.open(str(path)) as source, av.open(str(target), "w") as made:
        stream = made.add_stream_from_template(source.streams.video[0])
        tell = BitStreamFilterContext(
            f"h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+{text}", source.streams.video[0], stream
        )
        for packet in [*source.demux(video=0), None]:
            if packet is None or packet.dts is not None:
                for each in tell.filter(packet):
                    each.stream = stream
                    made.mux(each)
    return target
