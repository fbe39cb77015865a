"""An edited store is the one that would have been written that way in the first place, and can be brought back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_made import DEPTH, FEATURES, FPS, FRONT, PNG, SMALL, episode

from dataengine.episode import Episode, Feature, Label
from dataengine.errors import ConfigError, StoreError, StoreLocked
from dataengine.store import Edit, Store, camera_stats, files, history, layout
from dataengine.video import Encoder
from dataengine.video.reader import Reader

STEP = Feature("float32", (1,), role="reward")


def made(root: Path, episodes: list[Episode], features: dict[str, Feature] = FEATURES) -> Store:
    store = Store.create(root, fps=FPS, features=features)
    with store.writer() as writer:
        for one in episodes:
            writer.append(one)
    return store


def five() -> list[Episode]:
    return [episode(seed, 5 + seed) for seed in range(5)]


def rewards(index: int) -> np.ndarray:
    return np.linspace(0, index, 5 + index, dtype=np.float32)


def say(one: Episode, old: str, new: str) -> Episode:
    return one.with_meta(tasks=tuple(dict.fromkeys(new if text == old else text for text in one.meta.tasks)))


def renamed(one: Episode, old: str, new: str) -> Episode:
    def swap(values: Any) -> dict[str, Any]:
        return {new if key == old else key: value for key, value in values.items()}

    return replace(one, features=swap(one.features), frames=swap(one.frames), clips=swap(one.clips))


Change = tuple[Callable[[Edit], object], Callable[[list[Episode]], list[Episode]]]
CHANGES: dict[str, Change] = {
    "delete": (lambda e: e.delete(["1", "3-4"]), lambda made: [made[0], made[2]]),
    "delete the last": (lambda e: e.delete([4]), lambda made: made[:4]),
    "keep": (lambda e: e.keep(["episode0003", 1]), lambda made: [made[1], made[3]]),
    "reorder": (lambda e: e.reorder([4, 2]), lambda made: [made[i] for i in (4, 2, 0, 1, 3)]),
    "set": (
        lambda e: e.set(["2"], success=False, split="val", operator=None, quality=1),
        lambda made: [
            one.with_meta(success=False, split="val", operator=None, quality=1.0) if n == 2 else one
            for n, one in enumerate(made)
        ],
    ),
    "a new instruction": (
        lambda e: e.task("grasp it", old="pick up the cube"),
        lambda made: [say(one, "pick up the cube", "grasp it") for one in made],
    ),
    "an instruction of one": (
        lambda e: e.task("put it in box 0", old="put it in box 2", episodes=[2]),
        lambda made: [say(one, "put it in box 2", "put it in box 0") for one in made],
    ),
    "rename": (
        lambda e: e.rename("collect.grid", "collect.map").rename(FRONT, "observation.images.top"),
        lambda made: [
            renamed(renamed(o, "collect.grid", "collect.map"), FRONT, "observation.images.top") for o in made
        ],
    ),
    "drop": (
        lambda e: e.drop(["next.done", DEPTH, PNG]),
        lambda made: [one.select([k for k in FEATURES if k not in ("next.done", DEPTH, PNG)]) for one in made],
    ),
    "add": (
        lambda e: e.add("next.reward", STEP, rewards),
        lambda made: [
            one.with_columns({"next.reward": STEP}, {"next.reward": rewards(n)}) for n, one in enumerate(made)
        ],
    ),
    "several at once": (
        lambda e: e.delete([0]).reorder([3]).drop([PNG]).set([3], success=None).task("wait", episodes=[3]),
        lambda made: [
            one.select([k for k in FEATURES if k != PNG])
            for one in (replace(made[3].with_meta(tasks=("wait",), success=None)), made[1], made[2], made[4])
        ],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("packed", [False, True])
def test_an_edited_store_is_the_one_that_would_have_been_written(tmp_path: Path, name: str, packed: bool) -> None:
    change, wanted = CHANGES[name]
    store = made(tmp_path / "s", five())
    if packed:
        store.compact(join_videos=True)
    edit = Edit(store)
    change(edit)
    outcome = edit.outcome()
    edit.commit()
    expected = made(tmp_path / "t", wanted(five()), dict(wanted(five())[0].features))
    assert store.verify(deep=True).ok and Store.open(store.root).digest() == expected.digest()
    assert outcome == (len(store), store.frames) == (len(expected), expected.frames)
    assert store.tasks == expected.tasks or sorted(store.tasks) == sorted(expected.tasks)
    assert store.info["features"] == expected.info["features"] and store.info["splits"] == expected.info["splits"]
    check_statistics(store, expected)
    with store.writer() as writer:  # and it goes on from there
        features = store.features
        more = wanted([*five()[:4], episode(9, 9)])[-1]
        assert set(more.features) == set(features)
        writer.append(replace(more, id="more"))
    assert store.verify().ok


def check_statistics(store: Store, expected: Store) -> None:
    """Of the whole, and of every episode."""
    ours, theirs = store.stats(), expected.stats()
    same_tasks = store.tasks == expected.tasks
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        for name, value in values.items():
            if same_tasks or key != "task_index":
                np.testing.assert_allclose(ours[key][name], value, rtol=1e-9, atol=1e-9, err_msg=f"{key} {name}")
    rows, wanted = episode_rows(store), episode_rows(expected)
    for name in wanted.column_names:
        if name.startswith("stats/") and (same_tasks or "task_index" not in name):
            for one, other in zip(rows.column(name).to_pylist(), wanted.column(name).to_pylist(), strict=True):
                np.testing.assert_allclose(np.array(one), np.array(other), rtol=1e-9, atol=1e-9, err_msg=name)


def episode_rows(store: Store) -> pa.Table:
    assert store.commit is not None
    return pa.concat_tables([pq.read_table(store.root / path) for path, _ in store.commit.episode_files])


def test_damaged_statistics_of_cameras_are_named(tmp_path: Path) -> None:
    store = made(tmp_path / "s", five()[:2])
    (file,) = list((store.root / "meta/dataengine/cameras").glob("00000002-*.arrow"))
    file.write_bytes(file.read_bytes()[:-9] + b"x" + file.read_bytes()[-8:])
    assert f"cameras/{file.name}" in str(store.verify())
    with pytest.raises(StoreError, match=f"{file.name} is not what was written"):
        Edit(store).delete([0]).commit()
    for path in (store.root / "meta/dataengine/cameras").iterdir():  # as an older engine has left a store
        path.unlink()
    assert store.verify().ok
    Edit(store).delete([0]).commit()
    expected = made(tmp_path / "t", five()[1:2])
    for key in store.cameras:  # decoded for it: lossy video is off by a grey level or two
        np.testing.assert_allclose(store.stats()[key]["mean"], expected.stats()[key]["mean"], atol=2 / 255)
        assert store.stats()[key]["count"] == expected.stats()[key]["count"]


def test_statistics_of_cameras_from_an_older_engine_count(tmp_path: Path) -> None:
    old, new = made(tmp_path / "old", five()[:2]), made(tmp_path / "new", five()[:2])
    for path in camera_stats.paths(old.root):
        files.put_table(path.parent, camera_stats.generation_of(path) or 0, camera_stats.load(path))
        path.unlink()
    assert {path.suffix for path in camera_stats.paths(old.root)} == {".parquet"} and old.verify().ok
    for store in (old, new):
        Edit(store).delete([0]).commit()
    assert (old.root / layout.STATS).read_bytes() == (new.root / layout.STATS).read_bytes()


def test_files_that_stay_are_shared_and_no_picture_is_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made(tmp_path / "s", five())
    before = {path.relative_to(store.root): path.stat().st_ino for path in store.root.rglob("*") if path.is_file()}
    monkeypatch.setattr(Encoder, "__init__", lambda *_: pytest.fail("a video is encoded"))
    monkeypatch.setattr(Reader, "pictures", lambda *_: pytest.fail("a picture is decoded"))
    Edit(store).delete([3]).commit()
    after = {path.relative_to(store.root): path.stat().st_ino for path in store.root.rglob("*") if path.is_file()}
    data = [Path(f"data/chunk-000/file-{n:03d}.parquet") for n in range(3)]
    videos = [Path(f"videos/{key}/chunk-000/file-{n:03d}.mp4") for key in (FRONT, DEPTH) for n in (0, 1, 2, 4)]
    for path in (*data, *videos):
        assert before[path] == after[path], path
    assert not {Path("data/chunk-000/file-003.parquet"), Path("data/chunk-000/file-004.parquet")} & after.keys()


def test_parts_of_episodes_are_new_ones_with_a_parent(tmp_path: Path) -> None:
    store = made(tmp_path / "s", [episode(seed, 40) for seed in range(3)])
    whole = [store[index] for index in range(3)]
    pictures = [{key: np.stack(list(one.clips[key].frames())) for key in store.cameras} for one in whole]
    Edit(store).trim(0, 7, -3).split(2, [11]).commit()
    assert store.verify(deep=True).ok and len(store) == 4 and store.frames == 30 + 40 + 40
    for index, origin, start, stop in ((0, 0, 7, 37), (1, 1, 0, 40), (2, 2, 0, 11), (3, 2, 11, 40)):
        one, want = store[index], whole[origin].slice(start, stop)
        assert (one.id, one.meta) == (want.id, want.meta)
        for key, column in want.frames.items():
            np.testing.assert_array_equal(one.frames[key], column)
        for name, label in want.labels.items():
            assert one.labels[name].table.to_pylist() == label.table.to_pylist()
        for key in store.cameras:
            shown = np.stack(list(one.clips[key].frames())).astype(float)
            off = np.abs(shown - pictures[origin][key][start:stop]).mean()
            assert off < (2.0 if key == FRONT else 1e-3), key
    values = np.concatenate([one.frames["observation.state"] for one in store])
    np.testing.assert_allclose(store.stats()["observation.state"]["mean"], values.mean(0), atol=1e-6)
    Edit(store).trim(0, 0, 10).commit()
    with store.writer() as writer:
        writer.append(episode(0, 40).slice(7, 37))
    with pytest.raises(StoreError, match="already, cut just so"):
        Edit(store).trim(4, 0, 10).commit()


def test_edits_are_undone_and_done_again(tmp_path: Path) -> None:
    store = made(tmp_path / "s", five())
    digests = [store.digest()]
    for change in (lambda e: e.delete([1]), lambda e: e.set([0], success=True), lambda e: e.trim(0, 1, 4)):
        edit = Edit(store)
        change(edit)
        edit.commit()
        digests.append(store.digest())
    assert len(set(digests)) == 4
    assert [e.what for e in history.log(store)] == [
        "delete 1 episode", "set success=True of 1 episode", "trim episode 0 to frames 1:4",
    ]  # fmt: skip
    assert history.undo(store).what == "undo: trim episode 0 to frames 1:4" and store.digest() == digests[2]
    history.undo(store)
    assert store.digest() == digests[1] and store.verify(deep=True).ok
    last = history.restore(store, history.log(store)[-1].before)  # done again
    assert store.digest() == digests[2] and last.restored is not None
    history.undo(store), history.undo(store)
    assert store.digest() == digests[0] and store.verify(deep=True).ok
    with pytest.raises(StoreError, match="no edit to take back"):
        history.undo(store)
    with store.writer() as writer:
        writer.append(episode(8, 5))
    for back in (history.undo, lambda s: history.restore(s, history.log(s)[0].generation)):
        with pytest.raises(StoreError, match="appended since"):
            back(store)
    Edit(store).delete([0]).commit()
    history.undo(store)
    assert store.ids[-1] == "episode0008" and store.verify().ok
    with pytest.raises(StoreError, match="appended since"):
        history.undo(store)
    store.compact()
    with pytest.raises(StoreError, match="is not kept"):
        history.restore(store, history.log(store)[0].before)


def test_labels_written_after_an_edit_survive_undoing_it(tmp_path: Path) -> None:
    store = made(tmp_path / "s", five())
    Edit(store).delete([0]).commit()
    store.write_labels("mark", {store.ids[0]: Label("event", pa.table({"frame": [2]}))})
    history.undo(store)
    assert store.get("episode0001").labels["mark"].table.to_pylist() == [{"frame": 2}]
    assert set(store[0].labels) == {"subtask", "phase", "grade", "contact"}


def test_two_states_are_compared(tmp_path: Path) -> None:
    store = made(tmp_path / "s", five())
    Edit(store).delete([1]).task("wait", episodes=[2]).reorder([3]).drop([PNG]).commit()
    found = history.diff(history.state(store, history.log(store)[0].before), store)
    assert found["removed"] == ["episode0001"] and found["added"] == [] and found["order"]
    assert found["changed"] == {"episode0002": {"tasks": (("pick up the cube", "put it in box 2"), ("wait",))}}
    assert found["features"] == {"added": [], "removed": [PNG], "changed": []}
    with pytest.raises(StoreError, match="state 1 is not kept"):
        history.state(store, 1)


def test_a_snapshot_says_nothing_of_what_was_edited(tmp_path: Path) -> None:
    store = made(tmp_path / "s", five())
    Edit(store).task("a name that was a mistake", episodes=[0]).commit()
    Edit(store).delete([1]).task("wait", episodes=[0]).commit()
    copy = store.snapshot(tmp_path / "t")
    assert copy.digest() == store.digest() and history.log(copy) == []
    for path in (p for p in copy.root.rglob("*") if p.is_file()):
        assert not any(word in words_of(path) for word in (b"mistake", b"episode0001")), path
    history.undo(store)
    assert set(store.get("episode0001").labels) == {"subtask", "phase", "grade", "contact"}


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_purged_is_nowhere(tmp_path: Path, packed: bool) -> None:
    secret = replace(
        episode(3, 20).with_meta(tasks=("sing to grandmother",), operator="Ada Lovelace"),
        id="f00dfeed",
        frame_tasks=None,
    )
    store = made(tmp_path / "s", [*five()[:3], secret, episode(4, 9)])
    if packed:
        store.compact(join_videos=True)
    Edit(store).split(3, [12]).set([3], operator="Countess Lovelace").commit()
    history.undo(store)
    Edit(store).trim(3, 0, 15).commit()
    with store.writer() as writer:
        writer.append(secret)
    video = np.stack(list(store[3].clips[FRONT].frames()))
    parent = store.index("f00dfeed")
    entry = Edit(store).purge([parent]).commit()
    assert entry.what == "purge 2 episodes" and not entry.kept and len(store) == 4 and len(video)
    assert store.verify(deep=True).ok and store.ids == ("episode0000", "episode0001", "episode0002", "episode0004")
    assert not list(tmp_path.glob(".s*")) and not (store.root / ".dataengine/history").exists()
    for path in (p for p in store.root.rglob("*") if p.is_file()):
        assert not any(word in words_of(path) for word in (b"f00dfeed", b"grandmother", b"Lovelace")), path
    frames = {key: sum(count_frames(path) for path in (store.root / "videos" / key).rglob("*.mp4")) for key in (FRONT,)}
    assert frames == {FRONT: store.frames}
    expected = made(tmp_path / "t", [*five()[:3], episode(4, 9)])
    check_statistics(store, expected)


def words_of(path: Path) -> bytes:
    """All that a file says, Parquet unpacked."""
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = json.dumps(pq.read_table(path, partitioning=None).to_pylist(), default=str)
    return path.read_bytes() + table.encode() + str(pq.read_schema(path).metadata).encode()


def count_frames(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def test_what_cannot_be_meant_is_named(tmp_path: Path) -> None:
    store = made(tmp_path / "s", [episode(seed, 6, SMALL) for seed in range(3)], SMALL)
    digest = store.digest()
    for wrong, why in {
        lambda e: e.delete(["7"]): r"episodes 7 are not among the 3 \(0 to 2\)",
        lambda e: e.delete(["2-1"]): "not among the 3",
        lambda e: e.delete(["nobody"]): "no episode 'nobody'; give an id, a position or a range",
        lambda e: e.delete([]): "no episodes are named",
        lambda e: e.delete(["-1"]): "no episode '-1'",
        lambda e: e.trim(0, 4, 4): "episode 0 has 6 frames; 4 to 4 are none of it",
        lambda e: e.split(0, [9]): "has 6 frames",
        lambda e: e.trim(0, 1, 4).split(0, [2]): "is cut already in this edit",
        lambda e: e.set([0], mood="good"): "'mood' is nothing that is said of an episode; known: success",
        lambda e: e.set([0], success="yes"): "success is 'yes'; it is a bool",
        lambda e: e.set([0], quality=True): "quality is True; it is a float",
        lambda e: e.task("x", old="y"): "no episode has the instruction 'y'",
        lambda e: e.rename("action", "observation.state"): "has 'observation.state' already",
        lambda e: e.rename("action", "index"): "has 'index' already",
        lambda e: e.rename("action", "a/b"): "a/b",
        lambda e: e.rename("reward", "x"): "no feature 'reward'; it has observation.state",
        lambda e: e.drop(list(SMALL)): "no feature would be left",
        lambda e: e.add("observation.images.b", SMALL[FRONT], rewards): "columns of numbers can be added",
        lambda e: e.delete([0]).purge([1]).commit(): "purge is an edit of its own",
    }.items():
        with pytest.raises(ConfigError, match=why):
            wrong(Edit(store))
    for wrong, why in {
        lambda e: e.commit(): "nothing to do",
        lambda e: e.delete(["0-2"]).commit(): "no episode would be left",
    }.items():
        with pytest.raises(StoreError, match=why):
            wrong(Edit(store))
    late = Edit(store).delete([0])
    with store.writer() as writer:
        with pytest.raises(StoreLocked):
            Edit(Store.open(store.root)).delete([0]).commit()
        writer.append(episode(5, 6, SMALL))
    with pytest.raises(StoreError, match="has changed since the edit began"):
        late.commit()
    Edit(store).delete([3]).commit()
    assert store.digest() == digest


def test_an_edit_that_fails_leaves_store_and_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made(tmp_path / "s", [episode(seed, 6, SMALL) for seed in range(3)], SMALL)
    Edit(store).delete([0]).commit()
    digest = store.digest()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dataengine.store.files.exchange", full)
        for edit in (Edit(store).delete([0]), Edit(store).trim(0, 1, 3)):
            with pytest.raises(OSError, match="No space left"):
                edit.commit()
    assert Store.open(store.root).digest() == digest and store.verify().ok
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]
    history.undo(store)
    assert len(store) == 3 and store.verify().ok


def test_an_edit_that_is_killed_anywhere_leaves_the_old_store_or_the_new_one(tmp_path: Path) -> None:
    program = Path(__file__).parents[1] / "store_edit_killed.py"
    stride = 1 if "DATAENGINE_FAULTS" in os.environ else 3
    command = [sys.executable, program, tmp_path, str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    before, after = steps[0]["base"], steps[-1]["digest"]
    assert before != after and len(steps) > 30 // stride and {s["digest"] for s in steps} == {before, after}
    for step in steps:
        assert step["recovered"] == step["digest"] and step["ok"] and not step["left"], step
        if step["digest"] == after:
            assert step["undone"] == before, step
