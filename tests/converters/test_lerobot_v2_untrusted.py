"""LeRobot v2 folders that are damaged, lie, or mean harm: one clear error, or one named episode."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import TOP, Folder, edit_json, edit_table, picture, write_mp4, write_v2

from converters.base import detect
from converters.lerobot_v2 import LeRobotV2
from dataengine.episode import Episode
from dataengine.errors import EpisodeError, SourceError, UnsafeSource
from dataengine.source import Plan

TABLE = "data/chunk-000/episode_000001.parquet"
VIDEO = f"videos/chunk-000/{TOP}/episode_000001.mp4"


def read(root: Path, mapping: dict[str, Any] | None = None) -> tuple[Plan, list[Episode]]:
    converter = LeRobotV2()
    plan = converter.plan(root, mapping)
    return plan, [converter.read(plan, ref) for ref in plan.episodes if ref.problem is None]


def problem_of(root: Path) -> str:
    """Why episode 1, and only it, cannot be used: known to the plan, or found when it is read."""
    converter = LeRobotV2()
    plan = converter.plan(root)
    problems = []
    for ref in plan.episodes:
        try:
            converter.read(plan, ref)
        except EpisodeError as error:
            problems.append((ref.extra["index"], str(error)))
    assert [index for index, _ in problems] == [1]
    return problems[0][1]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _ragged(root: Path) -> None:
    rows = [[1.0, 2.0, 3.0]] * 11 + [[1.0, 2.0]]
    edit_table(root / TABLE, action=pa.array(rows, pa.list_(pa.float32())))


def _nan(root: Path) -> None:
    state = pq.read_table(root / TABLE).column("action").combine_chunks().flatten().to_numpy().copy()
    state[5] = np.nan
    edit_table(root / TABLE, action=pa.FixedSizeListArray.from_arrays(pa.array(state), 3))


def _lines(path: Path, index: int, **changes: Any) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[index] |= changes
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


DAMAGE = {
    "missing video": (lambda r: (r / VIDEO).unlink(), r"episode_000001.mp4 is missing"),
    "truncated video": (lambda r: _truncate(r / VIDEO), r"episode_000001.mp4"),
    "video is text": (lambda r: (r / VIDEO).write_text("<html>"), r"not a video"),
    "short video": (lambda r: write_mp4(r / VIDEO, [picture(1, i) for i in range(11)], 20), r"11 frames.*12 rows"),
    "other size": (lambda r: write_mp4(r / VIDEO, [np.zeros((32, 32, 3), np.uint8)] * 12, 20), r"32×32"),
    "missing table": (lambda r: (r / TABLE).unlink(), r"episode_000001.parquet is missing"),
    "truncated table": (lambda r: _truncate(r / TABLE), r"cannot be read as parquet"),
    "length": (lambda r: _lines(r / "meta/episodes.jsonl", 1, length=13), r"12 rows.*says 13"),
    "feature missing": (lambda r: edit_table(r / TABLE, action=None), r"'action'.*not in the table"),
    "ragged": (_ragged, r"'action', frame 11: is ragged"),
    "null": (lambda r: edit_table(r / TABLE, **{"next.reward": pa.array([None] + [1.0] * 11)}), r"frame 0.*null"),
    "NaN": (_nan, r"'action', frame 1: holds NaN"),
    "shape lies": (
        lambda r: edit_table(r / TABLE, action=pa.array([[1.0] * 4] * 12, pa.list_(pa.float32(), 4))),
        r"4 values a frame.*\(3,\)",
    ),
    "text for numbers": (lambda r: edit_table(r / TABLE, action=["x"] * 12), r"stored as string"),
    "no such task": (lambda r: edit_table(r / TABLE, task_index=[7] * 12), r"task 7"),
    "another episode": (lambda r: edit_table(r / TABLE, episode_index=[0] * 12), r"says it is episode 0"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_one_bad_episode_is_named_and_the_rest_goes_on(tmp_path: Path, damage: str) -> None:
    write_v2(tmp_path)
    spoil, message = DAMAGE[damage]
    spoil(tmp_path)

    assert re.search(message, problem_of(tmp_path)), problem_of(tmp_path)


def test_a_damaged_picture_in_the_table_is_named(tmp_path: Path) -> None:
    write_v2(tmp_path, Folder(cameras={TOP: "image"}))
    cells = pq.read_table(tmp_path / TABLE).column(TOP).to_pylist()
    cells[4]["bytes"] = cells[4]["bytes"][:60]
    edit_table(tmp_path / TABLE, **{TOP: pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))})
    episode = read(tmp_path)[1][1]
    with pytest.raises(SourceError, match="frame 4"):
        list(episode.clips[TOP].frames())
    cells[4]["bytes"] = None
    edit_table(tmp_path / TABLE, **{TOP: pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))})
    with pytest.raises(SourceError, match="row 4: holds no picture"):
        list(read(tmp_path)[1][1].clips[TOP].frames())


@pytest.mark.parametrize(
    "template",
    [
        "data/../../secret/episode_{episode_index:06d}.parquet",
        "/etc/{episode_index:06d}",
        "data/{episode_index.__class__.__init__.__globals__}",
        "data/{episode_index!r}",
        "data/{0}",
        "data/{unknown:03d}.parquet",
        "data/{episode_index:999999999d}",
    ],
)
def test_path_templates_stay_inside_and_run_nothing(tmp_path: Path, template: str) -> None:
    write_v2(tmp_path)
    edit_json(tmp_path / "meta/info.json", data_path=template)
    with pytest.raises(UnsafeSource):
        LeRobotV2().plan(tmp_path)


@pytest.mark.parametrize("key", ["../../../etc", "/etc/x", "..", "observation.images.a/../b"])
def test_camera_keys_stay_inside(tmp_path: Path, key: str) -> None:
    """Also that of a camera without files, which would be left out with a note."""
    write_v2(tmp_path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    camera = next(feature for feature in info["features"].values() if feature["dtype"] == "video")
    features = info["features"] | {key: camera}
    edit_json(tmp_path / "meta/info.json", features=features)
    with pytest.raises(UnsafeSource):
        LeRobotV2().plan(tmp_path)


def test_links_may_lead_into_the_hub_cache_and_nowhere_else(tmp_path: Path) -> None:
    repository = tmp_path / "datasets--me--set"
    root = repository / "snapshots/0123"
    write_v2(root)
    (repository / "blobs").mkdir()
    (root / TABLE).rename(repository / "blobs/abc")
    (root / TABLE).symlink_to("../../../../blobs/abc")
    assert len(read(root)[1]) == 3
    (tmp_path / "secret").write_bytes((repository / "blobs/abc").read_bytes())
    (root / TABLE).unlink()
    (root / TABLE).symlink_to(tmp_path / "secret")
    assert "is a link that leaves" in problem_of(root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 0}, "fps"),
        ({"fps": "20"}, "fps"),
        ({"features": {}}, "no features"),
        ({"features": {"action": {"dtype": "float32", "shape": [-3]}}}, "shape"),
        ({"features": {"action": {"dtype": "float32", "shape": [1 << 40]}}}, "shape"),
        ({"features": {"action": 3}}, "object"),
        ({"chunks_size": 0}, "chunks_size"),
        ({"data_path": 7}, "data_path"),
    ],
)
def test_an_info_json_that_makes_no_sense_is_one_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_v2(tmp_path)
    edit_json(tmp_path / "meta/info.json", **changes)
    with pytest.raises(SourceError, match=message):
        LeRobotV2().plan(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tasks.jsonl", '{"task_index": "0", "task": "x"}\n', "task_index"),
        ("tasks.jsonl", '{"task_index": 0, "task": "x"}\n{"task_index": 0, "task": "y"}\n', "two tasks"),
        ("episodes.jsonl", "", "no episodes"),
        ("episodes.jsonl", "{\n", "not valid JSON"),
        ("episodes.jsonl", '{"episode_index": 0, "length": 9}\n' * 2, "twice"),
        ("episodes.jsonl", '{"episode_index": -1, "length": 9}\n', "whole numbers"),
    ],
)
def test_tables_of_contents_that_make_no_sense_are_one_error(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    write_v2(tmp_path)
    (tmp_path / "meta" / file).write_text(text)
    with pytest.raises(SourceError, match=message):
        LeRobotV2().plan(tmp_path)


def test_wrong_totals_and_strangers_in_the_table_are_noted(tmp_path: Path) -> None:
    write_v2(tmp_path)
    edit_json(tmp_path / "meta/info.json", total_episodes=40)
    edit_table(tmp_path / "data/chunk-000/episode_000000.parquet", mystery=[1] * 9)
    plan, _ = read(tmp_path)
    assert any("total_episodes = 40, there are 3" in note for note in plan.notes)
    assert any("mystery" in name for name in plan.unused)


def test_only_v2_is_recognised(tmp_path: Path) -> None:
    write_v2(tmp_path / "two")
    assert LeRobotV2().sniff(tmp_path / "two")
    for version in ("v1.6", "v3.0", None):
        edit_json(tmp_path / "two/meta/info.json", codebase_version=version)
        assert not LeRobotV2().sniff(tmp_path / "two")
    (tmp_path / "two/meta/info.json").write_text("[")
    assert not LeRobotV2().sniff(tmp_path / "two") and not LeRobotV2().sniff(tmp_path / "absent")


def test_what_looks_like_lerobot_and_is_not_read_says_why(tmp_path: Path) -> None:
    write_v2(tmp_path)
    with pytest.raises(SourceError, match="give the folder that holds meta"):
        detect(tmp_path / "meta")
    edit_json(tmp_path / "meta/info.json", codebase_version="v1.6")
    with pytest.raises(SourceError, match=r"is LeRobot v1.6; v2.0, v2.1 and v3.0 are read"):
        detect(tmp_path)
    (tmp_path / "meta/info.json").write_text('{"codebase_version": ')
    with pytest.raises(SourceError, match=r"info.json: line 1.*not valid JSON"):
        detect(tmp_path)
