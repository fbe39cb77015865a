"""The shuffled stream gives what random access gives: everything once, in an order that only the seed decides."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_made import DEPTH, FEATURES, FPS, FRONT, PNG, SMALL, episode, store_of

from dataengine.errors import ConfigError, StoreError, VideoError
from dataengine.store import FrameReader, Store
from dataengine.store.reader import Selection
from dataengine.store.stream import FrameStream
from dataengine.store.stream_segment import load, picture_bytes
from dataengine.video import Codec

WINDOWS = {"action": [-0.1, 0, 0.3], FRONT: [-0.2, 0, 0.1], "collect.note": [0, 0.1]}
LENGTHS = (63, 140, 7, 91)
TOTAL = sum(LENGTHS)
PICTURE = 48 * 32 * 3  # bytes
BYTES = 60 * PICTURE  # a buffer smaller than the store


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """All kinds of features; 15 frames, tasks that change."""
    store = Store.create(tmp_path_factory.mktemp("everything") / "s", fps=FPS, features=FEATURES)
    with store.writer() as writer:
        for seed in range(2):
            writer.append(episode(seed, 7 + seed))
    return store


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One camera, a keyframe every 4 frames."""
    root = tmp_path_factory.mktemp("small") / "s"
    store = Store.create(root, fps=FPS, features=SMALL, codec=Codec(gop=4))
    with store.writer() as writer:
        for seed, length in enumerate(LENGTHS):
            writer.append(episode(seed, length, SMALL))
    return store


def order(stream: FrameStream) -> list[int]:
    """Global numbers of the frames of one epoch."""
    return [int(i) for item in stream for i in np.atleast_1d(item["index"])]


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)
        if not isinstance(value, str):
            assert np.asarray(value).dtype.kind == np.asarray(other[key]).dtype.kind, key
            assert np.shape(value) == np.shape(other[key]), key


@pytest.mark.parametrize("windows", [None, WINDOWS, {DEPTH: [0, 0.1], PNG: [-0.1, 0]}])
def test_items_are_those_of_random_access(everything: Store, windows: Any) -> None:
    reader = FrameReader(everything, windows, episodes=[1, 0])
    place = {
        int(item["index"]): number for number, item in enumerate(FrameReader(everything, columns=[], episodes=[1, 0]))
    }
    singles = list(FrameStream(everything, windows, episodes=[1, 0]))
    assert sorted(int(item["index"]) for item in singles) == list(range(15))
    for item in singles:
        assert_same(item, reader[place[int(item["index"])]])
    batches = list(FrameStream(everything, windows, episodes=[1, 0], batch=4))
    assert [len(batch["task"]) for batch in batches] == [4, 4, 4, 3]
    rows = [{key: column[n] for key, column in batch.items()} for batch in batches for n in range(len(batch["task"]))]
    for row, item in zip(rows, singles, strict=True):
        assert_same(row, item)


@pytest.mark.parametrize("windows", [None, {FRONT: [-0.3, 0, 0.2]}])
def test_each_frame_once_within_the_bytes_allowed(small: Store, windows: Any) -> None:
    stream = FrameStream(small, windows, batch=4, buffer_bytes=BYTES, seed=5, threads=2)
    assert len(stream) == -(-TOTAL // 4)
    first, reader = [], FrameReader(small, windows)
    for batch in stream:
        first += batch["index"].tolist()
        for number, index in enumerate(batch["index"].tolist()):
            np.testing.assert_array_equal(batch[FRONT][number], reader[index][FRONT])
    assert sorted(first) == list(range(TOTAL)) and first != sorted(first)
    assert 0 < stream.peak_bytes <= BYTES + 6 * 4 * PICTURE  # and batches under way
    second = order(stream)
    assert sorted(second) == list(range(TOTAL)) and second != first
    assert order(FrameStream(small, windows, buffer_bytes=BYTES, seed=5, epoch=1)) == second
    assert order(FrameStream(small, windows, buffer_bytes=BYTES, seed=6)) != first
    for threads in (1, 4):
        assert order(FrameStream(small, windows, buffer_bytes=BYTES, seed=5, threads=threads)) == first
    with pytest.raises(ConfigError, match=r"buffer_bytes is 1,000; .* need \d"):
        FrameStream(small, windows, buffer_bytes=1000)


def test_what_has_left_is_let_go(small: Store) -> None:
    clip, columns = small.clip(0, FRONT), {"action": small[0].frames["action"]}
    for windows, kept in ((None, [2, 3, 6, 7]), ({FRONT: [-0.1, 0, 0.2]}, [1, 2, 3, 4, 5, 6, 7, 8, 9])):
        chosen = Selection.of(small, windows, None, ["action", FRONT])
        one = load(chosen, columns, lambda camera, clip=clip: clip, 63, 0, 8, np.arange(8))
        whole = one.held
        assert whole == sum(map(picture_bytes, one.pictures[FRONT]))
        freed = one.leave(np.array([4, 0])) + one.leave(np.array([1, 5]))
        there = [number for number, picture in enumerate(one.pictures[FRONT]) if picture is not None]
        assert there == kept and one.left == 4
        assert freed == whole - one.held > 0 and one.held == sum(map(picture_bytes, one.pictures[FRONT]))


def test_each_picture_is_decoded_once(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments begin at keyframes: no more pictures come out of the decoder than there are frames."""
    from dataengine.video.reader import Reader

    stream = FrameStream(small, buffer_bytes=BYTES, columns=[FRONT])
    assert len(stream._plan.start) > 8
    picture, decoded = Reader._picture, []
    monkeypatch.setattr(Reader, "_picture", lambda self: decoded.append(self.path) or picture(self))
    assert len(order(stream)) == len(decoded) == TOTAL


def test_groups_of_pictures_longer_than_memory(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features=SMALL, codec=Codec(gop=100))
    with store.writer() as writer:
        for seed in range(2):
            writer.append(episode(seed, 60, SMALL))
    reader, stream = FrameReader(store), FrameStream(store, buffer_bytes=BYTES, threads=1)
    assert len(stream._plan.start) > 6
    seen = {int(item["index"]): item[FRONT] for item in stream}
    assert len(seen) == 120 and stream.peak_bytes <= BYTES + 5 * 32 * PICTURE
    for index in range(0, 120, 7):
        np.testing.assert_array_equal(seen[index], reader[index][FRONT])


def test_goes_on_anywhere(small: Store) -> None:
    options: dict[str, Any] = {"delta_timestamps": {"action": [0, 0.1]}, "buffer_bytes": BYTES, "seed": 2}
    whole = order(FrameStream(small, **options))
    for taken in (0, 1, 4, 32, 33, 50, 177, 300, 301):
        stream = FrameStream(small, **options)
        begun = iter(stream)
        seen = [int(item["index"]) for item in itertools.islice(begun, taken)]
        state = json.loads(json.dumps(stream.state()))
        begun.close()
        again = FrameStream(small, **options, state=state, batch=8, threads=1)
        assert seen + order(again) == whole, taken
        assert again.epoch == 1
    stream = FrameStream(small, **options, batch=5)
    begun = iter(stream)
    seen = [int(i) for batch in itertools.islice(begun, 7) for i in batch["index"]]
    begun.close()
    assert seen + order(stream) == whole  # a loop that was left goes on too
    with pytest.raises(ConfigError, match="another store, seed"):
        FrameStream(small, **{**options, "seed": 3}, state=state)
    with pytest.raises(ConfigError, match="not the state"):
        FrameStream(small, state={"epoch": 0})


def test_going_on_decodes_little(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataengine.video.reader import Reader

    stream = FrameStream(small, buffer_bytes=BYTES)
    begun = iter(stream)
    for _ in itertools.islice(begun, TOTAL - 11):
        pass
    begun.close()
    picture, decoded = Reader._picture, []
    monkeypatch.setattr(Reader, "_picture", lambda self: decoded.append(self.path) or picture(self))
    assert len(order(stream)) == 11 and len(decoded) < 60


def test_shards_are_disjoint_complete_and_balanced(small: Store) -> None:
    shards = [order(FrameStream(small, buffer_bytes=BYTES, rank=rank, world=3, columns=[FRONT])) for rank in range(3)]
    assert sorted(itertools.chain(*shards)) == list(range(TOTAL))
    plan = FrameStream(small, buffer_bytes=BYTES, columns=[FRONT])._plan
    assert max(map(len, shards)) - min(map(len, shards)) <= (plan.stop - plan.start).max()
    many = [order(FrameStream(small, rank=rank, world=200, columns=["action"])) for rank in range(0, 200, 40)]
    assert sum(map(len, many)) <= TOTAL
    for bad in ({"rank": 2, "world": 2}, {"batch": 0}, {"threads": -1}, {"seed": -1}, {"buffer_bytes": 1.5}):
        with pytest.raises(ConfigError):
            FrameStream(small, **bad)


def test_without_cameras_no_video_is_opened(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", [9] * 3)
    for video in store.root.rglob("*.mp4"):
        video.unlink()
    windows = {"action": [0, 0.1]}
    batches = list(FrameStream(store, windows, batch=10, columns=["action"]))
    assert sorted(np.concatenate([batch["index"] for batch in batches])) == list(range(27))
    assert batches[0]["action"].shape == (10, 2, 2) and FRONT not in batches[0]
    with pytest.raises(StoreError, match=r"file-00\d.mp4 is missing: camera .* of episode"):
        list(FrameStream(store))
    assert list(FrameStream(store, episodes=[])) == [] and len(FrameStream(store, episodes=[])) == 0
    for bad in ({"columns": ["nothing"]}, {"episodes": [3]}, {"delta_timestamps": {"action": [0.03]}}):
        with pytest.raises(ConfigError):
            FrameStream(store, **bad)


def test_a_damaged_video_is_named(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", [30] * 5)
    video = store.root / f"videos/{FRONT}/chunk-000/file-001.mp4"
    data = bytearray(video.read_bytes())
    at = data.index(b"mdat") + 700
    data[at : at + 600] = bytes(600)
    video.write_bytes(data)
    stream = FrameStream(store, batch=4)
    with pytest.raises(VideoError, match=r"file-001.mp4: .*, in episode 1 \(episode0001\)"):
        list(stream)
    assert len(order(FrameStream(store, episodes=[0, 2, 3, 4]))) == 120


def test_a_foreign_dataset(lerobot_like: Store) -> None:
    reader = FrameReader(lerobot_like, {"action": [0, 0.1]})
    seen = []
    for item in FrameStream(lerobot_like, {"action": [0, 0.1]}, buffer_bytes=BYTES):
        seen.append(int(item["index"]))
        assert_same(item, reader[seen[-1]])
    assert sorted(seen) == list(range(len(reader)))


@pytest.fixture
def lerobot_like(small: Store, tmp_path: Path) -> Store:
    """A dataset without our commit record, all episodes in one video file."""
    joined = small.snapshot(tmp_path / "joined")
    joined.compact(join_videos=True)
    (joined.root / "meta/dataengine/commit.json").unlink()
    foreign = Store.open(joined.root)
    assert foreign.commit is None
    return foreign


def test_torch_workers_divide_an_epoch(small: Store) -> None:
    torch = pytest.importorskip("torch")
    from dataengine.store.torch import FrameDataset, StreamDataset

    dataset = StreamDataset(small, batch=8, buffer_bytes=2 * BYTES, delta_timestamps={"action": [0, 0.1]})
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2)
    assert (dataset.num_frames, dataset.num_episodes, dataset.fps) == (TOTAL, 4, FPS)
    stored, epochs = FrameDataset(small, {"action": [0, 0.1]}), []
    for _ in range(2):
        batches = list(loader)
        epochs.append(torch.cat([batch["index"] for batch in batches]).tolist())
        assert sorted(epochs[-1]) == list(range(TOTAL))
        item, number = stored[epochs[-1][0]], 0
        for key, value in item.items():
            same = batches[0][key][number] == value
            assert same if isinstance(same, bool) else bool(same.all()), key
            assert isinstance(value, str) or batches[0][key].dtype == value.dtype
    assert epochs[0] != epochs[1]
    dataset.set_epoch(0)
    assert torch.cat([batch["index"] for batch in loader]).tolist() == epochs[0]
    single = torch.utils.data.DataLoader(StreamDataset(small, batch=None, return_uint8=True), batch_size=4)
    batch = next(iter(single))
    assert batch[FRONT].dtype == torch.uint8 and batch[FRONT].shape == (4, 3, 32, 48) and len(batch["task"]) == 4
    ranks = [StreamDataset(small, batch=None, rank=rank, world=2, columns=["action"]) for rank in range(2)]
    assert sorted(int(item["index"]) for rank in ranks for item in rank) == list(range(TOTAL))


def test_torch_items_are_lerobots(everything: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lerobot")
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    import datasets
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    from dataengine.store.torch import FrameDataset, StreamDataset

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    windows = {"action": [-0.1, 0, 0.1, 0.4], FRONT: [-0.2, 0], "observation.state": [0, 0.1]}
    stock = LeRobotDataset("made/here", root=everything.root, video_backend="pyav", delta_timestamps=windows)
    ours = FrameDataset(everything, windows)
    streamed = {int(item["index"]): item for item in StreamDataset(everything, batch=None, delta_timestamps=windows)}
    assert (len(ours), ours.num_episodes, ours.fps) == (len(stock), stock.num_episodes, stock.fps)
    assert ours.meta.stats.keys() == stock.meta.stats.keys() and ours.features.keys() == stock.features.keys()
    for index in (0, 6, 14):
        theirs = stock[index]
        for item in (ours[index], streamed[index]):
            assert set(item) == set(theirs)
            for key, value in theirs.items():
                if isinstance(value, torch.Tensor):
                    assert (item[key].dtype, item[key].shape) == (value.dtype, value.shape), key
                    assert torch.equal(item[key], value), key
                else:
                    assert item[key] == value, key
    chosen = FrameDataset(everything, episodes=[1])
    filtered = LeRobotDataset("made/here", root=everything.root, video_backend="pyav", episodes=[1])
    assert chosen.absolute_to_relative_idx == filtered.absolute_to_relative_idx
    assert (chosen.num_frames, chosen.num_episodes) == (filtered.num_frames, filtered.num_episodes)
