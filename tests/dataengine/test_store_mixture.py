"""Several stores as one: shares as asked, every store shuffled, resumable and divided exactly, features by one name."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from remote_served import serving
from store_made import FPS, FRONT, SMALL, episode

from dataengine.episode import Episode, Feature, Label
from dataengine.errors import ConfigError
from dataengine.store import FrameReader, Store
from dataengine.store.mixture import Mixture
from dataengine.video import Codec

TOP = "observation.images.top"
BYTES = 3 * 120 * 48 * 32 * 3
PLACE = ("dataset_index", "index")


def made(folder: Path, lengths: Sequence[int], fps: float = FPS, **renamed: str) -> Store:
    """A small store; some of its features have other names."""
    called = {key: renamed.get(key.rpartition(".")[2], key) for key in SMALL}
    store = Store.create(folder, fps=fps, features={called[k]: f for k, f in SMALL.items()}, codec=Codec(gop=4))
    with store.writer() as writer:
        for seed, length in enumerate(lengths):
            one = episode(seed + len(folder.name), length, SMALL)
            frames = {called[key]: value for key, value in one.frames.items()}
            clips = {called[key]: replace(clip, fps=fps) for key, clip in one.clips.items()}
            features = {called[key]: feature for key, feature in SMALL.items()}
            writer.append(Episode(f"{folder.name}{seed}", fps, features, frames, clips, {}, one.meta, one.frame_tasks))
    label = Label("frame", pa.table({"value": np.arange(lengths[0])}))
    store.write_labels("count", {store.ids[0]: label})
    return store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """200, 60 and 30 frames; one calls its camera otherwise."""
    folder = tmp_path_factory.mktemp("mixture")
    return {
        "a": made(folder / "one", (80, 120)),
        "b": made(folder / "second", (25, 35), front=TOP),
        "c": made(folder / "the third", (30,)),
    }


MAPPING = {"b": {TOP: FRONT}}


def mixture(stores: dict[str, Store], **options: Any) -> Mixture:
    return Mixture(stores, **{"mapping": MAPPING, "buffer_bytes": BYTES, "batch": 8, **options})


def places(items: Any) -> list[tuple[int, int]]:
    """Store and frame of every sample."""
    found = ([np.atleast_1d(item[key]).tolist() for key in PLACE] for item in items)
    return [pair for one in found for pair in zip(*one, strict=True)]


def test_samples_are_those_of_their_stores(stores: dict[str, Store]) -> None:
    windows = {"action": [0, 0.1], FRONT: [-0.1, 0]}
    readers = [
        FrameReader(stores["a"], windows),
        FrameReader(stores["b"], {"action": [0, 0.1], TOP: [-0.1, 0]}),
        FrameReader(stores["c"], windows),
    ]
    whole = mixture(stores, delta_timestamps=windows)
    batches = list(whole)
    assert len(batches) == len(whole) == 37 and [len(batch["task"]) for batch in batches[-2:]] == [8, 2]
    seen = 0
    for batch in batches:
        for row in range(len(batch["task"])):
            number = int(batch["dataset_index"][row])
            item = readers[number][int(batch["index"][row])]
            if number == 1:
                item = {key.replace(TOP, FRONT): value for key, value in item.items()}
            assert set(item) | {"dataset_index"} == set(batch)
            for key, value in item.items():
                np.testing.assert_array_equal(batch[key][row], value, err_msg=key)
            seen += 1
    assert seen == 290 and batches[0][FRONT].shape == (8, 2, 32, 48, 3) and batches[0][FRONT].dtype == np.uint8
    single = list(mixture(stores, delta_timestamps=windows, batch=None, frames=40))
    assert [isinstance(item["task"], str) for item in single] == [True] * 40 and single[0][FRONT].ndim == 4


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, (200, 60, 30)),
        ({"temperature": 1}, (200, 60, 30)),
        ({"temperature": 2}, (200**0.5, 60**0.5, 30**0.5)),
        ({"temperature": 1e9}, (1, 1, 1)),
        ({"weights": {"c": 6, "a": 1, "b": 3}}, (1, 3, 6)),
        ({"weights": {"c": 1e-3, "a": 1, "b": 1}}, (1, 1, 1e-3)),
    ],
)
def test_shares_are_the_weights(stores: dict[str, Store], options: dict[str, Any], shares: Sequence[float]) -> None:
    mixed = mixture(stores, columns=["action"], frames=6000, batch=50, **options)
    wanted = np.array(shares) / np.sum(shares)
    np.testing.assert_allclose(list(mixed.weights.values()), wanted)
    found = np.concatenate([batch["dataset_index"] for batch in mixed])
    counts = np.bincount(found, minlength=3)
    assert len(found) == 6000
    assert (np.abs(counts - 6000 * wanted) <= 4 * np.sqrt(6000 * wanted * (1 - wanted)) + 1).all()
    per_batch = found.reshape(-1, 50)
    for number in range(3):  # no batch without a store, or full of one
        assert (np.abs((per_batch == number).sum(1) - 50 * wanted[number]) < 1).all()
    assert abs(np.corrcoef(np.arange(50), (per_batch == 0).mean(0))[0, 1]) < 0.5  # and none in a place of its own


def test_every_store_is_shuffled_and_whole_before_it_repeats(stores: dict[str, Store]) -> None:
    mixed = mixture(stores, columns=["action", FRONT], frames=1500, weights={"a": 1, "b": 1, "c": 1})
    by_store: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for number, frame in places(mixed):
        by_store[number].append(frame)
    for number, size in enumerate((200, 60, 30)):
        passes = list(itertools.batched(by_store[number], size))
        assert len(passes) >= 2 and all(sorted(one) == list(range(size)) for one in passes[:-1])
        assert passes[0] != passes[1] and abs(np.corrcoef(np.arange(size), passes[0])[0, 1]) < 0.5
        assert np.mean(np.diff(passes[0]) == 1) < 0.2
    assert places(mixed)[:50] != places(mixture(stores, columns=["action"], frames=1500))[:50]


def test_goes_on_with_exactly_the_same_batches(stores: dict[str, Store]) -> None:
    options: dict[str, Any] = {"columns": ["action", FRONT], "frames": 260, "temperature": 3, "seed": 4}
    for batch in (7, None):
        whole = places(mixture(stores, batch=batch, **options))
        assert whole == places(mixture(stores, batch=batch, threads=1, **options)) and len(whole) == 260
        for taken in (0, 1, 17, 31, 37, 38) if batch else (0, 31, 32, 200, 260):
            mixed = mixture(stores, batch=batch, **options)
            begun = iter(mixed)
            seen = places(itertools.islice(begun, taken))
            state = json.loads(json.dumps(mixed.state()))
            begun.close()
            again = mixture(stores, batch=batch, **options, state=state)
            rest = list(again)
            assert seen + places(rest) == whole, (batch, taken)
            assert again.epoch == 1
            assert seen + places(mixed) == whole  # a loop that was left goes on too
    second = places(again)
    assert second != whole and second == places(mixture(stores, batch=None, epoch=1, **options))
    again.set_epoch(0)
    assert places(again) == whole
    with pytest.raises(ConfigError, match="other stores, weights"):
        mixture(stores, batch=None, **{**options, "temperature": 2}, state=state)
    with pytest.raises(ConfigError, match="not the state of a mixture"):
        mixture(stores, state={"epoch": 1})


def test_shards_are_disjoint_and_of_one_length(stores: dict[str, Store]) -> None:
    two = {name: stores[name] for name in ("a", "b")}
    options: dict[str, Any] = {"columns": ["action", FRONT], "frames": 200}
    shards = [mixture(two, rank=rank, world=3, **options) for rank in range(3)]
    assert {len(shard) for shard in shards} == {9}
    found = [places(shard) for shard in shards]
    assert [len(one) for one in found] == [66] * 3
    assert max(Counter(itertools.chain(*found)).values()) == 1
    # A store of fewer pieces than shards is given by each of them as a whole.
    many = [places(mixture(stores, rank=rank, world=40, columns=["action"], frames=8000)) for rank in (0, 39)]
    for one in many:
        assert {frame for number, frame in one if number == 2} <= set(range(30)) and len(one) == 200
    assert many[0] != many[1]


def test_what_does_not_fit_is_named(stores: dict[str, Store], tmp_path: Path) -> None:
    slow = made(tmp_path / "slow", (9,), fps=15.0)
    wide = {**SMALL, "action": Feature("float32", (5,), role="action")}
    other = Store.create(tmp_path / "other", fps=FPS, features=wide)
    frames = {"action": np.zeros((4, 5), np.float32)}
    with other.writer() as writer:
        one = episode(0, 4, SMALL)
        writer.append(replace(one, features=wide, frames={**one.frames, **frames}))
    radians = Store.create(tmp_path / "units", fps=FPS, features={"action": Feature("float32", (2,), unit="rad")})
    degrees = Store.create(tmp_path / "units2", fps=FPS, features={"action": Feature("float32", (2,), unit="deg")})
    for store in (radians, degrees):
        with store.writer() as writer:
            one = episode(0, 4, {"action": SMALL["action"]})
            writer.append(replace(one, features=store.features))
    a, b = stores["a"], stores["b"]
    for given, options, reason in [
        ({"a": a, "b": b}, {"mapping": None}, rf"'a' has no {TOP}; 'b' has no {FRONT}.*mapping=.*columns="),
        ({"a": a, "b": b}, {"columns": ["action", TOP], "mapping": None}, f"'a' has no {TOP}"),
        ({"a": a, "b": b}, {"mapping": {"b": {"nothing": FRONT}}}, "'b' has no nothing to map; it has obs"),
        ({"a": a, "b": b}, {"mapping": {"c": {}}}, "mapping names c; the stores are a, b"),
        ({"b": b}, {"mapping": {"b": {TOP: "action"}}}, "'b' has two features for action"),
        ({"a": a, "o": other}, {"mapping": None}, r"'action' is float32 \(2,\) in store 'a' and float32 \(5,\) in 'o'"),
        ({"r": radians, "d": degrees}, {"mapping": None}, "'action' is rad in store 'r' and deg in 'd'"),
        ({"a": a, "s": slow}, {"mapping": None, "delta_timestamps": {"action": [0.1]}}, "store 's': .* 1/15 s"),
        ({"a": a}, {"mapping": None, "delta_timestamps": {"x": [0.1]}}, "store 'a': .*no features x"),
        ({"a": a, "b": b}, {"weights": {"a": 1}}, "that of b is not"),
        ({"a": a, "b": b}, {"weights": {"a": 1, "b": -1}}, "that of b is not"),
        ({"a": a, "b": b}, {"temperature": 0}, "temperature is 0"),
        ({"a": a, "b": b}, {"temperature": 2, "weights": {"a": 1, "b": 1}}, "not both"),
        ({"a": a, "b": b}, {"episodes": {"b": []}}, "store 'b': has no frames"),
        ({"a": a, "b": b}, {"frames": 1, "world": 2}, "less than one for each of 2"),
        ({"a": a, "b": b}, {"buffer_bytes": 1000}, "store 'a': buffer_bytes"),
        ({}, {"mapping": None}, "at least one store"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=reason):
            mixture(given, **options)
    assert len(list(mixture({"a": a, "s": slow}, mapping=None, delta_timestamps={"action": [0.2]}))) == 27
    assert len(list(mixture({"a": a, "o": other}, mapping=None, columns=[FRONT], batch=17))) == 12


def test_labels_and_remote_stores(stores: dict[str, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path))
    options: dict[str, Any] = {"labels": ["count"], "delta_timestamps": {"label.count": [0, 0.1]}, "frames": 64}
    near = list(mixture(stores, **options))
    assert near[0]["label.count"].shape == (8, 2) and near[0]["label.count"].dtype == np.int64
    with serving(stores["b"].root.parent) as served:
        far = Store.open(f"{served.address}/second")
        for one, other in zip(mixture({**stores, "b": far}, **options), near, strict=True):
            assert set(one) == set(other)
            assert all(np.array_equal(one[key], other[key]) for key in other)


def test_torch_workers_divide_it(stores: dict[str, Store]) -> None:
    torch = pytest.importorskip("torch")
    from dataengine.store.torch import MixtureDataset

    options: dict[str, Any] = {"mapping": MAPPING, "columns": ["action", FRONT], "buffer_bytes": 4 * BYTES}
    dataset = MixtureDataset({name: stores[name] for name in "ab"}, batch=8, frames=160, **options)
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2)
    epochs = []
    for _ in range(2):
        batches = list(loader)
        assert batches[0][FRONT].dtype == torch.float32 and batches[0][FRONT].shape == (8, 3, 32, 48)
        epochs.append(places(batches))
        assert len(epochs[-1]) == 160 and max(Counter(epochs[-1]).values()) == 1
    assert epochs[0] != epochs[1]
    dataset.set_epoch(0)
    assert places(loader) == epochs[0]
    assert dataset.num_frames == 160 and set(dataset.features) == {"action", FRONT}
    single = next(iter(torch.utils.data.DataLoader(MixtureDataset(stores, batch=None, **options), batch_size=4)))
    assert single["action"].shape == (4, 2) and single["dataset_index"].dtype == torch.int64
