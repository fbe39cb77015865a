"""Damage of every kind is found, named, and nothing else is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from store_made import FPS, FRONT, SMALL, episode

from dataengine.errors import StoreError
from dataengine.guard import sha256_file
from dataengine.store import Store

FIFTH = np.arange(6)[:, None] == 4
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "s"
    store = Store.create(root, fps=FPS, features=SMALL)
    with store.writer() as writer:
        for seed in range(3):
            writer.append(episode(seed, 5 + seed, SMALL))
    return root


def video(root: Path, number: int) -> Path:
    return root / f"videos/{FRONT}/chunk-000/file-{number:03d}.mp4"


def data(root: Path, number: int) -> Path:
    return root / f"data/chunk-000/file-{number:03d}.parquet"


def flip(path: Path, place: float) -> None:
    """Change one byte, in the middle of a file's `place`."""
    whole_ = bytearray(path.read_bytes())
    whole_[int(place * len(whole_))] ^= 0x10
    path.unlink()
    path.write_bytes(whole_)


def pipe(path: Path) -> None:
    """A file that nobody ever writes to: who opens it waits."""
    path.unlink()
    os.mkfifo(path)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = change(pq.read_table(path, partitioning=None))
    path.unlink()
    pq.write_table(table, path)


def column(table: pa.Table, name: str, function: Callable[[np.ndarray], object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    values = pa.array(function(np.array(table.column(name).to_pylist())).tolist(), table.schema.field(name).type)  # type: ignore[attr-defined]
    return table.set_column(at, table.schema.field(name), values)


def cut(path: Path, count: int) -> None:
    """Lose the last bytes."""
    kept = path.read_bytes()[:-count]
    path.unlink()
    path.write_bytes(kept)


def set_info(root: Path, **changes: object) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text()) | changes
    path.unlink()
    path.write_text(json.dumps(info))


DAMAGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a removed video": (lambda r: video(r, 1).unlink(), "missing", "file-001.mp4"),
    "a truncated video": (
        lambda r: cut(video(r, 1), 200),
        "checksum",
        "file-001.mp4",
    ),
    "a flipped byte in a video": (lambda r: flip(video(r, 2), 0.9), "checksum", "file-002.mp4"),
    "another episode's video": (lambda r: shutil.copyfile(video(r, 0), video(r, 1)), "checksum", "file-001.mp4"),
    "a removed data file": (lambda r: data(r, 0).unlink(), "missing", "data/chunk-000/file-000"),
    "a pipe in place of a data file": (lambda r: pipe(data(r, 0)), "missing", "data/chunk-000/file-000"),
    "a pipe in place of a video": (lambda r: pipe(video(r, 1)), "missing", "file-001.mp4"),
    "a truncated parquet": (
        lambda r: cut(data(r, 2), 50),
        "damaged",
        "file-002.parquet",
    ),
    "a flipped byte in a parquet": (lambda r: flip(data(r, 1), 0.1), "checksum", "data/chunk-000/file-001"),
    "a row too few": (lambda r: rewrite(data(r, 1), lambda t: t.slice(1)), "count", "it has 5 rows, its episodes 6"),
    "a flipped byte in the episodes": (
        lambda r: flip(r / EPISODES, 0.99),
        "checksum",
        "meta/episodes",
    ),
    "changed statistics": (lambda r: flip(r / "meta/stats.json", 0.5), "checksum", "meta/stats.json"),
    "a wrong count": (lambda r: set_info(r, total_frames=99), "checksum", "meta/info.json"),
    "a torn info": (lambda r: (r / "meta/info.json").write_text("{"), "damaged", "meta/info.json"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(whole: Path, tmp_path: Path, name: str) -> None:
    damage, kind, place = DAMAGE[name]
    root = tmp_path / "s"
    shutil.copytree(whole, root)
    damage(root)
    try:
        report = Store.open(root).verify()
    except StoreError as error:  # so damaged that it cannot be opened: named all the same
        assert place.split("/")[-1] in str(error)
        return
    assert not report.ok and report.digest is None
    assert any(p.kind == kind and place in str(p) for p in report.problems), str(report)


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda r: None, ""),
    "a removed video": (lambda r: video(r, 1).unlink(), "episode 1: the video of camera"),
    "a short video": (lambda r: shutil.copyfile(video(r, 0), video(r, 2)), "has 5 frames, 7 rows"),
    "a row too few": (lambda r: rewrite(data(r, 1), lambda t: t.slice(1)), "it has 5 rows, its episodes 6"),
    "rows in another order": (
        lambda r: rewrite(data(r, 1), lambda t: t.take([1, 0, 2, 3, 4, 5])),
        "frame_index is 1 at frame 0",
    ),
    "NaN": (
        lambda r: rewrite(
            data(r, 1), lambda t: column(t, "action", lambda a: np.where(np.arange(6)[:, None] == 4, np.nan, a))
        ),
        "'action' holds NaN or Inf at frame 4",
    ),
    "a drifting clock": (
        lambda r: rewrite(data(r, 1), lambda t: column(t, "timestamp", lambda a: a * 1.01)),
        "timestamp is 0.005 s off",
    ),
    "an unknown task": (
        lambda r: rewrite(data(r, 1), lambda t: column(t, "task_index", lambda a: a + 7)),
        "outside the 3 tasks",
    ),
    "a swapped range": (
        lambda r: rewrite(
            r / EPISODES,
            lambda t: column(t, f"videos/{FRONT}/to_timestamp", lambda a: a + 0.1),
        ),
        "are 6.00 frames, 5 rows",
    ),
    "frames counted wrong": (lambda r: set_info(r, total_frames=99), "total_frames is 99, the episodes have 18"),
    "statistics of other data": (
        lambda r: rewrite(data(r, 1), lambda t: column(t, "action", lambda a: a + 10)),
        "max of 'action' is not that of its 18 values",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_damage_is_found_without_checksums(whole: Path, tmp_path: Path, name: str) -> None:
    """The same store as a foreign one: what remains is what can be seen from the content."""
    damage, message = FOREIGN[name]
    root = tmp_path / "s"
    shutil.copytree(whole, root, ignore=shutil.ignore_patterns("dataengine", ".dataengine"))
    episodes = root / EPISODES
    own = [n for n in pq.read_schema(episodes).names if n.startswith(("sha256", "packets")) or n == "episode_id"]
    rewrite(episodes, lambda t: t.drop_columns(own))
    damage(root)
    report = Store.open(root).verify()
    assert report.ok == (not message), str(report)
    assert not message or any(message in str(problem) for problem in report.problems), str(report)


def test_all_is_well_where_nothing_is_wrong(whole: Path, tmp_path: Path) -> None:
    report = Store.open(whole).verify(deep=True)
    assert report.ok and report.episodes == 3 and report.frames == 18 and report.digest == Store.open(whole).digest()
    copy = tmp_path / "s"
    shutil.copytree(whole, copy, ignore=shutil.ignore_patterns("dataengine", ".dataengine"))
    foreign = Store.open(copy)
    assert foreign.commit is None and foreign.ids == Store.open(whole).ids
    with pytest.raises(StoreError, match="not made by this engine"):
        foreign.writer()
    with pytest.raises(StoreError, match="not made by this engine"):
        foreign.compact()


def test_the_manifest_names_every_file(whole: Path) -> None:
    """Commit record → episodes files → data and videos: sha256 of all that is published. Files of camera statistics,
    one per commit, say it in their names; without them an edit decodes."""
    store = Store.open(whole)
    assert store.commit is not None
    named = dict(store.commit.sha256)
    for index in range(len(store)):
        table = store.table_of_episodes
        named[table.data(index)[0]] = table.value("sha256/data", index)
        named[table.video(index, FRONT)[0]] = table.value(f"sha256/{FRONT}", index)
    there = {p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file() and ".dataengine" not in p.parts}
    cameras = {path for path in there if path.startswith("meta/dataengine/cameras/")}
    assert there - set(named) - cameras == {"meta/info.json", "meta/dataengine/commit.json"}
    assert len(cameras) == 3 and all(sha256_file(whole / path)[:16] in path for path in cameras)
    assert all(sha256_file(whole / path) == digest for path, digest in named.items())
    assert pc.all(pc.is_valid(store.table_of_episodes.table.column("sha256/data"))).as_py()


def test_a_writer_refuses_metadata_changed_from_outside(whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "s"
    shutil.copytree(whole, root)
    set_info(root, total_frames=99)
    flip(root / "meta/stats.json", 0.5)
    with Store.open(root).writer() as writer:
        assert writer.recovered == ["meta/stats.json: written anew", "meta/info.json: brought to 3 episodes"]
    assert Store.open(root).verify().ok
    rewrite(root / "meta/tasks.parquet", lambda t: t.slice(0, 3))
    with (
        pytest.raises(StoreError, match=r"tasks.parquet was changed or removed from outside"),
        Store.open(root).writer(),
    ):
        pass
