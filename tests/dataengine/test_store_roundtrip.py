"""What goes into a store comes out of it: every dtype, shape and length, labels, tasks and meta."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from store_made import DEPTH, FEATURES, FPS, FRONT, PNG, SMALL, episode

from dataengine.episode import Episode, Feature, Label, Meta
from dataengine.errors import ConfigError, EpisodeError, StoreError
from dataengine.store import FrameReader, Shard, Store, seal

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")


def made(root: Path, count: int = 3, features: dict[str, Feature] = FEATURES) -> Store:
    store = Store.create(root, fps=FPS, features=features, embodiment="arm", licence="mit")
    with store.writer() as writer:
        for seed in range(count):
            assert writer.append(episode(seed, 5 + seed, features)) == seed
    return store


def test_everything_comes_back(tmp_path: Path) -> None:
    made(tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert len(store) == 3 and store.fps == FPS and store.embodiment == "arm" and store.licence == "mit"
    assert store.tasks == ("pick up the cube", "put it in box 0", "put it in box 2")
    for seed, back in enumerate(store):
        want = episode(seed, 5 + seed)
        assert back.check().id == want.id == store.ids[seed]
        for key, column in want.frames.items():
            np.testing.assert_array_equal(back.frames[key], column, err_msg=key)
            assert back.frames[key].dtype == column.dtype or key == "collect.note"
        assert replace(back.meta, embodiment=None) == want.meta
        np.testing.assert_array_equal(back.frame_tasks, want.frame_tasks)
        assert {n: (v.kind, v.table.to_pylist(), v.source) for n, v in back.labels.items()} == {
            n: (v.kind, v.table.to_pylist(), v.source) for n, v in want.labels.items()
        }
        np.testing.assert_array_equal(np.stack(list(back.clips[PNG].frames())), want.clips[PNG].array)
        colour = np.stack(list(back.clips[FRONT].frames())).astype(int) - want.clips[FRONT].array
        assert np.abs(colour).mean() < 3
        depth = np.stack(list(back.clips[DEPTH].frames())) - want.clips[DEPTH].array
        assert np.abs(depth).max() < 2e-3
        for key, feature in FEATURES.items():
            assert (back.features[key].dtype, back.features[key].shape) == (feature.dtype, feature.shape)
            assert (back.features[key].role, back.features[key].unit) == (feature.role, feature.unit)
    assert store.verify(deep=True).ok


@st.composite
def columns(draw: st.DrawFn) -> tuple[dict[str, Feature], dict[str, np.ndarray]]:
    length = draw(st.integers(1, 9))
    features, frames = {}, {}
    for n in range(draw(st.integers(1, 4))):
        dtype = draw(st.sampled_from(DTYPES))
        shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=5)))
        options = {"allow_nan": False, "allow_infinity": False} if dtype.startswith("float") else {}
        whole = (length,) if shape == (1,) else (length, *shape)
        features[f"collect.c{n}"] = Feature(dtype, shape)
        frames[f"collect.c{n}"] = draw(npst.arrays(dtype, whole, elements=npst.from_dtype(np.dtype(dtype), **options)))
    if draw(st.booleans()):
        text = st.lists(
            st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8),
            min_size=length,
            max_size=length,
        )
        features["collect.text"] = Feature("string", (1,))
        frames["collect.text"] = np.array(draw(text), dtype=object)
    return features, frames


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(columns())
def test_any_columns_come_back(given_: tuple[dict[str, Feature], dict[str, np.ndarray]]) -> None:
    features, frames = given_
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "s", fps=30, features=features)
        with store.writer() as writer:
            writer.append(Episode("one", 30.0, features, frames, meta=Meta(tasks=("t",))))
            writer.append(Episode("two", 30.0, features, frames, meta=Meta(tasks=("u",))))
        for back in Store.open(store.root):
            for key, column in frames.items():
                assert back.frames[key].tolist() == column.tolist()
                assert back.frames[key].shape == column.shape
        report = store.verify()
        assert report.ok, str(report)


def test_append_is_idempotent_and_ordered(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2, SMALL)
    with store.writer() as writer:
        assert writer.append(episode(0, 5, SMALL)) == 0
        assert writer.append(episode(7, 5, SMALL)) == 2
        assert writer.append(episode(1, 6, SMALL)) == 1
    assert Store.open(store.root).ids == ("episode0000", "episode0001", "episode0007")


def test_several_shards_in_one_commit_equal_appends(tmp_path: Path) -> None:
    one = made(tmp_path / "one", 3, SMALL)
    two = Store.create(tmp_path / "two", fps=FPS, features=SMALL, embodiment="arm", licence="mit")
    shards = [seal(episode(n, 5 + n, SMALL), tmp_path / f"shard{n}", features=two.features) for n in range(3)]
    with two.writer() as writer:
        assert writer.commit_all([Shard.load(shard.folder) for shard in (*shards, shards[0])]) == [0, 1, 2, 0]
    assert two.verify().ok
    assert one.digest() == two.digest()
    assert one.stats().keys() == two.stats().keys()
    for key, entry in one.stats().items():
        for name, value in entry.items():
            np.testing.assert_array_equal(value, two.stats()[key][name], err_msg=f"{key} {name}")


def test_episodes_file_rolls_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataengine.store.writer.EPISODES_PER_FILE", 3)
    features = {"action": SMALL["action"]}
    store = Store.create(tmp_path / "s", fps=FPS, features=features)
    shards = [
        seal(episode(n, 4, SMALL).select(["action"]), tmp_path / f"shard{n}", features=features) for n in range(9)
    ]
    with store.writer() as writer:
        writer.commit(shards[0])
        writer.commit_all(shards[1:8])
    with store.writer() as writer:
        writer.commit(shards[8])
    assert [rows for _, rows in store.commit.episode_files] == [3, 3, 3]
    assert len(list((store.root / "meta/episodes").glob("*/*.parquet"))) == 3
    files = [
        (e["meta/episodes/chunk_index"], e["meta/episodes/file_index"])
        for e in store.table_of_episodes.table.to_pylist()
    ]
    assert files == [(0, n // 3) for n in range(9)]
    assert store.verify().ok


def test_opening_needs_little() -> None:
    """numpy, pyarrow and av read a dataset; nothing heavier is imported on the way."""
    code = "import sys, dataengine.store; print(*{m.split('.')[0] for m in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "lerobot", "datasets", "pandas", "h5py", "zarr", "scipy", "PIL", "cv2", "dask"} & set(found)


def test_travels_to_other_processes(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2, SMALL)
    assert pickle.loads(pickle.dumps(store)).ids == store.ids
    reader = pickle.loads(pickle.dumps(FrameReader(store, {"action": [0, 0.1]})))
    assert reader[3]["action"].shape == (2, 2)
    back = pickle.loads(pickle.dumps(store[1]))
    np.testing.assert_array_equal(back.clips[FRONT].frame(2), store[1].clips[FRONT].frame(2))


def test_files_are_readable_by_others_and_checksummed(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 1)
    for path in store.root.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o644, path
    path = next((store.root / "data").rglob("*.parquet"))
    whole = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    whole[column.data_page_offset + column.total_compressed_size - 3] ^= 0x55
    path.write_bytes(whole)
    with pytest.raises(StoreError, match="damaged"):
        _ = Store.open(store.root)[0]


def test_labels_are_written_and_replaced_each_on_its_own(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 3, SMALL)
    frames_before = {
        p: p.stat().st_mtime_ns for p in store.root.rglob("*") if "labels" not in p.as_posix() and p.is_file()
    }
    first, second, third = store.ids

    def score(value: float, length: int) -> Label:
        return Label("frame", pa.table({"value": np.full(length, value)}), {"name": "score", "version": "2"})

    store.write_labels("score", {first: score(1, 5), second: score(2, 6)})
    store.write_labels("score", {third: score(3, 7)})
    store.write_labels("score", {second: score(4, 6)})
    store.write_labels("note", {first: Label("event", pa.table({"frame": pa.array([], pa.int64())}))})
    assert [store.labels("score")[i].table["value"][0].as_py() for i in store.ids] == [1, 4, 3]
    assert store[1].labels["score"].source == {"name": "score", "version": "2"}
    assert store[0].labels["note"].table.num_rows == 0 and "note" not in store[1].labels
    after = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if "labels" not in p.as_posix() and p.is_file()}
    assert frames_before == after
    with pytest.raises(EpisodeError, match="5 rows, the episode 6"):
        store.write_labels("score", {second: score(1, 5)})
    with pytest.raises(StoreError, match="no episode 'nobody'"):
        store.write_labels("score", {"nobody": score(1, 5)})
    with pytest.raises(EpisodeError, match="outside"):
        store.write_labels("score", {second: Label("span", pa.table({"start": [0], "stop": [7]}))})
    with pytest.raises(StoreError, match="it has note, score"):
        store.labels("scores")


def test_windows(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 3)
    reader = FrameReader(store, {"action": [-0.1, 0, 0.3], FRONT: [-0.2, 0.1]}, episodes=[2, 0])
    assert len(reader) == 12
    last = reader[6]
    assert last["action_is_pad"].tolist() == [False, False, True] and last[f"{FRONT}_is_pad"].tolist() == [False, True]
    np.testing.assert_array_equal(last["action"], store[2].frames["action"][[5, 6, 6]])
    np.testing.assert_array_equal(last[FRONT][1], store[2].clips[FRONT].frame(6))
    first = reader[7]
    assert first["episode_index"] == 0 and first["frame_index"] == 0 and first["task"] == "pick up the cube"
    np.testing.assert_array_equal(first["action"], store[0].frames["action"][[0, 0, 3]])
    np.testing.assert_array_equal(reader[-1][PNG], store[0].clips[PNG].frame(4))
    with pytest.raises(ConfigError, match="multiples"):
        FrameReader(store, {"action": [0.05]})
    with pytest.raises(ConfigError, match="no features nothing"):
        FrameReader(store, columns=["nothing"])
    with pytest.raises(IndexError):
        reader[12]


def test_table_access_opens_no_video(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 3, SMALL)
    for path in store.root.rglob("*.mp4"):
        path.unlink()
    table = store.table(["action", "index"], [2, 0])
    assert table.column("index").to_pylist() == [*range(11, 18), *range(5)]
    assert len(FrameReader(store, columns=["action"])) == 18
    assert store.table(["action"], []).num_rows == 0
    with pytest.raises(StoreError, match=r"file-001.mp4 is missing: camera 'observation.images.front' of episode 1"):
        _ = store[1]


def test_a_reader_goes_on_in_a_forked_process(tmp_path: Path) -> None:
    """As torch's workers do: the threads that decode cameras are not there any more."""
    store = Store.create(tmp_path / "s", fps=FPS, features=FEATURES)
    with store.writer() as writer:
        writer.append(episode(1))
    reader = FrameReader(Store.open(store.root))
    want = reader[3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking a process that has threads
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        same = all(np.array_equal(reader[3][key], value) for key, value in want.items())
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
