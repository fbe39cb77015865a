"""Replay buffers in zarr, versions 2 and 3, folder and zip, against zarr and arrays by hand."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import imagecodecs.numcodecs
import numcodecs
import numpy as np
import pytest
import zarr
from source_layouts import pictures, replay, umi

from conftest import shared_data
from converters.zarr_replay import ZarrReplay
from dataengine.errors import ConfigError, EpisodeError, SourceError, UnsafeSource

READER = ZarrReplay()
ENDS = [5, 9, 16]


def pusht(length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "img": pictures(0, length, 16, 16).astype(np.float32),
        "state": rng.uniform(0, 512, (length, 5)).astype(np.float32),
        "action": rng.uniform(0, 512, (length, 2)).astype(np.float32),
        "n_contacts": np.zeros((length, 1), np.float32),
    }


@pytest.mark.parametrize(("version", "name"), [(2, "x.zarr"), (2, "x.zarr.zip"), (3, "x.zarr"), (3, "x.zarr.zip")])
def test_pusht_in_every_container(tmp_path: Path, version: int, name: str) -> None:
    arrays = pusht(16)
    path = replay(tmp_path / name, arrays, ENDS, version=version)
    assert READER.sniff(path)
    plan = READER.plan(path)
    assert plan.fps == 10.0 and [ref.length for ref in plan.episodes] == [5, 4, 7]
    assert plan.features["observation.state"].names == ("agent.x", "agent.y", "block.x", "block.y", "block.angle")
    assert plan.features["observation.state"].unit == ("px",) * 4 + ("rad",)
    start = 0
    for episode, end in zip(READER.read_all(path), ENDS, strict=True):
        for key, source in (("observation.state", "state"), ("action", "action")):
            np.testing.assert_array_equal(episode.frames[key], arrays[source][start:end])
        np.testing.assert_array_equal(episode.frames["collect.n_contacts"], arrays["n_contacts"][start:end, 0])
        seen = np.stack(list(episode.clips["observation.images.img"].frames()))
        np.testing.assert_array_equal(seen, pictures(0, 16, 16, 16)[start:end])
        start = end


def test_umi_has_pictures_in_jpeg_xl_and_actions_that_are_the_next_pose(tmp_path: Path) -> None:
    imagecodecs.numcodecs.register_codecs(verbose=False)
    arrays = umi(16)
    codec = imagecodecs.numcodecs.Jpegxl(lossless=True)
    path = replay(tmp_path / "dataset.zarr.zip", arrays, ENDS, codec=codec)
    plan = READER.plan(path)
    assert plan.fps == 60.0
    assert {a.key: a.value for a in plan.assumptions}["features/action/derive"] == "next_pose"
    assert any("imagecodecs_jpegxl" in note for note in plan.notes)
    ref = pickle.loads(pickle.dumps(plan.episodes[1]))
    episode = READER.read(pickle.loads(pickle.dumps(plan)), ref)
    poses = np.hstack([arrays[f"robot0_{n}"] for n in ("eef_pos", "eef_rot_axis_angle", "gripper_width")])[5:9]
    np.testing.assert_array_equal(episode.frames["observation.state"], poses)
    np.testing.assert_array_equal(episode.frames["action"], poses[[1, 2, 3, 3]])
    np.testing.assert_array_equal(
        episode.frames["collect.robot0_demo_start_pose"], arrays["robot0_demo_start_pose"][5:9]
    )
    clip = episode.clips["observation.images.camera0"]
    np.testing.assert_array_equal(np.stack(list(clip.frames(1, 3))), pictures(1, 16, 16, 16)[6:8])
    assert not any(k.startswith(("observation.robot", "action.")) for k in episode.features)


def test_the_order_of_a_zip_or_folder_does_not_change_the_columns(tmp_path: Path) -> None:
    arrays = umi(16)
    arrays |= {name.replace("0", "1"): values + 1 for name, values in arrays.items() if values.ndim == 2}
    orders = (sorted(arrays), sorted(arrays, reverse=True))
    plans = [
        READER.plan(replay(tmp_path / f"{i}.zip", {n: arrays[n] for n in order}, ENDS))
        for i, order in enumerate(orders)
    ]
    assert plans[0].mapping == plans[1].mapping and list(plans[0].features) == list(plans[1].features)
    want = [f"robot{r}_{n}" for r in (0, 1) for n in ("eef_pos", "eef_rot_axis_angle", "gripper_width")]
    episode = READER.read(plans[1], plans[1].episodes[0])
    np.testing.assert_array_equal(episode.frames["observation.state"], np.hstack([arrays[n][:5] for n in want]))


def test_robomimics_image_buffers_are_not_umis(tmp_path: Path) -> None:
    sizes = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2, "action": 10}
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=(16, n)).astype(np.float32) for name, n in sizes.items()}
    path = replay(tmp_path / "x.zarr", arrays | {"agentview_image": pictures(0, 16, 16, 16)}, ENDS)
    plan = READER.plan(path, {"fps": 20})
    assert plan.embodiment is None and plan.features["action"].size == 10
    state = np.hstack([arrays[n] for n in list(sizes)[:3]])[:5]
    np.testing.assert_array_equal(READER.read(plan, plan.episodes[0]).frames["observation.state"], state)


def test_an_unknown_buffer_must_be_told_its_rate(tmp_path: Path) -> None:
    path = replay(tmp_path / "x.zarr", {"state": np.ones((16, 3)), "action": np.ones((16, 2))}, ENDS)
    with pytest.raises(ConfigError, match=r"x\.zarr: does not say its rate.*--mapping"):
        READER.plan(path)
    plan = READER.plan(path, {"fps": 15})
    assert plan.fps == 15.0 and plan.embodiment is None


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_float_pictures_become_bytes(tmp_path: Path, scale: float) -> None:
    arrays = pusht(16) | {"img": pictures(0, 16, 16, 16).astype(np.float32) / scale}
    plan = READER.plan(replay(tmp_path / "x.zarr", arrays, ENDS))
    frame = READER.read(plan, plan.episodes[0]).clips["observation.images.img"].frame(2)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, pictures(0, 16, 16, 16)[2])


def test_a_missing_chunk_is_a_problem_of_its_episodes_and_not_black_frames(tmp_path: Path) -> None:
    path = replay(tmp_path / "x.zarr", pusht(16), ENDS)
    (path / "data/img/2.0.0.0").unlink()  # rows 8:12, of episodes 1 and 2
    plan = READER.plan(path)
    assert [ref.problem for ref in plan.episodes] == [None, *["chunk 2 of data/img is missing"] * 2]
    (path / "data/img/1.0.0.0").unlink()
    (path / "data/img/0.0.0.0").unlink()
    (path / "data/img/3.0.0.0").unlink()
    with pytest.raises(SourceError):
        READER.plan(path)


def test_a_damaged_chunk_is_an_error_of_the_episode(tmp_path: Path) -> None:
    path = replay(tmp_path / "x.zarr", pusht(16), ENDS)
    for name in ("data/state/0.0", "data/img/3.0.0.0"):
        packed = (path / name).read_bytes()
        (path / name).write_bytes(packed[:16] + b"\xff" * (len(packed) - 16))
    bad: list[str] = []
    good = list(READER.read_all(path, on_problem=lambda ref, error: bad.append(f"{ref.name}: {error.reason}")))
    assert [e.meta.source["place"] for e in good] == ["1", "2"] and bad == ["episode_0: holds NaN or Inf"]
    with pytest.raises(EpisodeError, match="cannot be decoded"):
        list(good[1].clips["observation.images.img"].frames())


@pytest.mark.parametrize("torn", [lambda data: data[:-5], lambda data: data[:4] + b"\1" + data[5:], lambda data: b"x"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_torn_chunk_is_seen_before_the_codec_reads_behind_it(tmp_path: Path, zipped: bool, torn: Any) -> None:
    """Blosc gives what happens to stand in memory for what a chunk lacks: other numbers each time."""
    path = replay(tmp_path / "x.zarr", pusht(16), ENDS)
    (path / "data/state/1.0").write_bytes(torn((path / "data/state/1.0").read_bytes()))
    if zipped:
        path = Path(shutil.make_archive(str(tmp_path / "y"), "zip", path))
    found = {ref.name: ref.problem for ref in READER.plan(path, {"fps": 10}).episodes}
    assert {name for name, problem in found.items() if problem == "chunk 1 of data/state is damaged"} == {
        "episode_0", "episode_1"
    }  # fmt: skip


@pytest.mark.parametrize("ends", [[9, 5, 16], [-1, 16], [5, 9, 20], [5, 9, 12]])
def test_ends_that_cannot_be_are_refused(tmp_path: Path, ends: list[int]) -> None:
    with pytest.raises(SourceError, match=r"episode_ends|episodes end at"):
        READER.plan(replay(tmp_path / "x.zarr", pusht(16), ends))


def edit(path: Path, name: str, **changes: Any) -> None:
    meta = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps(meta | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dtype": "|O", "filters": [{"id": "pickle"}]}, "not numbers"),
        ({"filters": [{"id": "pickle"}]}, "packed with 'pickle'"),
        ({"compressor": {"id": "../../evil"}}, "packed with"),
        ({"chunks": [10**6, 96, 96, 3]}, "chunks of"),
        ({"shape": [10**12, 16, 16, 3], "chunks": [1, 16, 16, 3]}, "claims 1,000,000,000,000 chunks"),
        ({"shape": [-1, 16, 16, 3]}, "do not fit"),
        ({"shape": "x"}, "cannot be read"),
        ({"chunks": [4]}, "do not fit"),
    ],
)
def test_hostile_metadata(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = replay(tmp_path / "x.zarr", pusht(16), ENDS)
    edit(path, "data/img/.zarray", **changes)
    assert not READER.sniff(path)
    refusal = READER.refusal(path)
    assert refusal is not None and says in str(refusal)


def test_a_chunk_that_is_far_too_large_is_refused(tmp_path: Path) -> None:
    path = replay(tmp_path / "x.zarr", pusht(16), ENDS)
    with (path / "data/state/0.0").open("wb") as file:
        file.truncate(8 << 20)
    with pytest.raises(UnsafeSource, match="8,388,608 bytes"):
        READER.plan(path)


def test_links_out_of_the_folder_and_zip_tricks_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    path = replay(tmp_path / "x.zarr", pusht(16), ENDS)
    (path / "data/state/0.0").unlink()
    (path / "data/state/0.0").symlink_to(secret)
    with pytest.raises(UnsafeSource):
        READER.plan(path)
    slip = replay(tmp_path / "slip.zarr.zip", pusht(16), ENDS)
    with zipfile.ZipFile(slip, "a") as archive:
        archive.writestr("../../evil", "x")
    assert not READER.sniff(slip) and isinstance(READER.refusal(slip), UnsafeSource)
    bomb = replay(tmp_path / "bomb.zarr.zip", pusht(16), ENDS)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/more/0", bytes(64 << 20))
    assert not READER.sniff(bomb) and isinstance(READER.refusal(bomb), UnsafeSource)


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = replay(tmp_path / "x.zarr.zip", pusht(16), ENDS)
    path.write_bytes(path.read_bytes()[:-200])
    assert not READER.sniff(path) and "zip" in str(READER.refusal(path))


def test_a_folder_of_buffers_is_one_source(tmp_path: Path) -> None:
    for name in ("a.zarr.zip", "b.zarr"):
        replay(tmp_path / name, pusht(16), ENDS)
    shutil.copytree(tmp_path / "b.zarr", tmp_path / "c.zarr")
    (tmp_path / "c.zarr/meta/episode_ends/0").write_bytes(b"x")
    plan = READER.plan(tmp_path)
    assert [ref.name for ref in plan.episodes] == [
        *(f"{f}:{i}" for f in ("a.zarr.zip", "b.zarr") for i in range(3)),
        "c.zarr",
    ]
    assert plan.episodes[-1].problem is not None
    assert READER.read(plan, plan.episodes[4]).length == 4


def test_a_buffer_that_is_none_is_not_taken_for_one(tmp_path: Path) -> None:
    root = zarr.create_group(zarr.storage.LocalStore(tmp_path / "x.zarr"), zarr_format=2)
    root.create_array("data", shape=(3,), dtype="f4")
    assert not READER.sniff(tmp_path / "x.zarr")
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.writestr("hello.txt", "x")
    assert not READER.sniff(tmp_path / "plain.zip") and not READER.sniff(tmp_path / "absent")


@pytest.mark.parametrize("name", ["pusht_replay.zarr", "dataset.zarr.zip"])
def test_the_real_buffers(name: str) -> None:
    path = shared_data(f"umi_zarr/{name}")
    truth = json.loads(shared_data("truth.json").read_text())["umi_zarr"][name]
    imagecodecs.numcodecs.register_codecs(verbose=False)
    root = zarr.open_group(zarr.storage.ZipStore(path, mode="r") if path.is_file() else path, mode="r")
    ends = truth["episode_ends"]
    start = 0
    for episode, end, expected in zip(READER.read_all(path), ends, truth["episodes"], strict=True):
        assert episode.length == end - start
        for key, feature in episode.features.items():
            if feature.is_camera:
                source = "camera0_rgb" if name.endswith("zip") else "img"
                pixels = np.stack(list(episode.clips[key].frames()))
                np.testing.assert_array_equal(pixels, np.rint(root[f"data/{source}"][start:end]).astype(np.uint8))
                means = expected[source]["frame_0"]["mean_per_channel"]
                np.testing.assert_allclose(pixels[0].mean((0, 1)), means, atol=0.5)
        parts = (
            ["state"]
            if "state" in expected
            else [f"robot0_{n}" for n in ("eef_pos", "eef_rot_axis_angle", "gripper_width")]
        )
        state = np.hstack([root[f"data/{n}"][start:end] for n in parts])
        np.testing.assert_array_equal(episode.frames["observation.state"], state)
        action = root["data/action"][start:end] if "state" in expected else np.vstack([state[1:], state[-1:]])
        np.testing.assert_array_equal(episode.frames["action"], action)
        start = end


def test_numcodecs_has_a_pickle_codec_that_we_refuse() -> None:
    """The refusal above is worth something only as long as the codec exists under this name."""
    assert numcodecs.get_codec({"id": "pickle"}) is not None
