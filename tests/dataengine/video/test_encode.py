"""Every frame that goes in comes out, on the exact clock, the same bytes each time."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_foreign import by_hand, moving, psnr

from dataengine.episode import ArrayClip
from dataengine.errors import ConfigError, VideoError
from dataengine.video import Codec, Encoder, VideoClip, encode, probe, remux
from dataengine.video.container import open_video
from dataengine.video.reader import borrowed


@pytest.mark.parametrize(
    ("codec", "name", "floor"),
    [
        (Codec(), "h264", 31),
        (Codec(crf=30, gop=4, preset="ultrafast"), "h264", 27),
        (Codec("av1"), "av1", 32),
        (Codec("hevc"), "hevc", 31),
        (Codec(lossless=True), "h264", float("inf")),
    ],
)
def test_encode(tmp_path: Path, codec: Codec, name: str, floor: float) -> None:
    frames, seen = moving(47), []

    class Seen:
        def update(self, frame: np.ndarray) -> None:
            seen.append(frame)

    info = encode(ArrayClip(frames, 30.0), tmp_path / "x.mp4", codec, stats=Seen())
    assert (info.codec, info.frames, info.fps, info.width, info.height) == (name, 47, 30, 64, 48)
    assert info.constant and not info.reordered and not info.has_audio and info.kind == "rgb"
    assert (np.stack(seen) == frames).all()
    decoded = by_hand(tmp_path / "x.mp4")
    assert decoded.shape == frames.shape
    assert psnr(frames, decoded) >= floor
    assert [p.name for p in tmp_path.iterdir()] == ["x.mp4"]
    with av.open(str(tmp_path / "x.mp4")) as container:
        keys = [i for i, packet in enumerate(p for p in container.demux(video=0) if p.size) if packet.is_keyframe]
    assert keys == list(range(0, 47, codec.gop))


@pytest.mark.parametrize("fps", [10, 30, 50, 29.97, 100 / 3, 59.94, Fraction(30000, 1001), 0.5])
def test_the_clock_is_exact(tmp_path: Path, fps: float | Fraction) -> None:
    frames = moving(20, 32, 32)
    with Encoder(tmp_path / "x.mp4", 32, 32, fps) as encoder:
        for frame in frames:
            encoder.add(frame)
    exact = Fraction(fps).limit_denominator(1001)
    assert probe(tmp_path / "x.mp4").fps == exact
    with av.open(str(tmp_path / "x.mp4")) as container:
        base, rate = container.streams.video[0].time_base, container.streams.video[0].average_rate
        times = [frame.pts * base for frame in container.decode(video=0)]
    assert times == [k / exact for k in range(20)]
    assert base.denominator % (exact.numerator * 512) == 0
    assert rate == exact


@pytest.mark.parametrize(
    ("codec", "times"), [(Codec(), 40), (Codec(preset="veryfast"), 40), (Codec("av1"), 5), (Codec("hevc"), 5)]
)
def test_the_same_bytes_each_time(tmp_path: Path, codec: Codec, times: int) -> None:
    """Many times: x264's macroblock tree, which is off, changed one file in fifty with what lay in memory before."""
    clip, hashes = ArrayClip(moving(40), 30.0), set()
    for _ in range(times):
        encode(clip, tmp_path / "x.mp4", codec)
        hashes.add(hashlib.sha256((tmp_path / "x.mp4").read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_odd_sizes(tmp_path: Path) -> None:
    frames = moving(5, 47, 63)
    info = encode(ArrayClip(frames, 30.0), tmp_path / "x.mp4")
    assert (info.pix_fmt, info.height, info.width) == ("yuv444p", 47, 63)
    assert psnr(frames, by_hand(tmp_path / "x.mp4")) > 31


def test_readable_by_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        encode(ArrayClip(moving(3), 30.0), tmp_path / "x.mp4")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.mp4").stat().st_mode) == 0o644


def test_nothing_is_said_about_who_wrote_it(tmp_path: Path) -> None:
    info = encode(ArrayClip(moving(3), 30.0), tmp_path / "x.mp4")
    assert "encoder" not in info.tags and "creation_time" not in info.tags
    assert b"Lavf" not in (tmp_path / "x.mp4").read_bytes()


@pytest.mark.parametrize(
    "bad",
    [np.zeros((48, 63, 3), np.uint8), np.zeros((48, 64, 3), np.float32), np.zeros((48, 64), np.uint8)],
)
def test_a_wrong_frame_leaves_no_file(tmp_path: Path, bad: np.ndarray) -> None:
    with pytest.raises(VideoError, match="frame 1 is"), Encoder(tmp_path / "x.mp4", 48, 64, 30) as encoder:
        encoder.add(moving(1)[0])
        encoder.add(bad)
    assert not list(tmp_path.iterdir())


def test_no_frames_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no frames"), Encoder(tmp_path / "x.mp4", 48, 64, 30):
        pass
    assert not list(tmp_path.iterdir())


class Short(ArrayClip):
    """A clip that gives one frame less than it promises."""

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        return iter(self.array[:-1])


def test_a_clip_that_lies_about_its_length(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="promised 5 frames and gave 4"):
        encode(Short(moving(5), 30.0), tmp_path / "x.mp4")
    assert not list(tmp_path.iterdir())


class Losing:
    """A container that loses the packet of frame 2."""

    def __init__(self, output: Any) -> None:
        self.output, self.close = output, output.close

    def mux(self, packet: av.Packet) -> None:
        if packet.pts != 2:
            self.output.mux(packet)


def test_a_lost_packet_is_seen(tmp_path: Path) -> None:
    encoder = Encoder(tmp_path / "x.mp4", 48, 64, 30)
    encoder._output = Losing(encoder._output)  # type: ignore[assignment]
    for frame in moving(5):
        encoder.add(frame)
    with pytest.raises(VideoError, match="5 frames went in and 4 came out"):
        encoder.close()
    assert not list(tmp_path.iterdir())


def test_encoder_refuses_nonsense(tmp_path: Path) -> None:
    for height, width, fps in [(0, 10, 30), (20000, 16, 30), (16384, 16384, 30), (48, 64, 0)]:
        with pytest.raises(VideoError):
            Encoder(tmp_path / "x.mp4", height, width, fps)
    with pytest.raises(VideoError, match="cannot be encoded"):
        Encoder(tmp_path / "x.mp4", 48, 64, 30, Codec(preset="warp"))
    with pytest.raises(VideoError, match="cannot be encoded"):
        Encoder(tmp_path / "x.mp4", 48, 64, 30, Codec(pix_fmt="yuv999p"))
    assert not list(tmp_path.iterdir())
    for arguments in [
        {"name": "vp8"},
        {"gop": 0},
        {"crf": 99},
        {"crf": "23"},
        {"gop": 1.5},
        {"name": "av1", "lossless": True},
    ]:
        with pytest.raises(ConfigError):
            Codec(**arguments)  # type: ignore[arg-type]


def test_a_file_just_written_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was encoded not at all; the reader of one that was copied goes along with the rename, and says the
    final name where something is wrong."""
    opened = []

    def opening(path: str | Path) -> Any:
        opened.append(Path(path).name)
        return open_video(path)

    monkeypatch.setattr("dataengine.video.reader.open_video", opening)
    frames = moving(20)
    encode(ArrayClip(frames, 30.0), tmp_path / "made.mp4", Codec(gop=5))
    clip = VideoClip.from_file(tmp_path / "made.mp4", trusted=True)
    assert not opened and len(list(clip.frames())) == 20
    remux(clip, tmp_path / "x.mp4")
    opened.remove("made.mp4")
    clip = VideoClip.from_file(tmp_path / "x.mp4", trusted=True)
    assert psnr(np.stack(list(clip.frames(7, 9))), frames[7:9]) > 27
    assert opened == [".x.mp4.partial"]
    with pytest.raises(VideoError, match=r"x\.mp4") as error, borrowed(tmp_path / "x.mp4") as reader:
        next(reader.pictures(0, 21))
    assert "partial" not in str(error.value)
