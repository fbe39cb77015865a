"""The mapping: what it refuses, how it is laid over a proposal, and what it makes of columns and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from converters import rotations
from converters.assemble import assemble, features_of
from converters.clips import mapped
from converters.mapping import CameraRule, SourceMapping, overlay
from converters.raw import Camera, Column, RawEpisode
from dataengine.episode import ArrayClip
from dataengine.errors import ConfigError, DataEngineError, EpisodeError

T = 5
COLUMNS = {
    "obs/pos": Column("obs/pos", "float64", (3,)),
    "obs/quat": Column("obs/quat", "float64", (4,)),
    "grip": Column("grip", "float32", ()),
    "act": Column("act", "float64", (2,), ("a", "b"), "rad"),
    "text": Column("text", "string", ()),
    "pose": Column("pose", "float64", (4, 4)),
}
CAMERAS = {"rgb": Camera("rgb", 4, 6)}
PROPOSAL = {
    "fps": 10.0,
    "task": None,
    "features": {
        "observation.state": {"from": ["obs/pos", "grip"]},
        "action": {"from": ["act"], "control": "absolute"},
    },
    "cameras": {"observation.images.front": {"from": "rgb"}},
}


def raw(seed: int = 0) -> RawEpisode:
    rng = np.random.default_rng(seed)
    columns = {n: rng.normal(size=(T, *c.shape)).astype(c.dtype) for n, c in COLUMNS.items() if c.dtype != "string"}
    columns["text"] = np.array(["x"] * T, object)
    return RawEpisode(columns, {"rgb": ArrayClip(rng.integers(0, 255, (T, 4, 6, 3), dtype=np.uint8), 10.0)})


def made(mapping: Mapping[str, Any], episode: RawEpisode | None = None) -> tuple[dict, dict, dict]:
    rules = SourceMapping.from_dict(overlay(PROPOSAL, mapping))
    features = features_of(rules, COLUMNS, CAMERAS)
    frames, clips = assemble(episode or raw(), rules, features, "demo_1")
    return features, frames, clips


def test_the_proposal_alone_gives_joined_columns_with_names_and_units() -> None:
    features, frames, clips = made({})
    state = features["observation.state"]
    assert state.names == ("pos.0", "pos.1", "pos.2", "grip") and state.dtype == "float32" and state.unit is None
    assert features["action"].names == ("a", "b") and features["action"].unit == "rad"
    assert features["action"].info == {"control": "absolute"}
    columns = raw().columns
    expected = np.concatenate([columns["obs/pos"], columns["grip"][:, None]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(frames["observation.state"], expected)
    assert features["observation.images.front"].shape == (4, 6, 3) and clips["observation.images.front"].length == T


def test_a_rule_can_be_changed_in_part_replaced_left_out_and_added() -> None:
    changed, _, _ = made({"features": {"action": {"unit": "deg"}}})
    assert changed["action"].unit == "deg" and changed["action"].info == {"control": "absolute"}
    replaced, _, _ = made({"features": {"action": {"from": ["grip"]}}})
    assert replaced["action"].names == ("grip",) and replaced["action"].info == {}
    left, _, _ = made({"features": {"action": None}, "cameras": {"observation.images.front": None}})
    assert set(left) == {"observation.state"}
    added, frames, _ = made({"features": {"collect.pose": {"from": ["pose"]}, "collect.word": {"from": "text"}}})
    assert added["collect.pose"].shape == (4, 4) and frames["collect.pose"].shape == (T, 4, 4)
    assert added["collect.word"].dtype == "string"


def test_complete_means_that_nothing_is_added() -> None:
    features, _, _ = made({"complete": True, "features": {"action": {"from": ["act[1:2]"]}}})
    assert set(features) == {"action"} and features["action"].names == ("b",)


def test_units_scale_offset_and_ranges() -> None:
    part = {"column": "act[0:1]", "unit": "rad", "to_unit": "deg", "scale": 2, "offset": 1}
    features, frames, _ = made({"features": {"observation.state": {"from": [part]}}})
    assert features["observation.state"].unit == "deg"
    expected = np.rad2deg(raw().columns["act"][:, 0]) * 2 + 1
    np.testing.assert_allclose(frames["observation.state"], expected.astype(np.float32), rtol=1e-6)


def test_next_pose_is_the_following_row_and_the_last_is_repeated() -> None:
    _, frames, _ = made({"features": {"action": {"derive": "next_pose"}}})
    state = frames["observation.state"]
    np.testing.assert_array_equal(frames["action"], np.concatenate([state[1:], state[-1:]]))


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"fpss": 3}, "did you mean 'fps'"),
        ({"fps": 0}, "not a rate"),
        ({"fps": True}, "not a rate"),
        ({"task": 3}, "task"),
        ({"features": []}, "expected feature keys"),
        ({"features": {"actoin": {"unit": "rad"}}}, "did you mean 'action'"),
        ({"features": {"action": {"fro": ["act"]}}}, "did you mean 'from'"),
        ({"features": {"action": {"from": ["atc"]}}}, "did you mean 'act'"),
        ({"features": {"action": {"from": ["act[0:3]"]}}}, "values 0:2"),
        ({"features": {"action": {"from": ["act"], "names": ["a"]}}}, "2 values but 1 names"),
        ({"features": {"action": {"from": ["act"], "names": ["a", "a"]}}}, "stands twice"),
        ({"features": {"action": {"from": ["act"], "unit": ["m"]}}}, "2 values but 1 units"),
        ({"features": {"action": {"from": ["act"], "dtype": "flaot32"}}}, "no number type"),
        ({"features": {"action": {"derive": "next_psoe"}}}, "did you mean 'next_pose'"),
        ({"features": {"action": {"from": [{"column": "obs/pos", "rotation": "quaternion_xyzw"}]}}}, "3 values"),
        ({"features": {"action": {"from": [{"column": "obs/quat", "rotation": "quatxyzw"}]}}}, "quaternion_xyzw"),
        ({"features": {"action": {"from": [{"column": "act", "to_unit": "m"}]}}}, "needs `unit`"),
        ({"features": {"action": {"from": [{"column": "act", "unit": "rad", "to_unit": "m"}]}}}, "no way from"),
        ({"features": {"action": {"from": ["text", "act"]}}}, "text"),
        ({"features": {"timestamp": {"from": ["grip"]}}}, "collect.timestamp"),
        ({"features": {"observation.images.x": {"from": ["act"]}}}, "cameras"),
        ({"features": {"a/b": {"from": ["act"]}}}, "separator"),
        ({"features": {"..": {"from": ["act"]}}}, "'..'"),
        ({"cameras": {"front": {"from": "rgb"}}}, "observation.images.<name>"),
        ({"cameras": {"observation.images.x": {"from": "rbg"}}}, "did you mean 'rgb'"),
        ({"cameras": {"observation.images.x": {"from": "rgb", "flip": "verticl"}}}, "did you mean 'vertical'"),
        ({"cameras": {"observation.images.../x": {"from": "rgb"}}}, "separator"),
        ({"complete": "yes"}, "true or false"),
    ],
)
def test_mistakes_are_refused_with_what_would_have_been_right(mapping: dict, says: str) -> None:
    with pytest.raises(DataEngineError) as caught:
        made(mapping)
    assert says in str(caught.value)


def test_a_missing_or_misshapen_column_is_this_episodes_fault() -> None:
    lacking = raw()
    with pytest.raises(EpisodeError, match=r"demo_1.*action.*'act' is missing"):
        made({}, RawEpisode({k: v for k, v in lacking.columns.items() if k != "act"}, lacking.clips))
    with pytest.raises(EpisodeError, match="rows"):
        made({}, RawEpisode({**lacking.columns, "grip": np.zeros(T + 1, np.float32)}, lacking.clips))
    with pytest.raises(EpisodeError, match="shape"):
        made({}, RawEpisode({**lacking.columns, "act": np.zeros((T, 3))}, lacking.clips))
    with pytest.raises(EpisodeError, match="camera 'rgb' is missing"):
        made({}, RawEpisode(lacking.columns))


@pytest.mark.parametrize(("flip", "turn"), [("vertical", np.s_[::-1]), ("horizontal", np.s_[:, ::-1]),
                                            ("rot180", np.s_[::-1, ::-1])])  # fmt: skip
def test_pictures_are_turned(flip: str, turn: Any) -> None:
    clip = raw().clips["rgb"]
    turned = mapped(clip, CameraRule("rgb", flip=flip))  # type: ignore[arg-type]
    np.testing.assert_array_equal(turned.frame(2), clip.frame(2)[turn])
    assert turned.fingerprint != clip.fingerprint
    np.testing.assert_array_equal(turned.slice(1, 4).frame(1), turned.frame(2))


def test_colour_order_grey_alpha_planar_and_float_pictures() -> None:
    class Lying(ArrayClip):
        def __post_init__(self) -> None: ...

    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    assert mapped(ArrayClip(rgb, 1.0), CameraRule("x")) is not None
    np.testing.assert_array_equal(
        mapped(ArrayClip(rgb, 1.0), CameraRule("x", colour="bgr")).frame(0), rgb[0, ..., ::-1]
    )
    alpha = np.concatenate([rgb, rgb[..., :1]], axis=3)
    np.testing.assert_array_equal(mapped(Lying(alpha, 1.0), CameraRule("x", colour="bgr")).frame(1), rgb[1, ..., ::-1])
    np.testing.assert_array_equal(mapped(Lying(alpha, 1.0), CameraRule("x", flip="vertical")).frame(1), rgb[1, ::-1])
    planar = Lying(np.moveaxis(rgb, 3, 1), 1.0)
    np.testing.assert_array_equal(mapped(planar, CameraRule("x", layout="chw")).frame(1), rgb[1])
    floats = Lying(rgb.astype(np.float32) / 255, 1.0)
    np.testing.assert_array_equal(mapped(floats, CameraRule("x", scale=255.0)).frame(0), rgb[0])
    millimetres = Lying(rng.integers(0, 5000, (2, 4, 6, 1)).astype(np.uint16), 1.0)
    metres = mapped(millimetres, CameraRule("x", kind="depth", scale=0.001)).frame(0)
    assert metres.dtype == np.float32
    np.testing.assert_allclose(metres, millimetres.array[0] / 1000, rtol=1e-6)


def test_a_clip_with_nothing_to_do_is_handed_on_so_that_it_can_be_remuxed() -> None:
    clip = raw().clips["rgb"]
    assert mapped(clip, CameraRule("rgb")) is clip


SCIPY = {
    "quaternion_xyzw": lambda r: r.as_quat(),
    "quaternion_wxyz": lambda r: r.as_quat(scalar_first=True),
    "axis_angle": lambda r: r.as_rotvec(),
    "euler_xyz": lambda r: r.as_euler("xyz"),
    "rotation_6d": lambda r: r.as_matrix()[:, :2].reshape(-1, 6),
    "matrix": lambda r: r.as_matrix().reshape(-1, 9),
}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(SCIPY)), st.sampled_from(sorted(SCIPY)))
def test_rotations_agree_with_scipy(seed: int, source: str, target: str) -> None:
    rng = np.random.default_rng(seed)
    truth = Rotation.concatenate([Rotation.random(6, rng=rng), Rotation.identity(1), Rotation.from_euler("x", [np.pi])])
    got = rotations.convert(SCIPY[source](truth), source, target)
    back = rotations._to_matrix(got, target)
    np.testing.assert_allclose(back, truth.as_matrix(), atol=1e-9)
    assert got.shape == SCIPY[target](truth).shape


def test_quaternions_made_from_other_conventions_do_not_jump() -> None:
    turning = Rotation.from_rotvec(np.linspace(0, 4 * np.pi, 200)[:, None] * [0, 0, 1])
    quaternions = rotations.convert(turning.as_matrix().reshape(-1, 9), "matrix", "quaternion_xyzw")
    assert np.abs(np.diff(quaternions, axis=0)).max() < 0.1


def test_what_is_no_rotation_is_refused_with_its_frame() -> None:
    with pytest.raises(ConfigError, match="frame 1"):
        rotations.convert(np.array([[0, 0, 0, 1], [0, 0, 0, 0.0]]), "quaternion_xyzw", "matrix")


def test_a_rotation_in_a_mapping_is_converted_and_described() -> None:
    episode = raw()
    quaternions = episode.columns["obs/quat"] / np.linalg.norm(episode.columns["obs/quat"], axis=1, keepdims=True)
    part = {"column": "obs/quat", "rotation": "quaternion_xyzw", "to_rotation": "axis_angle"}
    features, frames, _ = made(
        {"features": {"observation.state": {"from": ["obs/pos", part]}}},
        RawEpisode({**episode.columns, "obs/quat": quaternions}, episode.clips),
    )
    state = features["observation.state"]
    assert state.shape == (6,) and state.unit == ("", "", "", "rad", "rad", "rad")
    assert state.info["rotations"] == [{"start": 3, "stop": 6, "convention": "axis_angle"}]
    expected = Rotation.from_quat(quaternions).as_rotvec()
    np.testing.assert_allclose(frames["observation.state"][:, 3:], expected, atol=1e-6)
