"""Damage of every kind is found, named, and nothing else is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lerobot_folders import edit_json, write_mp4
from store_damage import column, cut, data, flip, flip_page, pipe, rewrite, set_info, video
from store_made import FRONT, store_of

from bench.flips import content, finished, flips
from dataengine.errors import StoreError
from dataengine.guard import sha256_file
from dataengine.store import Store, verify_files
from dataengine.store.verify import verify

EPISODES = "meta/episodes/chunk-000/file-000.parquet"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("whole") / "s", range(5, 8)).root


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


def test_every_changed_byte_is_named(tmp_path: Path) -> None:
    """Every file of a store with labels, edits and kept versions once; `bench.flips` does it 2000 times."""
    store = finished(tmp_path / "s", 3)
    count = len(content(store.root))
    named, missed, _ = flips(store.root, count, seed=int.from_bytes(os.urandom(4)))
    assert not missed and sum(named.values()) == count > 40
    assert store.verify().ok


READ: dict[str, tuple[Callable[[Path], object], str]] = {
    "values": (lambda r: flip_page(data(r, 1), "action"), "wrong values of 'action' without noticing (episodes 1)"),
    "half a table": (lambda r: cut(data(r, 1), 900), "LeRobot cannot open the dataset"),
    "the front of a table": (lambda r: flip(data(r, 1), 0.0), "no page of values is damaged"),
    "pictures": (lambda r: flip(video(r, 1), 0.9), f"wrong pictures of {FRONT!r} in episodes 1, or fails there"),
    "a video's head": (lambda r: cut(video(r, 1), 1500), f"LeRobot fails at pictures of {FRONT!r} in episodes 1"),
    "info": (lambda r: set_info(r, fps=11, robot_type="leg"), "LeRobot reads another 'fps', 'robot_type'"),
    "torn info": (lambda r: (r / "meta/info.json").write_text("{"), "LeRobot cannot open the dataset"),
    "info spelt otherwise": (lambda r: set_info(r), "LeRobot reads what was written"),
    "statistics": (
        lambda r: edit_json(r / "meta/stats.json", action={"mean": [0]}),
        "training would normalise 'action' otherwise",
    ),
    "episodes": (lambda r: flip_page(r / EPISODES, "length"), "wrong values of 'length' without noticing"),
    "the record": (lambda r: flip(r / "meta/dataengine/commit.json", 0.5), "this engine opens nothing"),
    "no record": (lambda r: (r / "meta/dataengine/commit.json").unlink(), "takes the store for another's"),
    "a link to nothing": (
        lambda r: (video(r, 1).unlink(), video(r, 1).symlink_to("nothing")),
        "is a link to a file that is gone",
    ),
    "a pointer": (lambda r: data(r, 1).write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
}


@pytest.mark.parametrize("name", READ)
def test_what_a_loader_would_have_read_is_said(whole: Path, tmp_path: Path, name: str) -> None:
    damage, message = READ[name]
    root = tmp_path / "s"
    shutil.copytree(whole, root)
    damage(root)
    told = [str(problem) for problem in verify(root).problems]
    assert any(message in text for text in told), told


def test_a_quick_look_reads_no_bodies_and_says_so(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(verify_files, "sha256_file", lambda path: hashed.append(str(path)) or sha256_file(path))
    report = verify(whole, quick=True)
    assert report.ok and report.digest is None and hashed and not [path for path in hashed if "/meta/" not in path]
    assert "metadata by sha256" in report.checked
    assert "the bodies of 3 data files, 3 videos, 0 label files" in report.trusted
    for damage, kind in {
        lambda r: flip(data(r, 1), 0.1): "",  # a body
        lambda r: flip(r / "meta/tasks.parquet", 0.5): "checksum",
        lambda r: cut(data(r, 1), 50): "damaged",
        lambda r: data(r, 1).unlink(): "missing",
        lambda r: cut(video(r, 1), 50): "damaged",
        lambda r: video(r, 1).unlink(): "missing",
        lambda r: shutil.copyfile(video(r, 0), video(r, 1)): "count",
        lambda r: shutil.copyfile(data(r, 0), data(r, 1)): "count",
    }.items():
        root = tmp_path / "s"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(whole, root)
        damage(root)
        assert [p.kind for p in verify(root, quick=True).problems] == ([kind] if kind else [])
    assert "every picture decoded" in verify(whole, deep=True).checked
    assert "that pictures decode" in verify(whole).trusted


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
    "fewer episodes counted": (lambda r: set_info(r, total_episodes=2), "is 2, meta/episodes has 3 rows"),
    "more episodes counted": (lambda r: set_info(r, total_episodes=5), "3 rows, but 5 episodes are counted"),
    "tasks counted wrong": (lambda r: set_info(r, total_tasks=9), "total_tasks is 9, meta/tasks.parquet has 3"),
    "a split of more": (lambda r: set_info(r, splits={"train": "0:7"}), "the split 'train' is 0:7, there are 3"),
    "no tasks": (lambda r: (r / "meta/tasks.parquet").unlink(), "meta/tasks.parquet: is missing or empty"),
    "no statistics": (lambda r: (r / "meta/stats.json").unlink(), "meta/stats.json: is missing"),
    "a stray table": (
        lambda r: shutil.copyfile(data(r, 0), data(r, 0).with_name("a.parquet")),
        "a.parquet: belongs to no episode; LeRobot reads its rows",
    ),
    "a table that is none": (lambda r: (r / EPISODES).write_bytes(b"PAR1"), "cannot be read"),
    "tasks of other episodes": (
        lambda r: rewrite(data(r, 1), lambda t: column(t, "task_index", lambda a: a * 0 + 1)),
        "meta/episodes says 'pick up the cube'",
    ),
    "an unknown column": (
        lambda r: rewrite(data(r, 1), lambda t: t.append_column("more", t["index"])),
        "has the columns 'more', unknown to info.json; LeRobot cannot open",
    ),
    "a lost column": (
        lambda r: rewrite(data(r, 1), lambda t: t.drop_columns(["action"])),
        "lacks the columns 'action' of info.json; LeRobot cannot open",
    ),
    "shifted pictures": (
        lambda r: joined(r, lambda a: a - np.array([0, 0.1, 0])),
        "begins 1 frames before the end of episode 0 in the same file; LeRobot shows pictures of episode 0",
    ),
    "pictures between frames": (
        lambda r: joined(r, lambda a: a + np.array([0, 0, 0.02])),
        "shows no picture at the time of frame 0, the nearest is 0.02 s off",
    ),
    "pictures of another size": (
        lambda r: set_info(r, features=resized(r)),
        "its pictures are 48×32, info.json says 96×64",
    ),
    "a wrong spread": (lambda r: spoil_stats(r, "action", std=[9, 9]), "std of 'action' is not that of its 18 values"),
    "a wrong count": (lambda r: spoil_stats(r, "action", count=[5]), "count of 'action' is '5', there are 18 frames"),
    "statistics up to 255": (lambda r: spoil_stats(r, FRONT, max=[[[255]]] * 3), "are not between 0 and 1"),
    "statistics of other data": (
        lambda r: rewrite(data(r, 1), lambda t: column(t, "action", lambda a: a + 10)),
        "max of 'action' is not that of its 18 values",
    ),
}


def joined(root: Path, shift: Callable[[np.ndarray], np.ndarray]) -> None:
    """All episodes in the longest video, each from another time on."""
    write_mp4(video(root, 0), [np.full((32, 48, 3), 10 * n, np.uint8) for n in range(20)], 10)
    begin = shift(np.array([0, 0.5, 1.1]))
    columns = {
        "file_index": np.zeros(3, int),
        "from_timestamp": begin,
        "to_timestamp": begin + np.array([0.5, 0.6, 0.7]),
    }
    for name, value in columns.items():
        rewrite(root / EPISODES, lambda t, n=name, v=value: column(t, f"videos/{FRONT}/{n}", lambda _: v))


def resized(root: Path) -> dict[str, object]:
    features = json.loads((root / "meta/info.json").read_text())["features"]
    return features | {FRONT: features[FRONT] | {"shape": [64, 96, 3]}}


def spoil_stats(root: Path, key: str, **changes: object) -> None:
    given = json.loads((root / "meta/stats.json").read_text())
    edit_json(root / "meta/stats.json", **{key: given[key] | changes})


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
    report = verify(root)
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
