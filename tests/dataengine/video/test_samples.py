"""What a header says of its packets is what FFmpeg's demuxer finds, or nothing is said."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_foreign import Write, moving

from conftest import shared_data
from dataengine.episode import ArrayClip
from dataengine.store import packets
from dataengine.store.packets import packet_digest
from dataengine.video import Codec, VideoClip, encode, join, remux
from dataengine.video.samples import packets_at, samples_of

OWN = {
    "h264": Codec(gop=10),
    "av1": Codec("av1", gop=8),
    "lossless": Codec(lossless=True),
    "odd": Codec(pix_fmt="yuv444p"),
}
REAL = [
    "lerobot_v21_g1/videos/chunk-000/observation.images.cam_high/episode_000001.mp4",
    "lerobot_v20/videos/chunk-000/observation.images.top/episode_000000.mp4",
    "hands/handpose3d_cam0.mp4",
]


def agrees(path: Path) -> bool:
    """Whether the header was enough; what it says is compared with the demuxer."""
    samples = samples_of(path)
    if samples is None:
        return False
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base == Fraction(1, samples.timescale)
        found = [(p.pts, p.dts, p.is_keyframe, bytes(p)) for p in container.demux(stream) if p.size]
    assert samples.time.tolist() == [p[0] for p in found] == [p[1] for p in found]
    assert samples.key.tolist() == [p[2] for p in found]
    assert list(packets_at(path, samples, np.arange(len(found)))) == [p[3] for p in found]
    some = np.arange(1, len(found), 3)
    assert list(packets_at(path, samples, some)) == [found[n][3] for n in some]
    return True


@pytest.mark.parametrize("name", OWN)
def test_own_files(tmp_path: Path, name: str) -> None:
    encode(ArrayClip(moving(50), 30.0), tmp_path / "own.mp4", OWN[name])
    assert agrees(tmp_path / "own.mp4")
    clip = VideoClip.from_file(tmp_path / "own.mp4", trusted=True)
    remux(clip.slice(20, 45), tmp_path / "cut.mp4")
    assert agrees(tmp_path / "cut.mp4")
    if name == "h264":
        join([clip, clip.slice(0, 20)], tmp_path / "joined.mp4")
        assert agrees(tmp_path / "joined.mp4")


@pytest.mark.parametrize("path", REAL)
def test_real_files(path: str) -> None:
    assert agrees(shared_data(path))


def test_what_a_header_does_not_say(write: Write, tmp_path: Path) -> None:
    """B-frames, fragments, other containers: nothing is said, or the demuxer agrees."""
    plain = {"g": "10", "bf": "0"}
    assert agrees(write(moving(30), options=plain, name="plain.mp4"))
    assert not agrees(write(moving(30), options={"g": "10", "bf": "2"}, name="b.mp4"))
    assert not agrees(write(moving(30), options=plain, name="x.mkv"))
    fragments = tmp_path / "fragments.mp4"
    with (
        av.open(str(write(moving(30), options=plain, name="whole.mp4"))) as source,
        av.open(str(fragments), "w", options={"movflags": "frag_keyframe+empty_moov"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert not agrees(fragments)


def test_a_damaged_header_says_nothing_or_stays_in_the_file(tmp_path: Path) -> None:
    encode(ArrayClip(moving(20), 30.0), tmp_path / "own.mp4", Codec(gop=5))
    data = (tmp_path / "own.mp4").read_bytes()
    begin = data.index(b"moov") - 4
    length = int.from_bytes(data[begin : begin + 4], "big")
    rng = np.random.default_rng(0)
    said = 0
    for _ in range(400):
        changed = bytearray(data)
        for at in rng.integers(begin, begin + length, rng.integers(1, 4)):
            changed[at] = rng.integers(256)
        path = tmp_path / "changed.mp4"
        path.write_bytes(changed)
        if (samples := samples_of(path)) is not None:
            said += 1
            count = len(samples.size)
            assert 0 < count == len(samples.place) == len(samples.time) == len(samples.key) <= len(data)
            assert (samples.place >= 0).all() and (samples.place + samples.size <= len(data)).all()
            assert sum(map(len, packets_at(path, samples, np.arange(count)))) == samples.size.sum()
    assert 50 < said < 390


def test_what_a_camera_shows_is_the_same_by_header_and_by_demuxer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.mp4"
    encode(ArrayClip(moving(90), 30.0), path, Codec(gop=10))
    for begin, length in ((0.0, 90), (1.0, 30), (2.0, 7)):
        found = []
        for many in (0, 1000):
            monkeypatch.setattr(packets, "_MANY", many)
            found.append(packet_digest(path, begin, length, 30.0))
        assert found[0] == found[1] and found[0][1] == length
