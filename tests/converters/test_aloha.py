"""ALOHA HDF5 in and out, against h5py, OpenCV and Pillow by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image
from source_layouts import aloha, pictures

from conftest import shared_data
from converters.aloha import Aloha
from converters.aloha_layout import JOINTS
from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.errors import ConfigError, EpisodeError, SourceError

READER = Aloha()


def made(length: int = 6, *, velocity: bool = True) -> Episode:
    rng = np.random.default_rng(length)
    columns = {
        "observation.state": (Feature("float32", (3,), ("a", "b", "grip"), "state", ("rad", "rad", "m")), 3),
        "action": (Feature("float32", (2,), ("da", "db"), "action", "rad", info={"control": "delta"}), 2),
        "next.success": (Feature("bool", (1,), ("success",), "done"), 0),
        "sim.state": (Feature("float64", (4,), tuple("wxyz")), 4),
    }
    if velocity:
        columns["observation.velocity"] = (Feature("float32", (3,), ("a", "b", "grip"), "state", "rad/s"), 3)
    frames = {k: rng.normal(size=(length, n) if n else length).astype(f.dtype) for k, (f, n) in columns.items()}
    features = {k: f for k, (f, _) in columns.items()}
    features["observation.images.front"] = Feature("video", (12, 16, 3), ("height", "width", "channels"), "image")
    features["observation.images.front_depth"] = Feature(
        "video", (12, 16, 1), ("height", "width", "channels"), "depth", "m"
    )
    depth = rng.uniform(0.1, 4, (length, 12, 16, 1)).astype(np.float32)
    clips = {
        "observation.images.front": ArrayClip(pictures(length, length), 10.0),
        "observation.images.front_depth": ArrayClip(depth, 10.0),
    }
    meta = Meta(("red first", "then blue"), True, embodiment="tabletop", licence="mit")
    tasks = np.arange(length) // 4
    return Episode("made", 10.0, features, frames, clips, meta=meta, frame_tasks=tasks.astype(np.int64)).check()


def all_frames(episode: Episode, key: str) -> np.ndarray:
    return np.stack(list(episode.clips[key].frames()))


def test_a_raw_file_comes_out_as_it_lies(tmp_path: Path) -> None:
    path = aloha(tmp_path / "episode_0.hdf5", 9, ("top", "angle"))
    plan = READER.plan(path)
    assert plan.fps == 50.0 and plan.embodiment == "aloha_sim"
    assert {a.key for a in plan.assumptions} == {"fps", "task", "embodiment"}
    episode = READER.read(plan, plan.episodes[0])
    assert episode.features["observation.state"].names == JOINTS and episode.meta.tasks == ("",)
    assert episode.features["action"].unit == (*("rad",) * 6, "1") * 2
    with h5py.File(path) as file:
        for key, name in (("action", "action"), ("observation.state", "observations/qpos"),
                          ("observation.velocity", "observations/qvel")):  # fmt: skip
            np.testing.assert_array_equal(episode.frames[key], file[name][:])
    np.testing.assert_array_equal(all_frames(episode, "observation.images.top"), pictures(0, 9))
    np.testing.assert_array_equal(all_frames(episode, "observation.images.angle"), pictures(1, 9))


def test_jpeg_gives_what_opencv_gives_and_an_ordinary_decoder_would_swap_red_and_blue(tmp_path: Path) -> None:
    path = aloha(tmp_path / "episode_0.hdf5", 5, ("cam_high", "cam_left_wrist"), jpeg=True, base=True)
    plan = READER.plan(path)
    assert {a.key for a in plan.assumptions} >= {"cameras/observation.images.cam_high/colour"}
    episode = READER.read(plan, plan.episodes[0])
    key = "observation.images.cam_left_wrist"
    seen = all_frames(episode, key)
    with h5py.File(path) as file:
        rows = file["observations/images/cam_left_wrist"][:]
    np.testing.assert_array_equal(seen, [cv2.imdecode(row, 1) for row in rows])
    assert np.abs(seen.astype(int) - pictures(1, 5)).mean() < 12
    ordinary = np.asarray(Image.open(io.BytesIO(rows[0].tobytes())))
    np.testing.assert_array_equal(ordinary[..., ::-1], seen[0])
    swapped = READER.plan(path, {"cameras": {key: {"colour": "bgr"}}})
    np.testing.assert_array_equal(READER.read(swapped, swapped.episodes[0]).clips[key].frame(0), ordinary)


def test_the_base_is_joined_to_the_arms_or_kept_apart(tmp_path: Path) -> None:
    path = aloha(tmp_path / "episode_0.hdf5", 5, base=True)
    plan = READER.plan(path)
    episode = READER.read(plan, plan.episodes[0])
    assert episode.features["action"].names == (*JOINTS, "base_linear", "base_angular")
    assert plan.embodiment == "aloha" and "observation.effort" in episode.frames
    with h5py.File(path) as file:
        np.testing.assert_array_equal(episode.frames["action"], np.hstack([file["action"][:], file["base_action"][:]]))
    apart = {"features": {"action": {"from": ["action"]}, "collect.base": {"from": ["base_action"]}}}
    assert next(READER.read_all(path, apart)).frames["action"].shape == (5, 14)


def test_a_folder_is_one_source_in_numeric_order_and_its_bad_episodes_are_quarantined(tmp_path: Path) -> None:
    for i in range(12):
        aloha(tmp_path / f"episode_{i}.hdf5", 5, seed=i)
    with h5py.File(tmp_path / "episode_3.hdf5", "a") as file:
        del file["observations/qpos"]
        file["observations/qpos"] = np.zeros((4, 14), np.float32)
    with h5py.File(tmp_path / "episode_5.hdf5", "a") as file:
        file["observations/qpos"][2, 3] = np.inf
    with h5py.File(tmp_path / "episode_7.hdf5", "a") as file:
        del file["observations/images/top"]
        file["observations/images/top"] = np.zeros((5, 13, 16, 3), np.uint8)
    (tmp_path / "episode_9.hdf5").write_text("not HDF5")
    (tmp_path / "episode_0_video.mp4").write_bytes(b"x")
    bad: dict[str, str] = {}
    good = list(READER.read_all(tmp_path, {"task": "lift"}, on_problem=lambda r, e: bad.update({r.name: e.reason})))
    assert [e.meta.source["file"] for e in good] == [f"episode_{i}.hdf5" for i in (0, 1, 2, 4, 6, 8, 10, 11)]
    assert good[0].meta.tasks == ("lift",)
    assert "4 rows" in bad["episode_3.hdf5"] and "NaN or Inf" in bad["episode_5.hdf5"]
    assert "13×16, not 12×16" in bad["episode_7.hdf5"] and "HDF5" in bad["episode_9.hdf5"]
    assert "episode_0_video.mp4" in READER.plan(tmp_path).unused


def test_a_damaged_picture_is_named_with_its_frame(tmp_path: Path) -> None:
    path = aloha(tmp_path / "episode_0.hdf5", 5, jpeg=True)
    with h5py.File(path, "a") as file:
        file["observations/images/top"][3] = 0
    episode = next(READER.read_all(path))
    with pytest.raises(EpisodeError, match="frame 3"):
        all_frames(episode, "observation.images.top")


def test_a_picture_that_claims_to_be_enormous_is_refused(tmp_path: Path) -> None:
    path = aloha(tmp_path / "episode_0.hdf5", 5, jpeg=True)
    with h5py.File(path, "a") as file:
        row = file["observations/images/top"][0].tobytes()
        at = row.index(b"\xff\xc0")
        forged = row[: at + 5] + b"\xff\xdc\xff\xdc" + row[at + 9 :]
        file["observations/images/top"][0] = np.frombuffer(forged, np.uint8)
    with pytest.raises(SourceError, match="65500×65500"):
        READER.plan(path)


def test_written_raw_files_read_back_equal_with_names_units_tasks_and_other_columns(tmp_path: Path) -> None:
    episode = made()
    files = READER.write(iter([episode, made(4)]), tmp_path)
    assert [f.name for f in files] == ["episode_0.hdf5", "episode_1.hdf5"]
    plan = READER.plan(tmp_path)
    assert plan.fps == 10.0 and plan.embodiment == "tabletop" and plan.licence == "mit" and not plan.assumptions
    back = READER.read(plan, plan.episodes[0])
    assert back.meta.tasks == episode.meta.tasks and back.meta.success is True
    assert back.frame_tasks is not None
    np.testing.assert_array_equal(back.frame_tasks, episode.frame_tasks)
    assert dict(back.features) == dict(episode.features)
    for key, column in episode.frames.items():
        np.testing.assert_array_equal(back.frames[key], column)
    for key in episode.clips:
        np.testing.assert_array_equal(all_frames(back, key), all_frames(episode, key))


def test_what_is_written_is_acts_own_layout(tmp_path: Path) -> None:
    """As `utils.EpisodicDataset.__getitem__` and `get_norm_stats` of ACT open it."""
    episode = made(velocity=False)
    (path,) = READER.write(iter([episode]), tmp_path)
    with h5py.File(path) as root:
        assert bool(root.attrs["sim"]) is True
        assert root["/action"].shape == (6, 2)
        np.testing.assert_array_equal(root["/observations/qpos"][2], episode.frames["observation.state"][2])
        assert root["/observations/qvel"][3].shape == (3,) and "derived" in root["/observations/qvel"].attrs
        image = root["/observations/images/front"]
        assert image.dtype == np.uint8 and image.chunks == (1, 12, 16, 3)
        np.testing.assert_array_equal(image[4], pictures(6, 6)[4])
    assert "observation.velocity" not in READER.plan(path).features  # nothing that was made up comes back


def test_written_jpeg_files_are_act_plus_plus_layout(tmp_path: Path) -> None:
    episode = made()
    (path,) = READER.write(iter([episode]), tmp_path, jpeg_quality=95)
    with h5py.File(path) as root:
        assert bool(root.attrs["compress"]) is True
        rows, sizes = root["/observations/images/front"][:], root["/compress_len"][:]
        assert sizes.shape == (1, 6) and sizes.dtype == np.float32 and rows.shape == (6, sizes.max())
        for row, size in zip(rows, sizes[0], strict=True):
            assert not row[int(size) :].any() and row[int(size) - 2 : int(size)].tolist() == [0xFF, 0xD9]
        decoded = np.stack([cv2.imdecode(row, 1) for row in rows])
    back = next(READER.read_all(path))
    np.testing.assert_array_equal(all_frames(back, "observation.images.front"), decoded)
    assert np.abs(decoded.astype(int) - pictures(6, 6)).mean() < 12


def test_writing_is_whole_or_not_at_all_and_never_over_other_episodes(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="ALOHA files need it"):
        READER.write(iter([made(), made().select(["action"])]), tmp_path / "a")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["episode_0.hdf5"]
    with pytest.raises(ConfigError, match="already holds"):
        READER.write(iter([made()]), tmp_path / "a")

    class Short(ArrayClip):
        def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
            return iter(self.array[:2])

    episode = made()
    short = replace(episode, clips={**episode.clips, "observation.images.front": Short(pictures(0, 6), 10.0)})
    with pytest.raises(EpisodeError, match="gave 2 of 6"):
        READER.write(iter([short]), tmp_path / "b")
    assert not list((tmp_path / "b").iterdir())


def test_a_forged_note_of_ours_is_ignored(tmp_path: Path) -> None:
    path = aloha(tmp_path / "episode_0.hdf5", 5)
    for forged in ("{", "[]", json.dumps({"fps": -1, "tasks": [3], "features": {"action": 4}})):
        with h5py.File(path, "a") as file:
            file.attrs["dataengine"] = forged
        assert READER.plan(path).fps == 50.0


@pytest.mark.parametrize(
    "folder", ["raw_sim_transfer_cube_scripted", "sim_transfer_cube_scripted_compressed", "mobile_aloha"]
)
def test_the_real_files(folder: str) -> None:
    path = shared_data(f"aloha_act_hdf5/{folder}")
    truth = json.loads(shared_data("truth.json").read_text())["aloha_act_hdf5"]
    plan = READER.plan(path)
    assert len(plan.episodes) == 2 and plan.fps == 50.0
    for ref in plan.episodes:
        episode, expected = READER.read(plan, ref), truth[f"{folder}/{ref.name}"]
        assert episode.length == expected["action"]["shape"][0]
        sums = expected["action"]["sum_per_dim"] + expected.get("base_action", {}).get("sum_per_dim", [])
        np.testing.assert_allclose(episode.frames["action"].sum(0, dtype=np.float64), sums, atol=1e-5)
        state = episode.frames["observation.state"]
        np.testing.assert_allclose(state.sum(0, dtype=np.float64), expected["qpos"]["sum_per_dim"], atol=1e-5)
        speed = episode.frames["observation.velocity"].sum(dtype=np.float64)
        assert speed == pytest.approx(expected["qvel_sum"], abs=1e-4)
        assert set(episode.clips) == {f"observation.images.{c}" for c in expected["cameras"]}
        for name, camera in expected["cameras"].items():
            clip = episode.clips[f"observation.images.{name}"]
            for frame, said in (
                (clip.frame(0), camera["frame_0"]),
                (clip.frame(clip.length - 1), camera["frame_last"]),
            ):
                np.testing.assert_allclose(frame.mean((0, 1)), said["mean_per_channel"], atol=1e-3)
                assert frame[: len(frame) // 2].mean() == pytest.approx(said["top_half"], abs=1e-2)


def test_what_labs_add_to_the_layout_is_read(tmp_path: Path) -> None:
    """Depth in a folder of its own, the instruction in the file, capture times that show the rate."""
    path = aloha(tmp_path / "episode_0.hdf5", 6, ("cam_high",))
    seconds = 1.7e9 + np.arange(6) / 30 + [0, 1e-4, 0, -1e-4, 0, 0]
    depth = np.arange(6 * 12 * 16, dtype=np.uint16).reshape(6, 12, 16) + 500
    with h5py.File(path, "a") as file:
        file["observations/images_depth/cam_high"] = depth
        file["language_raw"] = np.array([b"Pour the \xc3\xbcber cup"])
        file["timestamp"] = np.arange(6)  # a count, no clock
        file["observations/timestamps"] = seconds
    plan = READER.plan(path)
    assumed = {a.key: a.value for a in plan.assumptions}
    assert plan.fps == 30.0 and assumed["fps"] == 30.0 and "task" not in assumed and not plan.unused
    assert assumed["cameras/observation.images.cam_high_depth/scale"] == 0.001
    episode = READER.read(plan, plan.episodes[0])
    assert episode.meta.tasks == ("Pour the über cup",)
    np.testing.assert_array_equal(episode.frames["collect.timestamp"], seconds)
    np.testing.assert_array_equal(episode.frames["collect.timestamp_as_stored"], np.arange(6))
    seen = np.stack(list(episode.clips["observation.images.cam_high_depth"].frames()))
    np.testing.assert_allclose(seen[..., 0], depth / 1000, rtol=1e-6)
