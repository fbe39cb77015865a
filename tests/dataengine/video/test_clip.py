"""Frames by number are the frames PyAV decodes from the start, in every kind of file and every order of asking."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_foreign import Write, by_hand, moving

from conftest import DATA, shared_data
from dataengine.episode import ArrayClip
from dataengine.errors import VideoError
from dataengine.video import DepthCoding, VideoClip, close_readers, encode, join, probe, reader, remux

FOREIGN = {
    "B-frames": {"options": {"bf": "3", "g": "12"}},
    "one group": {"options": {"g": "500"}},
    "open groups": {"options": {"bf": "3", "g": "10", "x264-params": "open-gop=1"}},
    "av1": {"encoder": "libsvtav1", "options": {"g": "8", "preset": "12"}},
    "av1 reordered": {"encoder": "libsvtav1", "options": {"preset": "12", "svtav1-params": "pred-struct=2"}},
    "hevc": {"encoder": "libx265", "options": {"x265-params": "log-level=none:keyint=10"}},
    "mpeg4": {"encoder": "mpeg4", "options": {"g": "12"}},
    "mpeg4 B": {"encoder": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mkv": {"name": "foreign.mkv", "options": {"bf": "2", "g": "10"}},
    "vp9": {"encoder": "libvpx-vp9", "name": "foreign.webm", "options": {"g": "10", "deadline": "realtime"}},
    "avi": {"encoder": "mpeg4", "name": "foreign.avi", "options": {"g": "10"}},
    "avi B": {"encoder": "mpeg4", "name": "foreign.avi", "options": {"g": "10", "bf": "2"}},
    "fragmented": {"muxer": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}, "options": {"g": "10"}},
    "29.97": {"rate": Fraction(30000, 1001)},
    "milliseconds": {"time_base": Fraction(1, 1000), "times": [round(k * 1000 / 30) for k in range(60)]},
    "variable": {"time_base": Fraction(1, 90000), "times": np.cumsum(np.arange(60) % 5 * 900 + 1500).tolist()},
    "starts late": {"times": range(90, 150)},
    "sound": {"sound": True},
}


@pytest.fixture(params=FOREIGN)
def foreign(request: pytest.FixtureRequest, write: Write) -> Path:
    return write(moving(60), **FOREIGN[request.param])


def test_every_kind_of_file(foreign: Path) -> None:
    expected = by_hand(foreign)
    clip = VideoClip.from_file(foreign, fps=30)
    assert (clip.length, clip.height, clip.width, clip.fps, clip.kind) == (60, 48, 64, 30, "rgb")
    assert (np.stack(list(clip.frames())) == expected).all()
    for index in np.random.default_rng(0).permutation(60):
        assert (clip.frame(int(index)) == expected[index]).all(), index
    span = clip.slice(17, 45)
    assert (np.stack(list(span.frames(3, 20))) == expected[20:37]).all()
    assert (span.slice(5, 9).start, span.slice(5, 9).length) == (22, 4)


@pytest.mark.parametrize("path", sorted(p.relative_to(DATA).as_posix() for p in DATA.rglob("*.mp4"))[::3])
def test_real_files(path: str) -> None:
    file = shared_data(path)
    depth = DepthCoding() if probe(file).kind == "depth" else None
    clip = VideoClip.from_file(file, depth=depth)
    clip = clip.slice(0, min(clip.length, 60))
    expected = by_hand(file, "rgb24" if depth is None else "gray12le") if clip.width < 700 else None
    frames = np.stack(list(clip.frames()))
    if expected is not None:
        assert (frames == (expected[:60] if depth is None else depth.decode(expected[:60, ..., None]))).all()
    for index in (59, 3, 31, 30, clip.length - 1, 0):
        if index < clip.length:
            assert (clip.frame(index) == frames[index]).all()


def test_a_span_deep_in_a_file_decodes_one_group(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = VideoClip.from_file(write(moving(300), options={"g": "10"}))
    decoded = []
    picture = reader.Reader._picture
    monkeypatch.setattr(reader.Reader, "_picture", lambda self: decoded.append(1) or picture(self))
    assert len(list(clip.frames(217, 230))) == 13
    assert len(decoded) == 20  # 210 to 230
    assert len(list(clip.frames(230, 235))) + len(list(clip.frames(236, 240))) == 9
    assert len(decoded) == 30  # goes on without a seek


def test_several_readers_of_one_file(write: Write) -> None:
    path = write(moving(60), options={"g": "15"})
    expected, clip = by_hand(path), VideoClip.from_file(path)
    for a, b, n in zip(clip.frames(0, 30), clip.frames(30, 60), range(30), strict=True):
        assert (a == expected[n]).all() and (b == expected[30 + n]).all()
        assert (clip.frame(59 - n) == expected[59 - n]).all()
    wrong: list[int] = []

    def read(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, 60, 40).tolist():
            if not (clip.frame(index) == expected[index]).all():
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    close_readers()


def test_a_fork_opens_its_own_file(write: Write) -> None:
    """Data loaders fork: a file position shared with the parent would give wrong frames to both."""
    path = write(moving(60, 240, 320), options={"g": "5", "qp": "1"})
    expected, clip = by_hand(path), VideoClip.from_file(path)
    clip.frame(30)
    child = os.fork()
    picks = np.random.default_rng(child == 0).integers(0, 60, 100).tolist()
    good = bool(reader._pool) == (child != 0) and all((clip.frame(i) == expected[i]).all() for i in picks)
    if child == 0:
        os._exit(0 if good else 1)
    assert good
    assert os.waitpid(child, 0)[1] == 0


def test_clips_are_small_and_travel(write: Write) -> None:
    clip = VideoClip.from_file(write(moving(60))).slice(10, 20)
    clip.frame(0)
    data = pickle.dumps(clip)
    assert len(data) < 1000
    assert pickle.loads(data) == clip
    assert (pickle.loads(data).frame(3) == clip.frame(3)).all()


def test_starting_at_a_timestamp(write: Write) -> None:
    path = write(moving(60), rate=10)
    clip = VideoClip.from_file(path, from_timestamp=float(np.float32(2.3)), length=7)
    assert (clip.start, clip.length, clip.fps) == (23, 7, 10.0)
    assert np.allclose(clip.times(), np.arange(23, 30) / 10)
    with pytest.raises(VideoError, match=r"no frame at 6\.1 s"):
        VideoClip.from_file(path, from_timestamp=6.1)


def test_what_is_not_there(write: Write, tmp_path: Path) -> None:
    path = write(moving(20))
    clip = VideoClip.from_file(path)
    for start, length in [(0, 21), (15, 6), (-1, 3), (20, None), (3, 0)]:
        with pytest.raises(VideoError, match="has 20 frames"):
            VideoClip.from_file(path, start=start, length=length)
    for start, stop in [(0, 21), (-1, 2), (5, 4)]:
        with pytest.raises(VideoError, match="20 frames"):
            list(clip.frames(start, stop))
    with pytest.raises(VideoError, match="cannot be cut"):
        clip.slice(5, 5)
    with pytest.raises(VideoError, match="No such file"):
        VideoClip.from_file(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="expected 32×48"):
        VideoClip(path, 0, 20, 30.0, 48, 32).frame(0)
    path.unlink()
    with pytest.raises(VideoError, match="No such file"):
        clip.frame(0)


def test_a_replaced_file_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    for seed in (1, 2):
        encode(ArrayClip(moving(12, seed=seed), 30.0), path)
        assert (VideoClip.from_file(path, trusted=True).frame(7) == by_hand(path)[7]).all()


def test_fingerprints_follow_the_pictures(write: Write, tmp_path: Path) -> None:
    clip = VideoClip.from_file(write(moving(60), options={"g": "10", "bf": "0"}))
    other = VideoClip.from_file(write(moving(60, seed=1), options={"g": "10", "bf": "0"}, name="other.mp4"))
    prints = {c.fingerprint for c in (clip, other, clip.slice(0, 59), clip.slice(10, 20), clip.slice(11, 21))}
    assert len(prints) == 5
    remux(clip, tmp_path / "copy.mp4")
    copy = VideoClip.from_file(tmp_path / "copy.mp4", trusted=True)
    join([clip, clip], tmp_path / "both.mp4")
    both = VideoClip.from_file(tmp_path / "both.mp4", trusted=True)
    for start, stop in [(0, 60), (10, 20), (33, 47)]:
        same = {c.slice(start, stop).fingerprint for c in (clip, copy, both, both.slice(60, 120))}
        assert len(same) == 1, (start, stop)


class Skipping(reader.Reader):
    """A decoder that leaves out one frame."""

    def _seek(self, place: int | None) -> None:
        super()._seek(place)
        decoded = self._decoded

        def lossy() -> Iterator:
            for picture in decoded or ():
                if picture.pts != self.index.times[25]:  # type: ignore[index]
                    yield picture

        self._decoded = lossy()


def test_a_frame_left_out_is_an_error_never_a_shift(write: Write) -> None:
    found = Skipping(write(moving(60), options={"g": "10"}))
    assert len(list(found.pictures(0, 25))) == 25
    with pytest.raises(VideoError, match="frame 25 is missing"):
        list(found.pictures(20, 30))
    found.close()
