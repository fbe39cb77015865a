"""Odd but legal files: what they hold must come out right by an independent reading, or be refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from source_layouts import aloha, pictures, replay, robomimic

from converters.base import detect
from dataengine.episode import Episode
from dataengine.errors import SourceError
from dataengine.source import Plan

COLOUR = pictures(0, 6, 16, 24)


def read(path: Path, mapping: dict[str, Any] | None = None) -> tuple[Plan, list[Episode]]:
    converter = detect(path)
    plan = converter.plan(path, mapping)
    return plan, [converter.read(plan, ref) for ref in plan.episodes if ref.problem is None]


def shown(episode: Episode, camera: str) -> np.ndarray:
    return np.stack(list(episode.clips[f"observation.images.{camera}"].frames()))


def with_dataset(path: Path, name: str, values: Any) -> Path:
    robomimic(path, {"demo_1": 6})
    with h5py.File(path, "r+") as file:
        file[f"data/demo_1/{name}"] = values
    return path


@pytest.mark.parametrize("top", [1.0, 255.0])
@pytest.mark.parametrize("made", ["robomimic", "zarr"])
def test_the_range_of_float_pictures_is_not_judged_by_a_black_first_one(tmp_path: Path, made: str, top: float) -> None:
    floats = COLOUR.astype(np.float64) * (top / 255)
    floats[0] = 0
    if made == "robomimic":
        path, camera = with_dataset(tmp_path / "x.hdf5", "obs/front_image", floats), "front"
    else:
        state = np.zeros((6, 2), np.float32) + 1
        path, camera = replay(tmp_path / "x.zarr", {"img": floats, "state": state, "action": state}, [6]), "img"
    plan, episodes = read(path, {"fps": 10})
    np.testing.assert_array_equal(shown(episodes[0], camera)[1:], COLOUR[1:])
    assert f"cameras/observation.images.{camera}/scale" in [a.key for a in plan.assumptions]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f: f / 127.5 - 1,
        lambda f: np.where(np.arange(6)[:, None, None, None] == 4, f, f / 255),
        lambda f: f * np.nan,
    ],
    ids=["-1 to 1", "0 to 255 among 0 to 1", "nan"],
)
def test_float_pictures_of_another_range_are_refused_not_clipped(tmp_path: Path, wrong: Any) -> None:
    path = with_dataset(tmp_path / "x.hdf5", "obs/front_image", wrong(COLOUR.astype(np.float32)))
    with pytest.raises(SourceError, match=r"front_image: a picture has values from .* another `scale`"):
        shown(read(path)[1][0], "front")


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_may_stand_first(tmp_path: Path, channels: int) -> None:
    planar = np.moveaxis(COLOUR[..., :channels], 3, 1)
    episode = read(with_dataset(tmp_path / "x.hdf5", "obs/front_image", planar))[1][0]
    want = np.repeat(COLOUR[..., :1], 3, 3) if channels == 1 else COLOUR
    np.testing.assert_array_equal(shown(episode, "front"), want)


@pytest.mark.parametrize("made", ["robomimic", "zarr"])
def test_depth_in_planes_and_millimetres_is_depth_in_metres(tmp_path: Path, made: str) -> None:
    depth = np.arange(6 * 16 * 24, dtype=">u2").reshape(6, 1, 16, 24)
    if made == "robomimic":
        path = with_dataset(tmp_path / "x.hdf5", "obs/front_depth", depth)
    else:
        state = np.zeros((6, 2), np.float32) + 1
        path = replay(tmp_path / "x.zarr", {"front_depth": depth, "state": state, "action": state}, [6])
    plan, episodes = read(path, {"fps": 10})
    np.testing.assert_allclose(shown(episodes[0], "front_depth")[..., 0], depth[:, 0] / 1000, rtol=1e-6)
    assert "cameras/observation.images.front_depth/scale" in [a.key for a in plan.assumptions]


def test_each_demo_may_bring_its_instruction(tmp_path: Path) -> None:
    path = robomimic(tmp_path / "x.hdf5", {"demo_1": 4, "demo_2": 4, "demo_3": 4})
    with h5py.File(path, "r+") as file:
        file["data/demo_1"].attrs["language_instruction"] = "拿 the cup"
        file["data/demo_2/instruction"] = "push it"
    plan, episodes = read(path)
    assert [e.meta.tasks for e in episodes] == [("拿 the cup",), ("push it",), ("Lift",)]
    assert any(a.key == "task" and "some episodes have no instruction" in a.why for a in plan.assumptions)
    assert not any("instruction" in name for name in plan.unused)


@pytest.mark.parametrize("make", [lambda p: robomimic(p, {"demo_1": 4}), lambda p: aloha(p, 4)])
def test_attributes_that_nothing_takes_are_said(tmp_path: Path, make: Any) -> None:
    path = make(tmp_path / "x.hdf5")
    with h5py.File(path, "r+") as file:
        (file["data/demo_1"] if "data" in file else file).attrs["operator_mood"] = "good"
    assert "attribute operator_mood" in read(path)[0].unused


def test_a_dataset_declared_without_any_value_is_no_reason_to_refuse_a_file(tmp_path: Path) -> None:
    path = with_dataset(tmp_path / "x.hdf5", "obs/nothing", h5py.Empty("f4"))
    assert len(read(path)[1]) == 1


def test_an_episode_without_rows_costs_itself(tmp_path: Path) -> None:
    state = np.arange(12, dtype=np.float32).reshape(6, 2) + 1
    plan, episodes = read(replay(tmp_path / "x.zarr", {"state": state, "action": state}, [0, 2, 2, 6]), {"fps": 10})
    assert [ref.problem for ref in plan.episodes] == ["has no rows", None, "has no rows", None]
    np.testing.assert_array_equal(np.concatenate([e.frames["action"] for e in episodes]), state)


@pytest.mark.parametrize("version", [2, 3])
def test_text_beside_the_numbers_is_left_out_and_said(tmp_path: Path, version: int) -> None:
    state = np.ones((6, 2), np.float32)
    arrays = {"state": state, "action": state, "text": np.array(["ab", "拿"] * 3), "raw": np.array([b"x", b"y"] * 3)}
    plan, episodes = read(replay(tmp_path / "x.zarr", arrays, [6], version=version), {"fps": 10})
    assert [name.split(" ")[0] for name in plan.unused] == ["raw", "text"] and len(episodes) == 1
