"""Datasets that others made: LeRobot's own files, Hub caches, several episodes in a file, and hostile ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_made import FEATURES, FPS, FRONT, PNG, SMALL, episode

from conftest import shared_data
from dataengine.errors import DataEngineError, StoreError, UnsafeSource
from dataengine.store import FrameReader, Store


def made(root: Path, count: int = 3, features: dict[str, Any] = SMALL) -> Store:
    store = Store.create(root, fps=FPS, features=features, embodiment="arm")
    with store.writer() as writer:
        for seed in range(count):
            writer.append(episode(seed, 5 + seed, features))
    return store


def foreign(store: Store, root: Path) -> Path:
    """The store without anything of ours in it."""
    shutil.copytree(store.root, root, ignore=shutil.ignore_patterns("dataengine", ".dataengine", "labels"))
    for path in (root / "meta/episodes").rglob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        theirs = ("stats", "videos", "data", "meta", "task", "length", "episode_index")
        keep = [name for name in table.column_names if name.startswith(theirs)]
        path.unlink()
        pq.write_table(table.select(keep), path)
    return root


def test_several_episodes_in_a_file(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 4, FEATURES)
    store.compact(join_videos=True)
    other = Store.open(foreign(store, tmp_path / "f"))
    assert other.commit is None and other.verify(deep=True).ok
    for ours, theirs in zip(store, other, strict=True):
        np.testing.assert_array_equal(ours.frames["action"], theirs.frames["action"])
        np.testing.assert_array_equal(ours.clips[FRONT].frame(4), theirs.clips[FRONT].frame(4))
        np.testing.assert_array_equal(ours.clips[PNG].frame(4), theirs.clips[PNG].frame(4))
        assert ours.meta.tasks == theirs.meta.tasks
    assert len(set(other.ids)) == 4 and other.ids != store.ids


def test_ids_stay_when_a_dataset_moves_or_grows(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 3)
    before = Store.open(foreign(store, tmp_path / "a")).ids
    with store.writer() as writer:
        writer.append(episode(9, 4, SMALL))
    store.compact()
    assert Store.open(foreign(store, tmp_path / "elsewhere")).ids[:3] == before


def test_row_groups_of_any_size(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 4)
    store.compact()
    root = foreign(store, tmp_path / "f")
    path = next((root / "data").rglob("*.parquet"))
    table = pq.read_table(path, partitioning=None)
    for size in (1, 3, 1000):
        pq.write_table(table, path, row_group_size=size)
        assert [one.length for one in Store.open(root)] == [5, 6, 7, 8]
        assert Store.open(root).verify().ok


def test_a_hub_cache_of_links_is_read(tmp_path: Path) -> None:
    """`…/snapshots/<revision>` holds links into `…/blobs`; links to anywhere else are refused."""
    root = foreign(made(tmp_path / "s"), tmp_path / "f")
    repository = tmp_path / "hub" / "datasets--a--b"
    snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(p for p in root.rglob("*") if p.is_file()):
        blob, link = blobs / str(number), snapshot / path.relative_to(root)
        shutil.copyfile(path, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    store = Store.open(snapshot)
    assert store.verify(deep=True).ok and len(FrameReader(store)[3]["action"]) == 2
    secret = tmp_path / "secret.parquet"
    link = snapshot / "data/chunk-000/file-000.parquet"
    shutil.copyfile(link, secret)
    link.unlink()
    link.symlink_to(secret)
    with pytest.raises(UnsafeSource, match="leaves"):
        _ = Store.open(snapshot)[0]


@pytest.mark.parametrize(
    "template",
    [
        "../../{chunk_index:03d}/file-{file_index:03d}.parquet",
        "/etc/{chunk_index}{file_index}",
        "data/{chunk_index.__class__.__mro__}/file-{file_index:03d}.parquet",
        "data/{chunk_index!r}/{file_index}",
        "data/{secret}",
    ],
)
def test_path_templates_are_not_programs(tmp_path: Path, template: str) -> None:
    root = foreign(made(tmp_path / "s"), tmp_path / "f")
    for key in ("data_path", "video_path"):
        info = json.loads((root / "meta/info.json").read_text())
        (root / "meta/info.json").write_text(json.dumps({**info, key: template}))
        with pytest.raises(UnsafeSource):
            Store.open(root)
        (root / "meta/info.json").write_text(json.dumps(info))


def test_other_templates_are_followed(tmp_path: Path) -> None:
    root = foreign(made(tmp_path / "s"), tmp_path / "f")
    info = json.loads((root / "meta/info.json").read_text())
    info["data_path"] = "tables/{file_index:04d}-{chunk_index}.parquet"
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "tables").mkdir()
    for number in range(3):
        shutil.move(root / f"data/chunk-000/file-{number:03d}.parquet", root / f"tables/{number:04d}-0.parquet")
    assert Store.open(root).verify().ok


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "no info": ("meta/info.json", b"", "info.json"),
    "info that is a list": ("meta/info.json", b"[]", "features"),
    "an older version": ("meta/info.json", b'{"codebase_version": "v2.1", "features": {}}', "v2.1.*convert"),
    "no rate": ("meta/info.json", b'{"codebase_version": "v3.0", "features": {}, "fps": 0}', "fps is 0"),
    "a feature without a shape": (
        "meta/info.json",
        b'{"codebase_version":"v3.0","fps":10,"total_episodes":3,"total_frames":18,"features":{"x":{"dtype":"a"}}}',
        "'x' lacks",
    ),
    "episodes that are text": ("meta/episodes/chunk-000/file-000.parquet", b"hello", "file-000.parquet cannot be read"),
    "tasks that are text": ("meta/tasks.parquet", b"hello", "tasks.parquet is damaged"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_metadata_is_one_clear_error(tmp_path: Path, name: str) -> None:
    root = foreign(made(tmp_path / "s", 3), tmp_path / "f")
    path, content, message = BROKEN[name]
    (root / path).write_bytes(content)
    with pytest.raises(DataEngineError, match=message):
        Store.open(root)


def test_fewer_episodes_than_counted(tmp_path: Path) -> None:
    root = foreign(made(tmp_path / "s", 3), tmp_path / "f")
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.slice(0, 2), path)
    with pytest.raises(StoreError, match="2 rows, but 3 episodes"):
        Store.open(root)
    pq.write_table(table.take([1, 0, 2]), path)
    with pytest.raises(StoreError, match=r"not 0\.\.2 in order"):
        Store.open(root)
    path.unlink()
    with pytest.raises(StoreError, match="holds no episodes"):
        Store.open(root)


def test_columns_that_only_share_a_name_with_ours(tmp_path: Path) -> None:
    root = foreign(made(tmp_path / "s", 3), tmp_path / "f")
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    table, ids = pq.read_table(path, partitioning=None), Store.open(root).ids
    for name, values in {"source": ["a camera"] * 3, "success": ["yes"] * 3, "episode_id": ["same"] * 3}.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table.append_column("operator", pa.array(["ann"] * 3)), path)
    store = Store.open(root)
    assert store.ids == ids and store[1].meta.success is None and store[1].meta.operator == "ann"
    table = table.drop_columns(["length"]).append_column("length", pa.array([5, None, 7]))
    pq.write_table(table, path)
    with pytest.raises(StoreError, match="nulls or int64 in 'length'"):
        _ = Store.open(root)[0]


def test_nulls_and_ragged_rows_are_named(tmp_path: Path) -> None:
    root = foreign(made(tmp_path / "s", 1), tmp_path / "f")
    path = next((root / "data").rglob("*.parquet"))
    table = pq.read_table(path, partitioning=None)
    at = table.schema.get_field_index("action")
    ragged = {"nulls": [[1.0, 2.0], None, *[[1.0, 2.0]] * 3], "5 values in 5 rows": [[1.0]] * 5}
    for message, rows in ragged.items():
        pq.write_table(table.set_column(at, "action", pa.array(rows, pa.list_(pa.float64()))), path)
        with pytest.raises(StoreError, match=f"'action' (holds|has) {message}"):
            _ = Store.open(root)[0]


# -- real files ------------------------------------------------------------------------------------------------


def test_the_broken_download_names_its_missing_videos() -> None:
    store = Store.open(shared_data("lerobot_v30_partial_download"))
    report = store.verify()
    assert len(report.problems) == 8 and {p.kind for p in report.problems} == {"missing"}
    assert len(FrameReader(store, columns=["action", "observation.state"])) == 1492
    with pytest.raises(StoreError, match=r"observation.images.front' of episode 0"):
        _ = store[0]


def test_lerobots_own_file_equals_the_independent_reading() -> None:
    store = Store.open(shared_data("lerobot_v30_depth_language"))
    assert store.verify(deep=True).ok
    truth = json.loads(shared_data("truth.json").read_text())
    assert len(store) == 4 and store.frames == 255 and truth
    labels = store[0].labels
    assert labels["language_persistent"].table.column("style").to_pylist() == [
        "plan", "subtask", "task_aug", "memory", "subtask",
    ]  # fmt: skip
    events = labels["language_events"].table.to_pylist()
    assert [(row["frame"], row["role"], row["style"]) for row in events] == [
        (15, "assistant", "vqa"), (15, "user", "vqa"), (20, "assistant", None), (20, "user", "interjection"),
    ]  # fmt: skip
    assert json.loads(events[2]["tool_calls"])[0]["function"]["name"] == "say"
    assert abs(float(store[1].clips["observation.images.top_depth"].frame(10).mean()) - 4.71995) < 2e-3


def test_copied_into_a_store_nothing_is_encoded_again(tmp_path: Path) -> None:
    source = Store.open(shared_data("lerobot_v30_depth_language"))
    store = Store.create(tmp_path / "s", fps=source.fps, features=source.features, embodiment=source.embodiment)
    with store.writer() as writer:
        for one in source:
            writer.append(one)
    assert store.ids == source.ids and store.tasks == source.tasks and store.verify(deep=True).ok
    for one, other in zip(source, store, strict=True):
        for key, column in one.frames.items():
            np.testing.assert_array_equal(column, other.frames[key])
        for key, clip in one.clips.items():
            for first, second in zip(clip.frames(), other.clips[key].frames(), strict=True):
                np.testing.assert_array_equal(first, second)
        assert {n: v.table.to_pylist() for n, v in one.labels.items()} == {
            n: v.table.to_pylist() for n, v in other.labels.items()
        }
    ours, theirs = store.stats(), source.stats()
    for key in ("action", "observation.state"):
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(ours[key][name], theirs[key][name], atol=1e-5)
    for key in store.cameras:  # a sample of keyframes against all frames
        np.testing.assert_allclose(ours[key]["mean"], theirs[key]["mean"], rtol=0.03)
    assert store.info["features"]["observation.images.top_depth"]["info"]["video.depth_max"] == 10.0
