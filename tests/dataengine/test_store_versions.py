"""Snapshots, packing and materialized labels: new versions with the same content, swapped in one step."""

from __future__ import annotations

import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_made import DEPTH, FEATURES, FPS, FRONT, SMALL, episode, write_scores

from dataengine.episode import Label
from dataengine.errors import EpisodeError, StoreError, StoreLocked
from dataengine.store import Edit, FrameReader, Store
from dataengine.store.lock import label_lock
from dataengine.video import Codec


def made(root: Path, count: int, features: dict = SMALL) -> Store:  # type: ignore[type-arg]
    store = Store.create(root, fps=FPS, features=features)
    with store.writer() as writer:
        for seed in range(count):
            writer.append(episode(seed, 5 + seed, features))
    return store


def pictures(store: Store) -> list[np.ndarray]:
    return [np.stack(list(one.clips[key].frames())) for one in store for key in store.cameras]


def test_snapshot_is_the_whole_state_and_stays(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2, FEATURES)
    digest = store.digest()
    snapshot = store.snapshot(tmp_path / "deep" / "snap")
    with store.writer() as writer:
        writer.append(episode(5, 6))
    store.compact(join_videos=True)
    assert snapshot.reload().digest() == digest != store.digest()
    assert snapshot.verify(deep=True).ok
    assert not (snapshot.root / ".dataengine").exists()
    with snapshot.writer() as writer:
        assert writer.append(episode(9, 6)) == 2
    assert store.verify().ok and snapshot.verify().ok
    with pytest.raises(StoreError, match="not empty"):
        store.snapshot(snapshot.root)


@pytest.mark.parametrize("damage", ["gone", "other"])
def test_a_snapshot_of_a_damaged_store_names_the_file(tmp_path: Path, damage: str) -> None:
    store = made(tmp_path / "s", 1)
    name = "data/chunk-000/file-000.parquet" if damage == "gone" else "meta/tasks.parquet"
    file = store.root / name
    file.unlink() if damage == "gone" else file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(StoreError, match=name.replace(".", r"\.")):
        store.snapshot(tmp_path / "snap")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_snapshot_beside_a_running_writer(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features={"action": SMALL["action"]})
    stop = threading.Event()

    def write() -> None:
        with Store.open(store.root).writer() as writer:
            for seed in range(40):
                writer.append(episode(seed, 5, SMALL).select(["action"]))
                if stop.is_set():
                    return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        taken = [Store.open(store.root).snapshot(tmp_path / f"snap{n}") for n in range(3)]
    finally:
        stop.set()
        thread.join()
    for snapshot in taken:
        assert snapshot.verify().ok, str(snapshot.verify())
    assert [len(s) for s in taken] == sorted(len(s) for s in taken)


def test_compact_packs_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataengine.store.build.EPISODES_PER_DATA_FILE", 2)
    store = made(tmp_path / "s", 5, FEATURES)
    reader = FrameReader(store, columns=["action"])
    before = (store.digest(), pictures(store), store.stats(), store.table().drop_columns([]).to_pylist())
    store.compact()
    after = (store.digest(), pictures(store), store.stats(), store.table().to_pylist())
    assert before[0] == after[0] and before[3] == after[3]
    for one, other in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert before[2].keys() == after[2].keys()
    data = sorted((store.root / "data").rglob("*.parquet"))
    assert [pq.ParquetFile(p).metadata.num_row_groups for p in data] == [2, 2, 1]
    assert len(list((store.root / "meta/episodes").rglob("*.parquet"))) == 1
    assert {len(list(p.glob("*.parquet"))) for p in (store.root / "labels").iterdir()} == {1}
    assert not list(tmp_path.glob(".s*"))
    assert reader[17]["action"].shape == (2,)  # an open reader goes on
    assert min(int(p.stem[5:]) for p in data) == 5  # no number is used for two contents
    with store.writer() as writer:
        assert writer.append(episode(7, 4)) == 5
    assert store.verify(deep=True).ok


def test_joined_videos_show_the_same_pictures(tmp_path: Path) -> None:
    features = {key: FEATURES[key] for key in ("action", FRONT, DEPTH)}
    store = Store.create(tmp_path / "s", fps=FPS, features=features)
    other = Store.create(tmp_path / "o", fps=FPS, features=features, codec=Codec(preset="medium", gop=3))
    with store.writer() as writer:
        for seed in range(5):
            sealed_by = other if seed == 2 else store
            one = episode(seed, 5 + seed).select(list(features))
            writer.commit(sealed_by.seal(replace(one, labels={}), tmp_path / f"shard{seed}"))
    before, digest = pictures(store), store.digest()
    store.compact(join_videos=True)
    assert store.digest() == digest and store.verify(deep=True).ok
    for one_, other_ in zip(before, pictures(store), strict=True):
        np.testing.assert_array_equal(one_, other_)
    # Another encoder's parameters stand between: it keeps a file of its own.
    assert len(list((store.root / "videos" / FRONT).rglob("*.mp4"))) in (3, 4)
    assert len(list((store.root / "videos" / DEPTH).rglob("*.mp4"))) == 1
    with store.writer() as writer:
        assert writer.append(replace(episode(9, 4).select(list(features)), labels={})) == 5
    assert store.verify(deep=True).ok and Store.open(store.root).verify().ok


def test_a_writer_holds_off_compact(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 1)
    with store.writer(), pytest.raises(StoreLocked):
        Store.open(store.root).compact()
    store.compact()
    with store.writer(), pytest.raises(StoreLocked), Store.open(store.root).writer():
        pass


def test_a_store_behind_a_link_is_swapped_where_it_lies(tmp_path: Path) -> None:
    made(tmp_path / "real", 2)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = Store.open(tmp_path / "link")
    store.compact()
    assert (tmp_path / "link").is_symlink() and Store.open(tmp_path / "real").verify().ok
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]


def test_a_failed_version_leaves_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made(tmp_path / "s", 2)
    digest = store.digest()

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("dataengine.store.files.exchange", broken)
    with pytest.raises(OSError, match="disk full"):
        store.compact()
    assert Store.open(store.root).digest() == digest and store.verify().ok
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_materialized_labels_are_columns(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 3, FEATURES)
    assert store.materialize("grade", "phase", "contact", "subtask") == [
        "label.grade", "label.phase", "label.contact", "language_persistent", "language_events",
    ]  # fmt: skip
    assert store.verify(deep=True).ok
    for one in store:
        np.testing.assert_array_equal(one.frames["label.grade"], one.labels["grade"].table["value"].to_numpy())
        half = one.length // 2
        assert one.frames["label.phase"].tolist() == [1] * half + [2] * (one.length - half)
        assert one.frames["label.contact"].tolist() == [n == half for n in range(one.length)]
        assert set(one.labels) == {"grade", "phase", "contact", "subtask"}  # language is not read twice
    assert store.features["label.grade"].role == "label"
    assert store.stats()["label.phase"]["max"].tolist() == [2]
    said = store.table(["language_persistent"], [1]).column(0).to_pylist()
    assert all(
        [(r["style"], r["content"]) for r in row] == [("subtask", "reach"), ("subtask", "grasp")] for row in said
    )

    # New episodes bring their labels with them; a changed label is written again when asked for.
    with store.writer() as writer:
        writer.append(episode(8, 6))
        with pytest.raises(EpisodeError, match=r"label.grade: the store has it, the episode does not"):
            writer.append(replace(episode(9, 6), labels={}))
    assert store[3].frames["label.phase"].tolist() == [1, 1, 1, 2, 2, 2]
    store.write_labels("grade", {i: Label("frame", pa.table({"value": np.zeros(n, np.float32)})) for i, n in
                                 zip(store.ids, store.table_of_episodes.length, strict=True)})  # fmt: skip
    store.materialize("grade")
    assert not store[2].frames["label.grade"].any() and store.stats()["label.grade"]["max"].tolist() == [0]
    assert store.verify().ok


def test_labels_that_cannot_be_columns_are_named(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2)
    with pytest.raises(StoreError, match="has no labels that can become columns"):
        store.materialize()
    first, second = store.ids
    store.write_labels("half", {first: Label("frame", pa.table({"x": np.zeros(5)}))})
    store.write_labels("words", {i: Label("episode", pa.table({"said": ["a", "b"]})) for i in store.ids})
    store.write_labels("gap", {i: Label("span", pa.table({"start": [1], "stop": [2], "x": [0.5]})) for i in store.ids})
    with pytest.raises(StoreError, match=f"'half' is missing for 1 episodes, such as {second}"):
        store.materialize("half")
    with pytest.raises(StoreError, match="'words' holds neither language nor numbers"):
        store.materialize("words")
    with pytest.raises(EpisodeError, match="frame 0: label 'gap' says nothing about some frames"):
        store.materialize("gap")


def test_what_a_label_writer_has_in_hand_is_no_leftover(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2)
    begun = store.root / "labels" / "score" / "00000000-abc.parquet.1234.tmp"
    begun.parent.mkdir(parents=True)
    with label_lock(store.root):
        begun.write_bytes(b"half of it")
        packing = threading.Thread(target=Store.open(store.root).compact)
        packing.start()
        packing.join(1.0)
        assert packing.is_alive() and begun.exists()
    packing.join(30)  # and when its writer is gone, it is one
    assert not packing.is_alive() and not list(store.root.rglob("*.tmp"))


def test_labels_of_one_name_with_other_columns_stay_what_they_are(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 4)
    tables = [{"v": [1]}, {"v": ["one"]}, {"w": [2.5]}, {"v": [7]}]
    said = {i: Label("episode", pa.table(t)) for i, t in zip(store.ids, tables, strict=True)}
    store.write_labels("mixed", said)
    for identity, label in said.items():
        store.write_labels("single", {identity: label})
    for step in (lambda: None, store.compact, lambda: Edit(store).delete([3]).commit(), store.compact):
        step()
        for name in ("mixed", "single"):
            found = Store.open(store.root).labels(name)
            assert {i: label.table.to_pydict() for i, label in found.items()} == {
                i: t for i, t in zip(said, tables, strict=True) if i in store.ids
            }
        assert store.verify().ok
    assert len(list((store.root / "labels" / "single").iterdir())) == 3


def test_a_label_waits_for_whoever_has_the_labels_in_hand(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2)
    identity = store.ids[0]
    said = {identity: Label("episode", pa.table({"v": [0.5]}))}
    with label_lock(store.root):
        writing = threading.Thread(target=Store.open(store.root).write_labels, args=("score", said))
        writing.start()
        writing.join(0.5)
        assert writing.is_alive() and not list(store.root.rglob("labels/score/*"))
    writing.join(30)
    assert list(store.labels("score")) == [identity]


def test_a_label_is_held_against_the_store_as_it_is_when_written(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2)
    first = store.ids[0]
    Edit(Store.open(store.root)).delete([first]).commit()
    with pytest.raises(StoreError, match=first):
        store.write_labels("score", {first: Label("episode", pa.table({"v": [0.5]}))})
    assert not list(store.root.rglob("labels/score/*"))


def test_labels_written_by_several_processes_while_the_store_is_packed(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 6)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_scores, args=(store.root, part)) for part in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        store.compact()
    while any(worker.is_alive() for worker in workers):  # and read
        store.reload()
        assert all("v" in episode.labels["score"].table.column_names for episode in store if episode.labels)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    found = Store.open(store.root).labels("score")
    assert [found[i].table["v"][0].as_py() for i in store.ids] == [30 + index for index in range(6)]
    assert Store.open(store.root).verify().ok
