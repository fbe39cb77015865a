"""From a file of each LeRobot version to a store that stock LeRobot opens: the same values, the same packets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from lerobot_folders import TASKS, TOP, Folder, write_v2, write_v3

from conftest import shared_data
from converters.base import detect
from converters.lerobot_v2 import LeRobotV2
from dataengine.store import Store


def convert(source: Path, target: Path, mapping: dict[str, Any] | None = None) -> Store:
    converter = detect(source)
    plan = converter.plan(source, mapping)
    store = Store.create(target, fps=plan.fps, features=plan.features, embodiment=plan.embodiment)
    with store.writer() as writer:
        for ref in plan.episodes:
            writer.append(converter.read(plan, ref))
    assert Store.open(target).verify().problems in ([], ())
    return Store.open(target)


def packets(path: Path, start: int = 0, stop: int | None = None) -> list[str]:
    """sha256 of every packet in order of the file, by PyAV alone; no B-frames here, so order is frame order."""
    with av.open(str(path)) as container:
        found = [hashlib.sha256(bytes(p)).hexdigest() for p in container.demux(video=0) if p.size]
    return found[start:stop]


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_packets_are_copied_never_encoded(tmp_path: Path, version: str) -> None:
    folder = Folder(version=version, lengths=(8, 12, 6))
    (write_v3 if version == "v3.0" else write_v2)(tmp_path / "source", folder)
    store = convert(tmp_path / "source", tmp_path / "store")
    start = 0
    for index, length in enumerate(folder.lengths):
        clip = store[index].clips[TOP]
        if version == "v3.0":
            before = packets(tmp_path / f"source/videos/{TOP}/chunk-000/file-000.mp4", start, start + length)
        else:
            before = packets(tmp_path / f"source/videos/chunk-000/{TOP}/episode_{index:06d}.mp4")
        assert packets(clip.path, clip.start, clip.start + length) == before  # type: ignore[attr-defined]
        start += length


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("lerobot_v20", "observation.images.top"),
        ("lerobot_v21", "observation.images.angle"),
        ("lerobot_v21_g1", "observation.images.cam_high"),
        ("groot_lerobot/robot_sim.PickNPlace", "observation.images.ego_view"),
    ],
)
def test_packets_of_real_files_are_copied(tmp_path: Path, name: str, camera: str) -> None:
    source = shared_data(name)
    store = convert(source, tmp_path / "store")
    for index, episode in enumerate(store):
        clip = episode.clips[camera]
        before = packets(source / f"videos/chunk-000/{camera}/episode_{index:06d}.mp4")
        assert packets(clip.path, clip.start, clip.start + clip.length) == before  # type: ignore[attr-defined]


def test_packets_of_a_real_v30_are_copied(tmp_path: Path) -> None:
    source = shared_data("lerobot_v30_depth_language")
    store = convert(source, tmp_path / "store")
    for camera in ("observation.images.top", "observation.images.top_depth"):
        whole = packets(source / f"videos/{camera}/chunk-000/file-000.mp4")
        start = 0
        for episode in store:
            clip = episode.clips[camera]
            mine = packets(clip.path, clip.start, clip.start + clip.length)  # type: ignore[attr-defined]
            assert mine == whole[start : start + clip.length]
            start += clip.length


# -- stock LeRobot ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stock() -> Iterator[Any]:
    """LeRobot's own dataset class; importing it takes up to 20 s."""
    module = pytest.importorskip("lerobot.datasets.lerobot_dataset", reason="needs the extra `lerobot`")
    yield lambda root, **kwargs: module.LeRobotDataset("me/set", root=root, video_backend="pyav", **kwargs)


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_stock_lerobot_reads_what_was_written(stock: Any, tmp_path: Path, version: str) -> None:
    rollouts = (write_v3 if version == "v3.0" else write_v2)(tmp_path / "source", Folder(version=version))
    store = convert(tmp_path / "source", tmp_path / "store")
    dataset = stock(store.root, delta_timestamps={"action": [0.0, 0.05]})
    assert (len(dataset), dataset.fps, dataset.num_episodes) == (28, 20, 3)
    row = 0
    for number, rollout in enumerate(rollouts):
        for frame in range(len(rollout)):
            item = dataset[row]
            np.testing.assert_array_equal(item["observation.state"].numpy(), rollout.state[frame])
            following = rollout.action[min(frame + 1, len(rollout) - 1)]
            np.testing.assert_array_equal(item["action"].numpy(), [rollout.action[frame], following])
            assert item["task"] == TASKS[number % 2]
            picture = item[TOP].numpy().transpose(1, 2, 0) * 255
            assert np.abs(picture - rollout.frames[frame]).mean() < 6
            row += 1


@pytest.mark.parametrize(
    "name",
    ["lerobot_v20", "lerobot_v21", pytest.param("groot_lerobot/robot_sim.PickNPlace", marks=pytest.mark.slow)],
)
def test_stock_lerobot_reads_real_files(stock: Any, tmp_path: Path, name: str) -> None:
    """Random rows against the source's own parquet and the source's own video, decoded by hand."""
    source = shared_data(name)
    store = convert(source, tmp_path / "store")
    dataset = stock(store.root)
    camera = next(key for key in ("observation.images.top", "observation.images.ego_view") if key in store.features)
    random = np.random.default_rng(0)
    for index in random.choice(len(store), 2, replace=False):
        first = int(store.table_of_episodes.start[index])
        table = pq.read_table(source / f"data/chunk-000/episode_{index:06d}.parquet")
        with av.open(str(source / f"videos/chunk-000/{camera}/episode_{index:06d}.mp4")) as video:
            frames = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
        for frame in random.choice(table.num_rows, 4, replace=False):
            item = dataset[first + int(frame)]
            for key in ("action", "observation.state"):
                by_hand = np.asarray(table.column(key)[int(frame)].as_py(), np.float32)
                np.testing.assert_array_equal(item[key].numpy(), by_hand)
            decoded = np.rint(item[camera].numpy().transpose(1, 2, 0) * 255)
            assert np.abs(decoded - frames[frame]).max() <= 1


def test_stock_lerobot_reads_depth_and_language(stock: Any, tmp_path: Path) -> None:
    """Both language columns written back by `materialize`, depth in the unit the source had."""
    source = shared_data("lerobot_v30_depth_language")
    store = convert(source, tmp_path / "store")
    store.materialize("language_persistent", "language_events")
    old, new = stock(source), stock(store.root)
    for row in (0, 15, 20, 60 + 18, 254):
        before, after = old[row], new[row]
        for key in ("action", "observation.state", "observation.images.top", "observation.images.top_depth"):
            np.testing.assert_allclose(after[key].numpy(), before[key].numpy(), atol=1e-6)
        for column in ("language_persistent", "language_events"):
            assert len(after[column]) == len(before[column])
            for one, other in zip(after[column], before[column], strict=True):
                assert {k: one[k] for k in ("role", "content", "style")} == {
                    k: other[k] for k in ("role", "content", "style")
                }


def test_pictures_may_stay_pictures(stock: Any, tmp_path: Path) -> None:
    rollouts = write_v2(tmp_path / "source", Folder(version="v2.0", cameras={TOP: "image"}))
    dataset = stock(convert(tmp_path / "source", tmp_path / "store", {"cameras": {TOP: {"dtype": "image"}}}).root)
    for row, frame in ((0, rollouts[0].frames[0]), (20, rollouts[1].frames[11])):
        assert np.array_equal(np.rint(dataset[row][TOP].numpy().transpose(1, 2, 0) * 255), frame)


def test_the_rate_need_not_be_whole(tmp_path: Path) -> None:
    write_v2(tmp_path / "source", Folder(fps=12.5))
    plan = LeRobotV2().plan(tmp_path / "source")
    assert plan.fps == 12.5
    store = convert(tmp_path / "source", tmp_path / "store")
    assert store.fps == 12.5 and store[1].clips[TOP].length == 12
