"""Merging two stores: the same as appending every episode, with every video shared, and undone in one step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_made import DEPTH, FEATURES, FPS, SMALL, episode, store_of

from dataengine.episode import Feature, Label, Meta
from dataengine.errors import StoreError
from dataengine.store import Edit, FrameReader, Store, history, merging


def told(seed: int, *tasks: str, features: dict[str, Feature] = FEATURES, length: int = 7):
    frame_tasks = np.arange(length) * len(tasks) // length
    return episode(seed, length, features, meta=Meta(tasks=tasks, success=bool(seed % 2)), frame_tasks=frame_tasks)


def store_with(root: Path, *episodes, features: dict[str, Feature] = FEATURES) -> Store:
    store = Store.create(root, fps=FPS, features=features)
    with store.writer() as writer:
        for one in episodes:
            writer.append(one)
    return store


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Store, Store, Store]:
    """Two stores, the second with other instructions in another order, and one of all their episodes."""
    first = [told(0, "pick"), told(1, "place", "pick", length=5)]
    second = [told(2, "push"), told(3, "place", length=9), told(4, "push", "pick")]
    one, two = store_with(tmp_path / "one", *first), store_with(tmp_path / "two", *second)
    return one, two, store_with(tmp_path / "all", *first, *second)


def close(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for key in a:
        for name in a[key]:
            np.testing.assert_allclose(a[key][name], b[key][name], rtol=2e-3, atol=1e-9, err_msg=f"{key} {name}")


def test_the_merged_store_is_the_store_of_all(parts: tuple[Store, Store, Store]) -> None:
    one, two, everything = parts
    entry = merging.merge(one, two)
    assert entry.what == "merge 3 episodes of two" and entry.kept
    one = Store.open(one.root)
    assert one.ids == everything.ids and one.tasks == everything.tasks
    assert one.digest() == everything.digest()
    assert one.verify(deep=True).ok
    close(one.stats(), everything.stats())
    ours, theirs = (s.table_of_episodes.table for s in (one, everything))
    for name in ("tasks", "length", "success", "dataset_from_index", "dataset_to_index"):
        assert ours.column(name).to_pylist() == theirs.column(name).to_pylist(), name
    mine, his = FrameReader(one), FrameReader(everything)
    for place in range(len(mine)):
        a, b = mine[place], his[place]
        assert all(np.array_equal(a[key], b[key]) for key in b)


def test_statistics_of_every_merged_episode_are_those_of_its_rows(parts: tuple[Store, Store, Store]) -> None:
    one, two, everything = parts
    merging.merge(one, two)

    def rows(store: Store) -> dict:
        files = sorted((store.root / "meta/episodes").rglob("*.parquet"))
        return pa.concat_tables([pq.read_table(path) for path in files], promote_options="default").to_pydict()

    ours, theirs = rows(one), rows(everything)
    for name in theirs:
        if name.startswith("stats/") and not name.startswith(f"stats/{DEPTH}"):
            assert ours[name] == theirs[name], name


def test_no_byte_of_video_is_copied_and_the_other_store_stays(parts: tuple[Store, Store, Store]) -> None:
    one, two, _ = parts
    before = two.digest()
    merging.merge(one, two)
    inodes = {path.stat().st_ino for path in (one.root / "videos").rglob("*.mp4")}
    assert inodes >= {path.stat().st_ino for path in two.root.rglob("*.mp4")}
    assert two.reload().digest() == before and two.verify().ok


def test_a_merge_is_undone(parts: tuple[Store, Store, Store]) -> None:
    one, two, _ = parts
    before = one.digest()
    merging.merge(one, two)
    history.undo(one)
    assert one.reload().digest() == before and one.verify().ok
    merging.merge(one, two)
    assert len(one) == 5


def test_what_is_there_or_was_taken_out_does_not_come_again(tmp_path: Path) -> None:
    one, two = store_of(tmp_path / "one", [4, 5, 6]), store_of(tmp_path / "two", [4, 5, 6, 7, 8])
    Edit(one).delete([1]).commit()
    assert merging.coming(one, two) == [3, 4]
    merging.merge(one, two)
    assert one.ids == tuple(two.ids[n] for n in (0, 2, 3, 4))
    with pytest.raises(StoreError, match="nothing to do"):
        merging.merge(one, two)


def test_labels_come_along_and_old_ones_stay(tmp_path: Path) -> None:
    one, two = store_of(tmp_path / "one", [4, 5]), store_of(tmp_path / "two", [4, 5, 6])

    def grade(value: float) -> Label:
        return Label("episode", pa.table({"value": [value]}))

    one.write_labels("grade", {one.ids[0]: grade(0.25)})
    two.write_labels("grade", {identity: grade(0.5) for identity in two.ids})
    two.write_labels("note", {two.ids[2]: Label("episode", pa.table({"text": ["good"]}))})
    merging.merge(one, two)
    said = {i: label.table.column("value").to_pylist() for i, label in one.labels("grade").items()}
    assert said == {one.ids[0]: [0.25], two.ids[2]: [0.5]}
    assert list(one.labels("note")) == [two.ids[2]]


def test_files_that_several_episodes_share_are_shared_or_cut(tmp_path: Path) -> None:
    one = store_with(tmp_path / "one", episode(9, 4, SMALL), features=SMALL)
    two = store_of(tmp_path / "two", [5, 6, 7, 8])
    two.compact(join_videos=True)
    Edit(two).delete([2]).commit()
    two.compact(join_videos=True)
    files = list((two.root / "videos").rglob("*.mp4"))
    everything = store_with(tmp_path / "all", *[one[0], *two], features=SMALL)
    some = store_with(tmp_path / "some", one[0], two[1], features=SMALL)
    merging.merge(one, two)
    assert len(list((one.root / "videos").rglob("*.mp4"))) == 1 + len(files) and one.verify(deep=True).ok
    assert one.ids == everything.ids and len(one.table(["action"])) == everything.frames
    merging.merge(some, two)  # of a file that two of three episodes leave, they are cut out
    assert some.ids == (one.ids[0], two.ids[1], two.ids[0], two.ids[2]) and some.verify(deep=True).ok


def test_into_an_empty_store_and_appended_after(tmp_path: Path) -> None:
    empty = Store.create(tmp_path / "empty", fps=FPS, features=SMALL)
    two = store_of(tmp_path / "two", [5, 6])
    merging.merge(empty, two)
    assert empty.digest() == two.digest() and empty.verify(deep=True).ok
    with empty.writer() as writer:
        writer.append(episode(9, 4, SMALL))
    assert len(Store.open(empty.root)) == 3 and empty.verify(deep=True).ok


def test_stores_that_do_not_fit_are_refused_with_the_reason(tmp_path: Path) -> None:
    one = store_of(tmp_path / "one", [4])
    more = {**SMALL, "next.done": FEATURES["next.done"]}
    wide = store_of(tmp_path / "wide", [4], more)
    with pytest.raises(StoreError, match=r"next\.done: the episode has it"):
        merging.merge(one, wide)
    quick = Store.create(tmp_path / "quick", fps=2 * FPS, features=SMALL)
    with pytest.raises(StoreError, match="20 frames a second"):
        merging.merge(one, quick)
    with pytest.raises(StoreError, match="itself"):
        merging.merge(one, Store.open(one.root))
    assert one.verify().ok and not history.log(one)


def test_what_the_other_store_says_of_all_is_said_of_each(tmp_path: Path) -> None:
    one = Store.create(tmp_path / "one", fps=FPS, features=SMALL, embodiment="aloha", licence="mit")
    two = Store.create(tmp_path / "two", fps=FPS, features=SMALL, embodiment="so101", licence="cc-by-4.0")
    for store, seed in ((one, 1), (two, 2)):
        with store.writer() as writer:
            writer.append(episode(seed, 4, SMALL))
    merging.merge(one, two)
    assert [one[n].meta.embodiment for n in range(2)] == ["aloha", "so101"]
    assert one[1].meta.licence == "cc-by-4.0" and one.verify().ok
