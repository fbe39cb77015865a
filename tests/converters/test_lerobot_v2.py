"""LeRobot v2.0 and v2.1 against folders written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import HEIGHT, TASKS, TOP, WIDTH, Folder, edit_json, edit_table, picture, write_v2

from converters.lerobot_v2 import LeRobotV2
from dataengine.episode import CAPTURE_TIME, Episode
from dataengine.errors import SourceError
from dataengine.source import Plan

TABLE = "data/chunk-000/episode_000001.parquet"
VIDEO = f"videos/chunk-000/{TOP}/episode_000001.mp4"


def read(root: Path, mapping: dict[str, Any] | None = None) -> tuple[Plan, list[Episode]]:
    converter = LeRobotV2()
    plan = converter.plan(root, mapping)
    return plan, [converter.read(plan, ref) for ref in plan.episodes if ref.problem is None]


def column_of(image: np.ndarray) -> int:
    """Where the bright column of a test picture stands."""
    return int(np.argmax(image.astype(int).sum((0, 2))[::4] + image.astype(int).sum((0, 2))[1::4]))


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_everything_arrives(tmp_path: Path, version: str) -> None:
    rollouts = write_v2(tmp_path, Folder(version=version, licence="apache-2.0"))
    plan, episodes = read(tmp_path)
    assert (plan.fps, plan.embodiment, plan.licence) == (20.0, "arm", "apache-2.0")
    assert plan.features["action"].names == ("x", "y", "z")
    assert plan.features[TOP].shape == (HEIGHT, WIDTH, 3)
    assert len(episodes) == len(rollouts)
    for number, (episode, rollout) in enumerate(zip(episodes, rollouts, strict=True)):
        assert np.array_equal(episode.frames["observation.state"], rollout.state)
        assert np.array_equal(episode.frames["action"], rollout.action)
        assert np.array_equal(episode.frames["next.reward"], np.arange(len(rollout), dtype=np.float32))
        assert episode.frames["next.done"].tolist() == [False] * (len(rollout) - 1) + [True]
        assert set(episode.features) == {"observation.state", "action", "next.reward", "next.done", TOP}
        assert episode.meta.tasks == (TASKS[number % 2],)
        assert (episode.meta.split, episode.meta.embodiment) == (None, "arm")
        assert [column_of(f) for f in episode.clips[TOP].frames()] == [i % 16 for i in range(len(rollout))]
    assert len({episode.id for episode in episodes}) == 3


def test_an_episode_keeps_its_id_when_the_folder_moves_and_grows(tmp_path: Path) -> None:
    write_v2(tmp_path / "a", Folder(lengths=(9, 12)))
    write_v2(tmp_path / "b", Folder(lengths=(9, 12, 7)))
    assert [e.id for e in read(tmp_path / "a")[1]] == [e.id for e in read(tmp_path / "b")[1]][:2]


def test_videos_are_whole_files_and_never_decoded(tmp_path: Path) -> None:
    write_v2(tmp_path)
    for number, episode in enumerate(read(tmp_path)[1]):
        clip = episode.clips[TOP]
        assert (clip.path.name, clip.start, clip.whole) == (f"episode_{number:06d}.mp4", 0, True)


def test_pictures_in_the_table_are_exact(tmp_path: Path) -> None:
    rollouts = write_v2(tmp_path, Folder(version="v2.0", cameras={TOP: "image"}))
    plan, episodes = read(tmp_path)
    assert plan.features[TOP].dtype == "video"
    for episode, rollout in zip(episodes, rollouts, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(episode.clips[TOP].frames(), rollout.frames, strict=True))
        assert np.array_equal(episode.clips[TOP].slice(3, 6).frame(2), rollout.frames[5])
    kept, _ = read(tmp_path, {"cameras": {TOP: {"dtype": "image"}}})
    assert kept.features[TOP].dtype == "image"


def test_pictures_are_read_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_v2(tmp_path, Folder(lengths=(40,), cameras={TOP: "image"}))
    clip = read(tmp_path)[1][0].clips[TOP]
    assert np.array_equal(clip.frame(39), picture(0, 39))
    frames = clip.frames(20)
    assert np.array_equal(next(frames), picture(0, 20))


def test_the_task_may_change_within_an_episode(tmp_path: Path) -> None:
    write_v2(tmp_path)
    edit_table(tmp_path / TABLE, task_index=[1] * 5 + [0] * 7)
    episode = read(tmp_path)[1][1]
    assert episode.meta.tasks == (TASKS[1], TASKS[0])
    assert episode.frame_tasks is not None and episode.frame_tasks.tolist() == [0] * 5 + [1] * 7


@pytest.mark.parametrize(
    "names",
    [
        ["x", "y", "z"],
        [["x", "y", "z"]],
        {"motors": ["x", "y", "z"]},
        {"a": ["x"], "b": ["y", "z"]},
        {"y": 1, "x": 0, "z": 2},
    ],
)
def test_names_are_flattened(tmp_path: Path, names: Any) -> None:
    write_v2(tmp_path, Folder(names=names))
    assert read(tmp_path)[0].features["action"].names == ("x", "y", "z")


def test_names_that_do_not_fit_are_left_out_and_said(tmp_path: Path) -> None:
    write_v2(tmp_path, Folder(names=["x", "y"]))
    plan, _ = read(tmp_path)
    assert any("2 names for 3 values" in note for note in plan.notes)
    write_v2(tmp_path / "twice", Folder(names=["x", "x", "y"]))
    assert read(tmp_path / "twice")[0].features["action"].names == ("x", "x_2", "y")


def test_a_whole_rate_and_a_broken_one_are_the_same_rate(tmp_path: Path) -> None:
    for place, fps in (("int", 20), ("float", 20.0)):
        write_v2(tmp_path / place, Folder(fps=fps))
        assert read(tmp_path / place)[0].fps == 20.0


def test_keys_of_other_writers_are_named_for_policies(tmp_path: Path) -> None:
    write_v2(tmp_path, Folder(cameras={"observation.image": "video", "wrist": "image"}))
    info = json.loads((tmp_path / "meta/info.json").read_text())
    features = {("state" if k == "observation.state" else k): v for k, v in info["features"].items()}
    edit_json(tmp_path / "meta/info.json", features=features)
    for path in (tmp_path / "data/chunk-000").iterdir():
        table = pq.read_table(path)
        pq.write_table(
            table.rename_columns(["state" if n == "observation.state" else n for n in table.column_names]), path
        )
    plan, episodes = read(tmp_path)
    assert {"observation.state", "observation.images.image", "observation.images.wrist"} <= set(plan.features)
    assert any("'state'" in str(assumption) for assumption in plan.assumptions)
    assert episodes[0].clips["observation.images.wrist"].frame(0).shape == (HEIGHT, WIDTH, 3)


def test_capture_times_are_kept_where_the_clock_is_not_the_rate(tmp_path: Path) -> None:
    write_v2(tmp_path)
    times = np.arange(12) / 20 + 0.013
    edit_table(tmp_path / TABLE, timestamp=times)
    plan, episodes = read(tmp_path)
    assert np.array_equal(episodes[1].frames[CAPTURE_TIME], times)
    assert episodes[0].frames[CAPTURE_TIME].dtype == np.float64
    assert any(CAPTURE_TIME in note for note in plan.notes)


def test_the_pictures_decide_when_info_json_lies_about_their_size(tmp_path: Path) -> None:
    write_v2(tmp_path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    info["features"][TOP] |= {"shape": [3, 480, 640], "names": ["channels", "height", "width"]}
    edit_json(tmp_path / "meta/info.json", features=info["features"])
    plan, _ = read(tmp_path)
    assert plan.features[TOP].shape == (HEIGHT, WIDTH, 3)
    assert any("480×640" in note and "48×64" in note for note in plan.notes)


def test_splits_are_kept_where_there_are_some(tmp_path: Path) -> None:
    write_v2(tmp_path, Folder(info={"splits": {"train": "0:2", "test": "2:3"}}))
    assert [episode.meta.split for episode in read(tmp_path)[1]] == ["train", "train", "test"]


def test_keys_that_cannot_stay_do_not_fall_together(tmp_path: Path) -> None:
    write_v2(tmp_path, Folder(cameras={"a/b": "image", "a.b": "image"}))
    info = json.loads((tmp_path / "meta/info.json").read_text())
    extra = {key: {"dtype": "int64", "shape": [1]} for key in ("x/y", "x.y", ".z")}
    edit_json(tmp_path / "meta/info.json", features=info["features"] | extra)
    for path in (tmp_path / "data/chunk-000").iterdir():
        n = pq.read_metadata(path).num_rows
        edit_table(path, **{"x/y": [1] * n, "x.y": [2] * n, ".z": [3] * n})
    episode = read(tmp_path)[1][0]
    assert [int(episode.frames[key][0]) for key in ("x.y", "x.y_2", "z")] == [2, 1, 3]
    assert {"observation.images.a.b", "observation.images.a.b_2"} == set(episode.clips)


def test_a_depth_map_in_colour_is_read_as_what_it_is(tmp_path: Path) -> None:
    write_v2(tmp_path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    info["features"][TOP]["info"] = {"video.is_depth_map": True}
    edit_json(tmp_path / "meta/info.json", features=info["features"])
    plan, episodes = read(tmp_path)
    assert any("declared a depth map" in note for note in plan.notes)
    assert episodes[0].clips[TOP].frame(0).shape == (HEIGHT, WIDTH, 3)


# -- GR00T ----------------------------------------------------------------------------------------------------


def write_groot(root: Path) -> None:
    """What is odd about NVIDIA's demo, on a small scale."""
    write_v2(root, Folder(version="v2.0", names=["motor_0", "motor_1", "motor_2"]))
    info = json.loads((root / "meta/info.json").read_text())
    features = {k: v for k, v in info["features"].items() if k != "frame_index"}
    for key in ("observation.state", "action"):
        features[key] = {**features[key], "dtype": "float64"}
    features["observation.images.ghost"] = {**features[TOP], "shape": [800, 1280, 3]}
    features |= {f"annotation.human.{k}": {"dtype": "int64", "shape": [1]} for k in ("action.task", "validity")}
    edit_json(root / "meta/info.json", features=features, splits={"train": "0:100"})
    texts = [*TASKS, "valid", "grasp"]
    lines = "".join(json.dumps({"task_index": i, "task": t}) + "\n" for i, t in enumerate(texts))
    (root / "meta/tasks.jsonl").write_text(lines)
    lines = [json.loads(line) for line in (root / "meta/episodes.jsonl").read_text().splitlines()]
    text = "".join(json.dumps(line | {"tasks": [*line["tasks"], "valid"]}) + "\n" for line in lines)
    (root / "meta/episodes.jsonl").write_text(text)
    groups = {"arm": {"start": 0, "end": 2, "absolute": True}, "hand": {"start": 2, "end": 3}}
    modality = {"state": groups, "action": groups, "video": {"top": {"original_key": TOP}}, "annotation": {}}
    (root / "meta/modality.json").write_text(json.dumps(modality))
    for path in (root / "data/chunk-000").iterdir():
        table = pq.read_table(path).drop_columns(["frame_index"])
        n = table.num_rows
        for key in ("observation.state", "action"):
            values = table.column(key).combine_chunks().flatten().cast(pa.float64())
            ragged = pa.ListArray.from_arrays(pa.array(np.arange(0, 3 * n + 1, 3, dtype=np.int32)), values)
            table = table.set_column(table.column_names.index(key), key, ragged)
        table = table.set_column(
            table.column_names.index("timestamp"),
            "timestamp",
            pa.array(np.cumsum(np.full(n, np.float32(0.05), np.float64))),
        )
        table = table.append_column("annotation.human.action.task", pa.array([0] * (n - 4) + [3] * 4))
        pq.write_table(table.append_column("annotation.human.validity", pa.array([2] * n)), path)


def test_groot(tmp_path: Path) -> None:
    write_groot(tmp_path)
    plan, episodes = read(tmp_path)
    assert plan.features["action"].names == ("arm.0", "arm.1", "hand")
    assert plan.features["action"].info["groups"]["arm"] == {"absolute": True, "start": 0, "stop": 2}
    assert "observation.images.ghost" not in plan.features
    assert any("ghost" in text for text in plan.unused) and any("ghost" in text for text in plan.notes)
    assert any("0:100" in note for note in plan.notes)
    episode = episodes[1]
    assert episode.meta.tasks == (TASKS[1],)
    assert plan.episodes[1].tasks == (TASKS[1],)
    assert np.array_equal(episode.frames[CAPTURE_TIME], np.cumsum(np.full(12, np.float32(0.05), np.float64)))
    steps = episode.labels["human.action.task"].table.to_pylist()
    assert steps == [{"start": 0, "stop": 8, "text": TASKS[0]}, {"start": 8, "stop": 12, "text": "grasp"}]
    assert episode.labels["human.validity"].table.to_pylist() == [
        {"start": 0, "stop": 12, "text": "valid", "valid": True}
    ]
    assert not any(key.startswith("annotation") for key in episode.features)


def test_a_camera_that_statistics_know_was_lost_not_invented(tmp_path: Path) -> None:
    write_v2(tmp_path)
    for path in (tmp_path / f"videos/chunk-000/{TOP}").iterdir():
        path.unlink()
    with pytest.raises(SourceError, match=r"episode_000000.mp4 is missing.*observation.images.top: null"):
        LeRobotV2().plan(tmp_path)
    plan, episodes = read(tmp_path, {"cameras": {TOP: None}})
    assert len(episodes) == 3 and TOP not in plan.features


def test_a_plan_and_a_reference_are_all_that_a_worker_needs(tmp_path: Path) -> None:
    import pickle

    write_v2(tmp_path)
    converter = LeRobotV2()
    plan = converter.plan(tmp_path)
    alone = pickle.loads(pickle.dumps(replace(plan, episodes=plan.episodes[1:2])))
    again = converter.read(alone, alone.episodes[0])
    assert again.hashes() == converter.read(plan, plan.episodes[1]).hashes()
