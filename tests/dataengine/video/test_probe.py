"""What is said about a file, and that hostile files are errors, never crashes."""

from __future__ import annotations

import os
import random
import struct
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_foreign import Write, by_hand, moving

from conftest import shared_data
from dataengine.errors import VideoError
from dataengine.guard import run_guarded
from dataengine.video import VideoClip, probe, probe_guarded


def test_what_is_found(write: Write) -> None:
    path = write(
        moving(30), options={"bf": "2"}, rate=25, sound=True, tags={"location": "+48.1+011.5/", "title": "kitchen"}
    )
    info = probe(path)
    assert (info.codec, info.pix_fmt, info.width, info.height) == ("h264", "yuv420p", 64, 48)
    assert (info.fps, info.frames, info.constant, info.reordered) == (Fraction(25), 30, True, True)
    assert info.has_audio and info.kind == "rgb" and info.rotation == 0
    assert info.tags["title"] == "kitchen" and "+48.1" in info.tags["location"]
    assert probe_guarded(path) == probe(path, decode=True) == info


def test_rates_that_vary(write: Write) -> None:
    info = probe(write(moving(20), time_base=Fraction(1, 1000), times=[k * 40 + (k % 3) for k in range(20)]))
    assert not info.constant
    assert abs(float(info.fps) - 25) < 0.5


def test_rotation_is_noted_not_applied(write: Write) -> None:
    path = write(moving(5))
    data = path.read_bytes()
    at = data.index(b"tkhd") + 4 + 40
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data[:at] + turned + data[at + 36 :])
    info = probe(path)
    assert info.rotation % 360 in (90, 270)
    assert (info.height, info.width) == (48, 64)
    assert VideoClip.from_file(path).frame(0).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"hello, I am a video"),
        ("playlist.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n"),
        ("concat.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n"),
        ("picture.mp4", b"\x89PNG\r\n\x1a\n" + bytes(100)),
        ("header.mp4", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"),
        ("zeros.mp4", b"\0\0\0\x18ftypisom" + bytes(5000)),
        ("matroska.mp4", b"\x1aE\xdf\xa3" + bytes(100)),
        ("riff.avi", b"RIFF\xff\xff\xff\x7fAVI LIST" + bytes(100)),
    ],
)
def test_what_is_no_video(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for look in (probe, probe_guarded):
        with pytest.raises(VideoError, match=name):
            look(tmp_path / name)


def test_paths_are_never_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.chdir(tmp_path)
    secret = write(moving(3), name="secret.mp4")
    for name in (f"concat:{secret}", f"file:{secret}", "http://localhost:1/x.mp4"):
        with pytest.raises(VideoError, match="No such file"):
            probe(name)
    decoy = write(moving(7), name="decoy.mp4")
    for name in ("concat:secret.mp4", "file:secret.mp4"):
        decoy.rename(tmp_path / name)
        assert probe(name).frames == 7
        (tmp_path / name).rename(decoy)


def test_only_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("aac", 16000)
        container.mux(stream.encode(None))
    with pytest.raises(VideoError):
        probe_guarded(tmp_path / "x.mp4")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("faststart", [True, False])
def test_truncated(write: Write, part: float, faststart: bool) -> None:
    path = write(moving(60), muxer={"movflags": "+faststart"} if faststart else {})
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(VideoError):
        probe_guarded(path)
    with pytest.raises(VideoError):
        VideoClip.from_file(path)


def test_missing_frames_behind_an_honest_looking_box(write: Write) -> None:
    path = write(moving(60), options={"bf": "0"}, muxer={"movflags": "+faststart"})
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = path.read_bytes()
    box = data.index(b"mdat") - 4
    cut = data[: places[40]]
    path.write_bytes(cut[:box] + struct.pack(">I", len(cut) - box) + cut[box + 4 :])
    with pytest.raises(VideoError, match="promises 60 frames, 40 are there"):
        probe(path)


def test_frames_that_are_promised_and_not_there(tmp_path: Path, write: Write) -> None:
    """The picture data is there, but zeroed: demuxing passes, decoding names the frame."""
    path = write(moving(40), options={"g": "10", "bf": "0"}, muxer={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    begin = data.index(b"mdat") + 4
    middle = begin + (len(data) - begin) // 2
    data[middle:] = bytes(len(data) - middle)
    path.write_bytes(data)
    with pytest.raises(VideoError, match="frame"):
        probe_guarded(path, decode=True)
    clip = VideoClip.from_file(path)
    with pytest.raises(VideoError, match="frame"):
        list(clip.frames())


def test_huge_declared_pictures(write: Write) -> None:
    path = write(moving(3), "mpeg4")
    data = path.read_bytes()
    at = data.index(b"mp4v") + 4 + 24
    for width, height in [(60000, 60000), (16000, 16000)]:
        path.write_bytes(data[:at] + struct.pack(">HH", width, height) + data[at + 4 :])
        try:  # FFmpeg may know better from the stream itself; then the true size must come out
            assert (probe(path).width, probe(path).height) == (64, 48)
        except VideoError as error:
            assert "declares pictures" in str(error)
    path = write(np.zeros((1, 2, 16400, 3), np.uint8), "ffv1", name="wide.mkv", pix_fmt="bgr0")
    with pytest.raises(VideoError, match="declares pictures of 16400×2"):
        probe(path)


def test_a_worker_is_reused_and_files_are_looked_at_once(write: Write) -> None:
    paths = [write(moving(3, seed=n), name=f"{n}.mp4") for n in range(20)]
    probe_guarded(paths[0])
    worker = run_guarded(os.getpid)
    started = time.monotonic()
    for path in paths * 2:
        probe_guarded(path)
    assert time.monotonic() - started < 5
    assert run_guarded(os.getpid) == worker


def _damaged(data: bytes, case: int, rng: random.Random) -> bytes:
    """One byte anywhere, twenty anywhere, or three in the header, which decides what is allocated and called."""
    changed = bytearray(data)
    header = data.index(b"moov")
    low, high = (0, len(data)) if case % 3 < 2 else (header, min(header + 3000, len(data)))
    for _ in range((1, 20, 3)[case % 3]):
        changed[rng.randrange(low, high)] = rng.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize(
    ("encoder", "options", "rest"),
    [
        ("libx264", {"g": "10"}, {}),
        ("libsvtav1", {"g": "8", "preset": "12"}, {}),
        ("libx265", {"x265-params": "log-level=none:lossless=1"}, {"pix_fmt": "gray12le"}),
        ("mpeg4", {"g": "10"}, {}),
    ],
)
def test_flipped_bytes_never_take_the_caller_down(write: Write, encoder: str, options: dict, rest: dict) -> None:
    """75 damaged files of each codec: an error, or the right number of frames. And what passes the cheap check
    may be read in this process."""
    frames = moving(40, 64, 64) if not rest else (moving(40, 64, 64)[..., 0].astype(np.uint16) << 4)
    path, rng = write(frames, encoder, options=options, **rest), random.Random(encoder)
    data, passed = path.read_bytes(), 0
    for case in range(75):
        path.unlink()
        path.write_bytes(_damaged(data, case, rng))
        try:
            assert 1 <= probe_guarded(path, decode=True).frames <= 40
            passed += 1
        except VideoError:
            pass
        try:
            clip = VideoClip.from_file(path)
            assert len(list(clip.frames())) == clip.length
        except VideoError:
            pass
    assert passed < 75


def test_pictures_that_the_decoder_patched_up_are_errors(write: Write) -> None:
    path, rng = write(moving(40, 64, 64), "mpeg4", options={"g": "10"}), random.Random(0)
    data, reasons = path.read_bytes(), set()
    for _ in range(60):
        path.unlink()
        path.write_bytes(_damaged(data, 0, rng))
        try:
            probe_guarded(path, decode=True)
        except VideoError as error:
            reasons.add(error.reason.split()[-1])
    assert "damaged" in reasons, reasons


def test_real_damage_is_found(tmp_path: Path) -> None:
    source = shared_data("lerobot_v21_g1") / "videos/chunk-000/observation.images.cam_high/episode_000001.mp4"
    path = tmp_path / "x.mp4"
    path.write_bytes(source.read_bytes())
    assert (by_hand(path)[100] == VideoClip.from_file(path).frame(100)).all()
    path.write_bytes(source.read_bytes()[:-10_000])
    with pytest.raises(VideoError):
        probe_guarded(path)
