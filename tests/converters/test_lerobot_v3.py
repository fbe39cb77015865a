"""LeRobot v3.0 against folders written by hand, LeRobot 0.6.1's own, and a download that broke off."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import HEIGHT, TASKS, TOP, WIDTH, Folder, edit_json, edit_table, picture, write_mp4, write_v3

from conftest import shared_data
from converters.base import detect
from converters.lerobot_rows import find_rows
from converters.lerobot_v2 import LeRobotV2
from converters.lerobot_v3 import LeRobotV3
from dataengine.episode import CAPTURE_TIME, Episode
from dataengine.errors import DataEngineError, EpisodeError, SourceError, UnsafeSource
from dataengine.source import Plan
from dataengine.video import VideoClip

DATA = "data/chunk-000/file-000.parquet"
VIDEO = f"videos/{TOP}/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def read(root: Path, mapping: dict[str, Any] | None = None) -> tuple[Plan, list[Episode]]:
    converter = LeRobotV3()
    plan = converter.plan(root, mapping)
    return plan, [converter.read(plan, ref) for ref in plan.episodes if ref.problem is None]


@pytest.mark.parametrize("row_groups", ["episode", "file", "5"])
def test_everything_arrives_whatever_the_row_groups(tmp_path: Path, row_groups: str) -> None:
    rollouts = write_v3(tmp_path, row_groups=row_groups)
    plan, episodes = read(tmp_path)
    assert (plan.fps, plan.embodiment, len(episodes)) == (20.0, "arm", len(rollouts))
    start = 0
    for number, (episode, rollout) in enumerate(zip(episodes, rollouts, strict=True)):
        assert np.array_equal(episode.frames["observation.state"], rollout.state)
        assert np.array_equal(episode.frames["action"], rollout.action)
        assert episode.meta.tasks == (TASKS[number % 2],)
        clip = episode.clips[TOP]
        assert isinstance(clip, VideoClip) and (clip.start, clip.length) == (start, len(rollout))
        error = [np.abs(a.astype(int) - b).mean() for a, b in zip(clip.frames(), rollout.frames, strict=True)]
        assert max(error) < 6
        start += len(rollout)


def test_each_camera_and_the_table_have_their_own_files(tmp_path: Path) -> None:
    """The last episode's table stands in file 1, its video in file 3 of chunk 2, and nothing else says so."""
    write_v3(tmp_path)
    video = tmp_path / f"videos/{TOP}/chunk-002/file-003.mp4"
    write_mp4(video, [picture(2, i) for i in range(7)], 20)
    edit_table(
        tmp_path / EPISODES,
        **{
            f"videos/{TOP}/chunk_index": [0, 0, 2],
            f"videos/{TOP}/file_index": [0, 0, 3],
            f"videos/{TOP}/from_timestamp": [0.0, 9 / 20, 0.0],
            f"videos/{TOP}/to_timestamp": [9 / 20, 21 / 20, 7 / 20],
        },
    )
    clip = read(tmp_path)[1][2].clips[TOP]
    assert (clip.path, clip.start) == (video, 0)
    assert np.abs(clip.frame(6).astype(int) - picture(2, 6)).mean() < 6


def test_rows_are_found_by_statistics_or_without(tmp_path: Path) -> None:
    write_v3(tmp_path, Folder(lengths=(5, 6, 7, 8), cameras={}))
    assert find_rows(tmp_path / DATA, 1).groups == (1,)
    pq.write_table(pq.read_table(tmp_path / DATA), tmp_path / DATA, row_group_size=4, write_statistics=False)
    rows = find_rows(tmp_path / DATA, 1)
    assert (len(rows.groups), rows.start, rows.stop) == (5, 5, 11)
    with pytest.raises(EpisodeError, match="no rows"):
        find_rows(tmp_path / DATA, 9)


def test_mixed_rows_are_refused(tmp_path: Path) -> None:
    write_v3(tmp_path, Folder(cameras={}))
    edit_table(tmp_path / DATA, episode_index=[0, 1] * 9 + [0, 1, 1])
    with pytest.raises(EpisodeError, match="mixed"):
        find_rows(tmp_path / DATA, 0)


def test_tasks_under_an_unnamed_pandas_index(tmp_path: Path) -> None:
    write_v3(tmp_path)
    table = pa.table({"task_index": [1, 0], "__index_level_0__": [TASKS[1], TASKS[0]]})
    pq.write_table(table, tmp_path / "meta/tasks.parquet")
    assert [e.meta.tasks for e in read(tmp_path)[1]] == [(TASKS[0],), (TASKS[1],), (TASKS[0],)]


def test_capture_times_are_kept(tmp_path: Path) -> None:
    write_v3(tmp_path)
    times = np.concatenate([np.arange(9) / 20, 3 + np.arange(12) / 20])
    edit_table(tmp_path / DATA, timestamp=times)
    assert np.array_equal(read(tmp_path)[1][1].frames[CAPTURE_TIME], times[9:])


def test_pictures_in_the_table(tmp_path: Path) -> None:
    rollouts = write_v3(tmp_path, Folder(cameras={TOP: "image"}), row_groups="file")
    for episode, rollout in zip(read(tmp_path)[1], rollouts, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(episode.clips[TOP].frames(), rollout.frames, strict=True))


# -- what strangers send ----------------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _column(name: str, index: int, value: Any) -> Any:
    def change(root: Path) -> None:
        values = pq.read_table(root / EPISODES).column(name).to_pylist()
        values[index] = value
        edit_table(root / EPISODES, **{name: values})

    return change


DAMAGE = {
    "video gone": (lambda r: (r / VIDEO).unlink(), [0, 1, 2], r"file-000.mp4 is missing"),
    "video cut": (lambda r: _cut(r / VIDEO), [0, 1, 2], r"file-000.mp4"),
    "video short": (
        lambda r: write_mp4(r / VIDEO, [picture(0, i) for i in range(25)], 20), [2], r"ends after 25 frames"
    ),
    "table gone": (lambda r: (r / DATA).unlink(), [0, 1], r"file-000.parquet is missing"),
    "table cut": (lambda r: _cut(r / DATA), [0, 1], r"cannot be read as parquet"),
    "length": (_column("length", 1, 13), [1], r"12 rows of it, meta/episodes says 13"),
    "to_timestamp": (_column(f"videos/{TOP}/to_timestamp", 1, 21 / 20 - 0.1), [1], r"10 frames.*12 rows"),
    "from_timestamp": (_column(f"videos/{TOP}/from_timestamp", 0, float("nan")), [0], r"nan as its from_timestamp"),
    "beyond the file": (_column(f"videos/{TOP}/file_index", 2, 77), [2], r"file-077.mp4 is missing"),
    "no such task": (lambda r: edit_table(r / DATA, task_index=[0] * 9 + [5] * 12), [1], r"task 5"),
    "NaN": (lambda r: edit_table(r / DATA, **{"next.reward": [0.0] * 20 + [float("nan")]}), [1], r"holds NaN"),
    "feature gone": (lambda r: edit_table(r / DATA, action=None), [0, 1], r"not in the table"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_bad_episodes_are_named_and_the_rest_goes_on(tmp_path: Path, damage: str) -> None:
    write_v3(tmp_path)
    spoil, bad, message = DAMAGE[damage]
    spoil(tmp_path)
    converter = LeRobotV3()
    problems: dict[int, str] = {}
    try:
        plan = converter.plan(tmp_path)
        for ref in plan.episodes:
            try:
                converter.read(plan, ref)
            except EpisodeError as error:
                problems[ref.extra["index"]] = str(error)
    except SourceError as error:
        problems = dict.fromkeys(range(3), str(error))
    assert sorted(problems) == bad
    assert all(re.search(message, text) for text in problems.values()), problems


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"video_path": "../../{video_key}/{chunk_index}/{file_index}"}, UnsafeSource),
        ({"video_path": "videos/{video_key.__class__}"}, UnsafeSource),
        ({"data_path": "/etc/passwd"}, UnsafeSource),
        ({"data_path": "data/{chunk_index:03d}/{file_index"}, UnsafeSource),
        ({"fps": float(0)}, SourceError),
    ],
)
def test_templates_stay_inside(tmp_path: Path, changes: dict[str, Any], error: type[Exception]) -> None:
    write_v3(tmp_path)
    edit_json(tmp_path / "meta/info.json", **changes)
    with pytest.raises(error):
        LeRobotV3().plan(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: (r / EPISODES).unlink(), "holds no episodes"),
        (lambda r: (r / EPISODES).write_bytes(b"PAR1"), "parquet"),
        (lambda r: edit_table(r / EPISODES, length=None), "lacks the columns length"),
        (lambda r: edit_table(r / EPISODES, episode_index=[0, 1, 1]), "twice"),
        (lambda r: edit_table(r / "meta/tasks.parquet", task=None), "task_index and task"),
        (lambda r: edit_table(r / "meta/tasks.parquet", task=[1, 2]), "no text"),
    ],
)
def test_tables_of_contents_that_make_no_sense_are_one_error(tmp_path: Path, spoil: Any, message: str) -> None:
    write_v3(tmp_path)
    spoil(tmp_path)
    with pytest.raises(SourceError, match=message):
        LeRobotV3().plan(tmp_path)


def test_a_parquet_that_declares_more_than_it_may_is_refused(tmp_path: Path) -> None:
    """Ten kilobytes that would become gigabytes: a constant column is run-length encoded."""
    write_v3(tmp_path, Folder(cameras={}))
    n = 21_000_000
    zeros = pa.chunked_array([pa.array(np.zeros(1_000_000, np.int64))] * 21)
    pq.write_table(pa.table({"episode_index": zeros}), tmp_path / DATA)
    assert (tmp_path / DATA).stat().st_size < 1 << 20
    plan = LeRobotV3().plan(tmp_path)
    assert f"declares {n} rows" in str(plan.episodes[0].problem)


def test_versions_are_told_apart(tmp_path: Path) -> None:
    write_v3(tmp_path)
    assert isinstance(detect(tmp_path), LeRobotV3) and not LeRobotV2().sniff(tmp_path)


# -- the real ones ------------------------------------------------------------------------------------------------


def test_a_download_without_videos_is_one_clear_error() -> None:
    root = shared_data("lerobot_v30_partial_download")
    with pytest.raises(SourceError) as caught:
        LeRobotV3().plan(root)
    assert "none of 4 episodes" in str(caught.value)
    assert "videos/observation.images.front/chunk-000/file-000.mp4 is missing" in str(caught.value)
    plan, episodes = read(root, {"cameras": {"observation.images.front": None, "observation.images.top": None}})
    assert [len(e) for e in episodes] == [373, 374, 372, 373]
    by_hand = pq.read_table(root / DATA)
    whole = np.stack(by_hand.column("action").to_pylist()).astype(np.float32)
    assert np.array_equal(np.concatenate([e.frames["action"] for e in episodes]), whole)
    assert plan.embodiment == "so101_follower"
    assert episodes[0].meta.tasks == ("Pick the orange cube and place it in the box",)


def test_depth_and_language_of_lerobot_itself() -> None:
    root = shared_data("lerobot_v30_depth_language")
    truth = json.loads(shared_data("truth.json").read_text())["lerobot_v30_depth_language"]
    plan, episodes = read(root)
    assert plan.features["observation.images.top_depth"].role == "depth"
    by_hand = pq.read_table(root / DATA)
    first = 0
    for number, episode in enumerate(episodes):
        want = truth["episodes"][str(number)]
        np.testing.assert_allclose(episode.frames["action"].sum(0), want["action"]["sum_per_dim"], atol=2e-3)
        persistent = by_hand.column("language_persistent")[first].as_py()
        rows = episode.labels["language_persistent"].table.to_pylist()
        assert [r["content"] for r in rows] == [p["content"] for p in persistent]
        assert [r["style"] for r in rows] == [p["style"] for p in persistent]
        assert [r["frame"] for r in rows] == [round(p["timestamp"] * 50) for p in persistent]
        events = episode.labels["language_events"].table.to_pylist()
        spoken = {k: by_hand.column("language_events")[first + k].as_py() for k in range(len(episode))}
        assert [(e["frame"], e["role"], e["content"]) for e in events] == [
            (k, row["role"], row["content"]) for k, rows_ in spoken.items() for row in rows_
        ]
        first += len(episode)
    # INDEX.md: frame 10 of episode 1 had a mean of 4718.86 mm before it was coded.
    depth = episodes[1].clips["observation.images.top_depth"].frame(10)
    assert depth.dtype == np.float32 and depth.shape == (96, 128, 1)
    assert abs(float(depth.mean()) * 1000 - 4718.86) < 2
    with av.open(str(root / "videos/observation.images.top/chunk-000/file-000.mp4")) as video:
        frames = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
    start = 0
    for episode in episodes:
        clip = episode.clips["observation.images.top"]
        assert np.array_equal(clip.frame(0), frames[start])
        assert np.array_equal(clip.frame(clip.length - 1), frames[start + clip.length - 1])
        start += clip.length


def test_the_same_rollouts_as_in_the_older_version() -> None:
    old = LeRobotV2().read_all(shared_data("lerobot_v21"))
    for a, b in zip(read(shared_data("lerobot_v30_depth_language"))[1], old, strict=True):
        assert a.meta.tasks == b.meta.tasks
        for key in ("observation.state", "action"):
            assert np.array_equal(a.frames[key], b.frames[key])


def test_nothing_but_errors_of_ours_for_any_single_damage(tmp_path: Path) -> None:
    """Bytes of every metadata file changed at places spread over it."""
    write_v3(tmp_path, Folder(cameras={}))
    converter = LeRobotV3()
    assert (HEIGHT, WIDTH) == (48, 64)
    for name in ("meta/info.json", "meta/tasks.parquet", EPISODES, DATA):
        whole = (tmp_path / name).read_bytes()
        for at in np.linspace(0, len(whole) - 1, 40).astype(int):
            (tmp_path / name).write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
            try:
                plan = converter.plan(tmp_path)
                for ref in plan.episodes:
                    converter.read(plan, ref)
            except DataEngineError:
                pass
        (tmp_path / name).write_bytes(whole)
