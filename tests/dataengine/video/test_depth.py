"""Depth codes against LeRobot's definition, written down here a second time in float64, and against its real files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video_foreign import by_hand

from conftest import shared_data
from dataengine.episode import ArrayClip
from dataengine.errors import ConfigError
from dataengine.guard import read_json
from dataengine.video import DEPTH, DepthCoding, VideoClip, encode, lerobot_info, probe

ODD = DepthCoding(min=0.2, max=3.0, shift=0.05, unit="mm")
LINEAR = DepthCoding(min=0.0, max=5.0, log=False)


def by_definition(coding: DepthCoding, metres: np.ndarray) -> np.ndarray:
    """The code as a real number."""
    if not coding.log:
        return 4095 * (metres - coding.min) / (coding.max - coding.min)
    low, high = math.log(coding.min + coding.shift), math.log(coding.max + coding.shift)
    return 4095 * (np.log(metres + coding.shift) - low) / (high - low)


@pytest.mark.parametrize("coding", [DepthCoding(), ODD, LINEAR])
def test_codes_follow_the_definition(coding: DepthCoding) -> None:
    metres = np.linspace(coding.min, coding.max, 200_000)
    codes = coding.encode(metres.astype(np.float32))
    assert codes.dtype == np.uint16
    assert np.abs(codes - by_definition(coding, metres)).max() < 0.51
    back = coding.decode(codes)
    assert back.dtype == np.float32
    step = np.abs(np.diff(coding.decode(np.arange(4096, dtype=np.uint16)))).max()
    assert np.abs(back - metres).max() <= 0.51 * step
    assert (coding.encode(coding.decode(np.arange(4096, dtype=np.uint16))) == np.arange(4096)).all()


@given(st.floats(width=32))
def test_every_float_has_a_code(metres: float) -> None:
    for coding in (DepthCoding(), ODD, LINEAR):
        code = int(coding.encode(np.array([metres], np.float32))[0])
        if math.isnan(metres) or metres <= coding.min:
            assert code == 0
        elif metres >= coding.max:
            assert code == 4095
        assert 0 <= code <= 4095


def test_depth_video_keeps_every_code(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    metres = rng.uniform(0, 11, (23, 30, 40, 1)).astype(np.float32)
    info = encode(ArrayClip(metres, 30.0), tmp_path / "x.mp4")
    assert (info.codec, info.pix_fmt, info.kind, info.frames) == ("hevc", "gray12le", "depth", 23)
    assert (by_hand(tmp_path / "x.mp4", "gray12le") == DepthCoding().encode(metres[..., 0])).all()
    clip = VideoClip.from_file(tmp_path / "x.mp4", depth=DepthCoding(), trusted=True)
    assert clip.kind == "depth"
    frames = np.stack(list(clip.frames()))
    assert frames.shape == metres.shape and frames.dtype == np.float32
    assert np.abs(frames - metres.clip(0.01, 10)).max() < 0.003
    encode(clip, tmp_path / "again.mp4")
    assert (by_hand(tmp_path / "again.mp4", "gray12le") == by_hand(tmp_path / "x.mp4", "gray12le")).all()


def test_info_goes_both_ways() -> None:
    for coding in (DepthCoding(), ODD, LINEAR):
        assert DepthCoding.from_info(coding.to_info()) == coding
    assert DepthCoding.from_info({"video.is_depth_map": True}) == DepthCoding(unit="mm")
    assert DepthCoding.from_info({"is_depth_map": False}) is None
    assert DepthCoding.from_info({}) is None
    for wrong in ({"min": -1.0}, {"min": 2.0, "max": 1.0}, {"shift": -0.01}, {"unit": "ft"}, {"max": math.nan}):
        with pytest.raises(ConfigError):
            DepthCoding(**wrong)  # type: ignore[arg-type]


def test_the_real_set() -> None:
    """Frame 10 of episode 1 went in with a mean of 4718.86 mm, clipped at 8 m, and stock LeRobot gives 4719.95 mm."""
    root = shared_data("lerobot_v30_depth_language")
    feature = read_json(root / "meta/info.json")["features"]["observation.images.top_depth"]
    coding = DepthCoding.from_info(feature["info"])
    assert coding == DepthCoding(unit="mm")
    path = root / "videos/observation.images.top_depth/chunk-000/file-000.mp4"
    clip = VideoClip.from_file(path, start=60, length=75, depth=coding)
    frame = clip.frame(10)
    assert frame.shape == (96, 128, 1)
    assert abs(np.rint(frame * 1000).mean(dtype=np.float64) - 4719.95) < 0.01  # LeRobot gives whole millimetres
    assert abs(float(frame.max()) * 1000 - 8002) < 1


def test_info_blocks_are_lerobots(tmp_path: Path) -> None:
    root = shared_data("lerobot_v30_depth_language")
    features = read_json(root / "meta/info.json")["features"]
    for key, depth in (("observation.images.top", None), ("observation.images.top_depth", DepthCoding(unit="mm"))):
        theirs = features[key]["info"]
        ours = lerobot_info(probe(root / f"videos/{key}/chunk-000/file-000.mp4"), depth=depth)
        assert ours == {name: theirs[name] for name in ours}
        assert set(theirs) - set(ours) == {
            f"video.{name}" for name in ("g", "crf", "preset", "fast_decode", "video_backend", "extra_options")
        }
    metres = np.ones((3, 30, 40, 1), np.float32)
    ours = lerobot_info(encode(ArrayClip(metres, 30.0), tmp_path / "x.mp4"), DEPTH, DepthCoding(unit="mm"))
    assert set(ours) == set(features["observation.images.top_depth"]["info"])
