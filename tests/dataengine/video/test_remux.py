"""Copies are bit-exact, cuts change only the group they cut, joins are the sum of their parts for every reader."""

from __future__ import annotations

import dataclasses
import itertools
import stat
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_foreign import Write, by_hand, moving, packet_hashes, psnr

from conftest import shared_data
from dataengine.episode import ArrayClip
from dataengine.errors import VideoError
from dataengine.video import DEFAULT, CannotJoin, Codec, DepthCoding, VideoClip, encode, join, mux, probe, remux
from dataengine.video.index import index_of

CLOSED = {
    "h264": {"options": {"g": "10", "bf": "0"}},
    "h264 B": {"options": {"g": "12", "bf": "3"}},
    "av1": {"encoder": "libsvtav1", "options": {"g": "8", "preset": "12"}},
    "hevc": {"encoder": "libx265", "options": {"x265-params": "log-level=none:keyint=10:open-gop=0"}},
    "mkv": {"name": "foreign.mkv", "options": {"g": "10", "bf": "0"}},
}
REAL = [
    "groot_lerobot/robot_sim.PickNPlace/videos/chunk-000/observation.images.ego_view/episode_000004.mp4",
    "lerobot_v21_g1/videos/chunk-000/observation.images.cam_high/episode_000001.mp4",
    "lerobot_v30_depth_language/videos/observation.images.top_depth/chunk-000/file-000.mp4",
    "hands/handpose3d_cam0.mp4",
]


def own(path: Path) -> VideoClip:
    depth = DepthCoding() if probe(path).kind == "depth" else None
    return VideoClip.from_file(path, trusted=True, depth=depth)


def clock_is_exact(path: Path, fps: float | Fraction) -> bool:
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
        times = [frame.pts * base for frame in container.decode(video=0)]
    exact = Fraction(fps).limit_denominator(1001)
    return times == [k / exact for k in range(len(times))] and base.denominator % (512 * exact.numerator) == 0


@pytest.mark.parametrize("path", REAL)
def test_whole_real_files_are_copied_packet_by_packet(tmp_path: Path, path: str) -> None:
    source = shared_data(path)
    info = remux(own(source), tmp_path / "x.mp4")
    assert info.reencoded == 0 and info.frames == probe(source).frames
    assert packet_hashes(tmp_path / "x.mp4") == packet_hashes(source)
    assert info.extradata_sha == probe(source).extradata_sha
    assert clock_is_exact(tmp_path / "x.mp4", info.fps)


def test_nothing_but_pictures_is_taken_over(write: Write, tmp_path: Path) -> None:
    source = write(moving(30), sound=True, tags={"location": "+48.1+011.5/", "title": "kitchen", "comment": "Anna"})
    info = remux(own(source), tmp_path / "x.mp4")
    assert not info.has_audio
    assert not {"title", "location", "comment", "encoder"} & set(info.tags)
    data = (tmp_path / "x.mp4").read_bytes()
    assert not any(word in data for word in (b"kitchen", b"+48.1", b"Anna", b"mp4a", b"Lavf"))
    assert stat.S_IMODE((tmp_path / "x.mp4").stat().st_mode) == 0o644
    assert (by_hand(tmp_path / "x.mp4") == by_hand(source)).all()


@pytest.mark.parametrize("rate", [10, 50, 29.97, Fraction(30000, 1001)])
def test_a_vague_clock_becomes_exact(write: Write, tmp_path: Path, rate: float | Fraction) -> None:
    times = [round(k * 1000 / float(rate)) for k in range(40)]
    source = write(moving(40), options={"bf": "2"}, time_base=Fraction(1, 1000), times=times)
    info = remux(VideoClip.from_file(source, fps=float(rate)), tmp_path / "x.mp4")
    assert info.reencoded == 0 and info.constant
    assert clock_is_exact(tmp_path / "x.mp4", rate)
    assert (by_hand(tmp_path / "x.mp4") == by_hand(source)).all()


@pytest.mark.parametrize("kind", CLOSED)
def test_cuts_change_only_the_cut_group(write: Write, tmp_path: Path, kind: str) -> None:
    source = write(moving(60), **CLOSED[kind])
    clip, before = own(source), by_hand(source)
    for start, stop in [(0, 60), (24, 40), (3, 57), (1, 60), (0, 31)]:
        info = remux(clip.slice(start, stop), tmp_path / "x.mp4")
        after = by_hand(tmp_path / "x.mp4")
        changed = np.flatnonzero((after != before[start:stop]).reshape(stop - start, -1).any(1))
        assert after.shape == before[start:stop].shape
        assert len(changed) <= info.reencoded < 24, (start, stop)
        assert clock_is_exact(tmp_path / "x.mp4", 30)
        if len(changed):
            assert psnr(after[changed], before[start:stop][changed]) > 36
            assert all(i < info.reencoded or i >= stop - start - info.reencoded for i in changed)
        cut = VideoClip.from_file(tmp_path / "x.mp4")
        for index in np.random.default_rng(0).permutation(stop - start):
            assert (cut.frame(int(index)) == after[index]).all(), "a frame at random differs from the same in order"


def test_a_cut_of_our_own_file_can_be_joined(tmp_path: Path) -> None:
    """Seams of our own codec share the parameter sets, so the cut file stays one of the family."""
    info = encode(ArrayClip(moving(60), 30.0), tmp_path / "own.mp4")
    cut = remux(own(tmp_path / "own.mp4").slice(7, 60), tmp_path / "cut.mp4")
    assert (cut.reencoded, cut.frames) == (DEFAULT.gop - 7, 53)
    assert cut.extradata_sha == info.extradata_sha
    join([own(tmp_path / "cut.mp4"), own(tmp_path / "own.mp4")], tmp_path / "joined.mp4")
    parts = np.concatenate([by_hand(tmp_path / "cut.mp4"), by_hand(tmp_path / "own.mp4")])
    assert (by_hand(tmp_path / "joined.mp4") == parts).all()


def test_a_foreign_seam_is_not_joined(write: Write, tmp_path: Path) -> None:
    source = write(moving(60), options={"g": "10", "bf": "0", "preset": "slow"})
    info = remux(own(source).slice(7, 60), tmp_path / "cut.mp4")
    assert info.reencoded == 3 and info.extradata_sha != probe(source).extradata_sha
    with pytest.raises(CannotJoin, match="codec parameters"):
        join([own(source), own(tmp_path / "cut.mp4")], tmp_path / "joined.mp4")
    both = join([own(tmp_path / "cut.mp4")] * 2, tmp_path / "twice.mp4")
    assert both.frames == 106
    assert (by_hand(tmp_path / "twice.mp4") == np.tile(by_hand(tmp_path / "cut.mp4"), (2, 1, 1, 1))).all()


def test_what_cannot_be_copied_is_encoded(write: Write, tmp_path: Path) -> None:
    for source in (
        write(moving(20), "mpeg4", name="x.avi"),
        write(moving(20), "ffv1", name="x.mkv"),
        write(moving(20), options={"g": "100"}, name="one-group.mp4"),
    ):
        clip = VideoClip.from_file(source, fps=30).slice(2, 18)
        info = remux(clip, tmp_path / "out.mp4", Codec(crf=10))
        assert (info.codec, info.frames, info.reencoded) == ("h264", 16, 16)
        assert psnr(by_hand(tmp_path / "out.mp4"), by_hand(source)[2:18]) > 36
    source = write(moving(40), "mpeg4", options={"g": "10"}, name="mpeg4.mp4")
    assert remux(own(source).slice(10, 33), tmp_path / "out.mp4").reencoded == 0
    assert remux(own(source).slice(8, 33), tmp_path / "out.mp4").codec == "h264"


def test_depth_stays_exact_wherever_it_is_cut(tmp_path: Path) -> None:
    source = shared_data(REAL[2])
    clip, codes = own(source), by_hand(source, "gray12le")
    for start, stop in [(0, 255), (60, 135), (61, 134), (100, 101)]:
        info = remux(clip.slice(start, stop), tmp_path / "x.mp4")
        assert info.pix_fmt == "gray12le" and info.codec == "hevc"
        assert (by_hand(tmp_path / "x.mp4", "gray12le") == codes[start:stop]).all()


@pytest.mark.parametrize("hidden", [0, 4, 10, 14])
def test_edit_lists(write: Write, tmp_path: Path, hidden: int) -> None:
    """A file trimmed by an edit list holds frames that nobody is shown: they are neither counted nor copied."""
    source = write(moving(40), options={"g": "10", "bf": "0"})
    path = tmp_path / "trimmed.mp4"
    with av.open(str(source)) as container, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                packet.pts, packet.dts = packet.pts - hidden * 512, packet.dts - hidden * 512
                packet.stream = stream
                output.mux(packet)
    expected = by_hand(path)
    clip = VideoClip.from_file(path, fps=30)
    assert clip.length == len(expected) == 40 - hidden
    assert (np.stack(list(clip.frames())) == expected).all()
    info = remux(clip, tmp_path / "x.mp4")
    after = by_hand(tmp_path / "x.mp4")
    assert info.frames == 40 - hidden
    begin = (10 - hidden) % 10
    assert info.reencoded == begin
    assert (after[begin:] == expected[begin:]).all()


def test_packets_hidden_in_the_middle_are_not_copied(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(moving(40), options={"g": "10", "bf": "0"})
    for hidden, begin in [((), 0), ((15,), 20), ((10,), 10), ((0,), 0), ((35,), None)]:
        index = dataclasses.replace(index_of(path), hidden=np.array(hidden, np.int64))
        monkeypatch.setattr(mux, "index_of", lambda _, found=index: found)
        run = mux.copyable_run(path, 0, 40)
        assert (run and run.start) == begin, hidden


@pytest.mark.parametrize("kind", [*CLOSED, "own"])
def test_joins_are_the_sum_of_their_parts(write: Write, tmp_path: Path, kind: str) -> None:
    clips, parts, packets = [], [], []
    for seed, count in enumerate([30, 24, 36]):
        if kind == "own":
            path = tmp_path / f"own-{seed}.mp4"
            encode(ArrayClip(moving(count, seed=seed), 30.0), path)
        else:
            path = write(
                moving(count, seed=seed), **{**CLOSED[kind], "name": f"{seed}-{CLOSED[kind].get('name', 'x.mp4')}"}
            )
        clips.append(VideoClip.from_file(path, fps=30))
        parts.append(by_hand(path))
        packets += packet_hashes(path)
    info = join(clips, tmp_path / "joined.mp4")
    assert (info.frames, info.reencoded, info.constant) == (90, 0, True)
    assert packet_hashes(tmp_path / "joined.mp4") == packets
    assert (by_hand(tmp_path / "joined.mp4") == np.concatenate(parts)).all()
    assert clock_is_exact(tmp_path / "joined.mp4", 30)
    joined = VideoClip.from_file(tmp_path / "joined.mp4", trusted=True)
    everything = np.concatenate(parts)
    for index in np.random.default_rng(0).permutation(90):
        assert (joined.frame(int(index)) == everything[index]).all()
    second = VideoClip.from_file(tmp_path / "joined.mp4", from_timestamp=30 / 30, length=24)
    assert (np.stack(list(second.frames())) == parts[1]).all()
    assert second.fingerprint == clips[1].fingerprint


def test_spans_are_joined_too(tmp_path: Path) -> None:
    encode(ArrayClip(moving(60), 30.0), tmp_path / "own.mp4", Codec(gop=10))
    clip, frames = own(tmp_path / "own.mp4"), by_hand(tmp_path / "own.mp4")
    join([clip.slice(20, 40), clip.slice(50, 60), clip.slice(0, 7)], tmp_path / "x.mp4")
    assert (by_hand(tmp_path / "x.mp4") == np.concatenate([frames[20:40], frames[50:60], frames[:7]])).all()


def test_what_cannot_be_joined(write: Write, tmp_path: Path) -> None:
    """Settings whose extradata differs in one byte give wrong pictures without an error, so they are refused."""
    base = {"options": {"g": "10", "bf": "0"}}
    one = own(write(moving(20), **base, name="one.mp4"))
    others = {
        "codec parameters": write(moving(20), options={"g": "10", "bf": "0", "x264-params": "cabac=0"}, name="2.mp4"),
        "rate": write(moving(20), **base, rate=25, name="3.mp4"),
        "size": write(moving(20, 64, 64), **base, name="4.mp4"),
        "pixel format": write(moving(20), **base, pix_fmt="yuv444p", name="5.mp4"),
        "codec": write(moving(20), "libx265", options={"x265-params": "log-level=none"}, name="6.mp4"),
    }
    for reason, path in others.items():
        with pytest.raises(CannotJoin, match=reason):
            join([one, own(path)], tmp_path / "x.mp4")
    for start, stop in [(3, 20), (15, 20)]:
        with pytest.raises(CannotJoin, match="whole groups"):
            join([one, one.slice(start, stop)], tmp_path / "x.mp4")
    with pytest.raises(CannotJoin, match="whole groups"):
        join([VideoClip.from_file(write(moving(20), "mpeg4", name="x.avi"), fps=30)], tmp_path / "x.mp4")
    with pytest.raises(CannotJoin, match="nothing"):
        join([], tmp_path / "x.mp4")
    assert not (tmp_path / "x.mp4").exists()
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


def test_a_source_that_breaks_on_the_way_leaves_no_file(write: Write, tmp_path: Path) -> None:
    source = write(moving(60), muxer={"movflags": "+faststart"})
    clip = own(source)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(VideoError):
        remux(clip, tmp_path / "x.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["foreign.mp4"]


def test_the_same_bytes_each_time(write: Write, tmp_path: Path) -> None:
    clip = own(write(moving(60), options={"g": "10", "bf": "0"}))
    for name in "ab":
        remux(clip.slice(3, 44), tmp_path / f"{name}.mp4")
        join([clip, clip], tmp_path / f"joined-{name}.mp4")
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "joined-a.mp4").read_bytes() == (tmp_path / "joined-b.mp4").read_bytes()


@pytest.mark.parametrize(("first", "second"), itertools.permutations(["veryfast", "medium"]))
def test_parameters_that_differ_a_little(write: Write, tmp_path: Path, first: str, second: str) -> None:
    """x264 presets change a few bits of the extradata: joined by force, pictures are wrong without an error."""
    files = [
        write(moving(20, seed=n), options={"g": "10", "bf": "0", "preset": preset}, name=f"{preset}.mp4")
        for n, preset in enumerate((first, second))
    ]
    with pytest.raises(CannotJoin, match="codec parameters"):
        join([own(path) for path in files], tmp_path / "x.mp4")
