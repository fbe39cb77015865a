"""Labels that stand beside the table, given with every frame: right frame, right type, and windows over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from store_made import FPS, FRONT, SMALL, episode, store_of

from dataengine.episode import Label
from dataengine.errors import ConfigError, EpisodeError
from dataengine.store import FrameReader, FrameStream, Store

LENGTHS = (12, 9, 20)
LABELS = ["subtask", "phase", "reward", "contact", "grade", "pair", "said.text"]


def label(kind: Any, **columns: Any) -> Label:
    return Label(kind, pa.table(columns))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The last episode has no labels of some kinds."""
    store = Store.create(tmp_path_factory.mktemp("joined") / "s", fps=FPS, features=SMALL)
    with store.writer() as writer:
        for seed, length in enumerate(LENGTHS):
            writer.append(episode(seed, length, SMALL))
    one, two = store.ids[:2]
    store.write_labels(
        "subtask",
        {
            one: label("span", start=[0, 4], stop=[4, 10], text=["reach – ü", None]),
            two: label("span", start=[3], stop=[9], text=["a much longer thing to do"]),
        },
    )
    store.write_labels("phase", {i: label("span", start=[1], stop=[3], phase=[n]) for n, i in enumerate((one, two))})
    store.write_labels(
        "reward",
        {i: label("frame", value=np.arange(n, dtype=np.float32)) for i, n in zip(store.ids, LENGTHS, strict=True)},
    )
    store.write_labels("contact", {two: label("event", frame=[2, 8], what=["a", "b"])})
    store.write_labels(
        "grade", {i: label("episode", score=[n + 0.5], text=[f"grade {n}"]) for n, i in enumerate(store.ids)}
    )
    pair = pa.FixedSizeListArray.from_arrays(pa.array(range(24), pa.int16()), 2)
    store.write_labels("pair", {one: label("frame", value=pair)})
    store.write_labels("said", {two: label("span", start=[0], stop=[2], text=["hello"], sure=[0.5])})
    return store


def test_every_kind_stands_at_its_frames(store: Store) -> None:
    reader = FrameReader(store, columns=["action"], labels=LABELS)
    items = [reader[i] for i in range(len(reader))]
    assert {key for key in items[0] if key.startswith("label.")} == {
        "label.subtask", "label.phase", "label.reward", "label.contact", "label.grade", "label.grade.text",
        "label.pair", "label.said.text",
    }  # fmt: skip

    def all_of(key: str) -> list[Any]:
        return [np.asarray(item[f"label.{key}"]).tolist() for item in items]

    assert all_of("subtask") == (
        ["reach – ü"] * 4 + [""] * 8 + [""] * 3 + ["a much longer thing to do"] * 6 + [""] * 20
    )
    assert all_of("phase") == [-1, 0, 0, *[-1] * 9, -1, 1, 1, *[-1] * 6, *[-1] * 20]
    assert all_of("reward") == [float(i) for n in LENGTHS for i in range(n)]
    assert np.flatnonzero(all_of("contact")).tolist() == [14, 20] and items[0]["label.contact"].dtype == bool
    assert all_of("grade") == [n + 0.5 for n, length in enumerate(LENGTHS) for _ in range(length)]
    assert all_of("grade.text") == [f"grade {n}" for n, length in enumerate(LENGTHS) for _ in range(length)]
    assert all_of("pair") == [*([2 * i, 2 * i + 1] for i in range(12)), *([-1, -1] for _ in range(29))]
    assert all_of("said.text") == [""] * 12 + ["hello"] * 2 + [""] * 27
    assert isinstance(items[0]["label.subtask"], str) and items[0]["label.pair"].dtype == np.int16


def test_windows_and_streams_over_labels(store: Store) -> None:
    windows = {"label.reward": [-0.2, 0, 0.1], "label.subtask": [0, 0.1], FRONT: [0, 0.1], "label.pair": [0.1]}
    reader = FrameReader(store, windows, labels=LABELS)
    item = reader[12]
    np.testing.assert_array_equal(item["label.reward"], np.float32([0, 0, 1]))
    np.testing.assert_array_equal(item["label.reward_is_pad"], [True, False, False])
    assert reader[3]["label.subtask"].tolist() == ["reach – ü", ""] and reader[3]["label.pair"].shape == (1, 2)
    seen = []
    for one in FrameStream(store, windows, labels=LABELS, buffer_bytes=400_000):
        seen.append(int(one["index"]))
        other = reader[seen[-1]]
        assert set(one) == set(other)
        for key, value in other.items():
            np.testing.assert_array_equal(one[key], value, err_msg=key)
    assert sorted(seen) == list(range(sum(LENGTHS)))
    batches = list(FrameStream(store, columns=["action"], labels=["subtask", "phase"], batch=16))
    assert [len(batch["label.subtask"]) for batch in batches] == [16, 16, 9]
    first = FrameReader(store, columns=[], labels=["subtask"])
    for batch in batches:
        for index, text in zip(batch["index"], batch["label.subtask"], strict=True):
            assert text == first[int(index)]["label.subtask"]
    chosen = FrameReader(store, episodes=[1], columns=[], labels=["contact"])
    assert [bool(one["label.contact"]) for one in chosen] == [n in (2, 8) for n in range(9)]
    assert len(FrameReader(store, episodes=[], columns=[], labels=["contact"])) == 0


def test_what_cannot_be_given_is_said(store: Store) -> None:
    for asked, windows, error, reason in [
        (["nothing"], None, ConfigError, "no label 'nothing'; it has contact, grade"),
        (["grade.nothing"], None, EpisodeError, "no column 'nothing'"),
        (["said"], None, EpisodeError, "says nothing about some frames and is a float"),
        (["phase"], {"label.nothing": [0]}, ConfigError, "label.nothing"),
        ([], {"label.phase": [0]}, ConfigError, "label.phase"),
    ]:
        with pytest.raises(error, match=reason):
            FrameReader(store, windows, labels=asked)
    with pytest.raises(ConfigError, match=r"no chosen episode of .* has the label 'pair'"):
        FrameReader(store, episodes=[1, 2], labels=["pair"])


def test_labels_that_differ_from_one_episode_to_the_next(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", [5] * 3)
    one, two, _ = store.ids
    store.write_labels("a", {one: label("frame", value=np.arange(5))})
    store.write_labels("a", {two: label("frame", value=np.arange(5) / 2)})
    store.write_labels("b", {one: label("frame", value=np.ones(5)), two: label("frame", value=np.ones(5))})
    store.write_labels("c", {one: label("frame", x=range(5))})
    store.write_labels("c", {two: label("frame", x=range(5), y=range(5))})
    for name, reason in (("a", f"{two}.*float64 .1,., in other episodes int64"), ("b", "leave it out"), ("c", "c.x")):
        with pytest.raises(EpisodeError, match=reason):
            FrameReader(store, columns=[], labels=[name])
        with pytest.raises(EpisodeError):
            list(FrameStream(store, columns=[], labels=[name]))
    assert len(FrameReader(store, episodes=[0, 1], columns=[], labels=["b"])) == 10
    # What stands beside the table is given, also where it was written into a column and then said otherwise.
    store.write_labels("d", {i: label("frame", value=np.zeros(5, np.int64)) for i in store.ids})
    store.materialize("d")
    store.write_labels("d", {one: label("frame", value=np.full(5, 7))})
    assert FrameReader(store, columns=["label.d"])[0]["label.d"] == 0
    assert [int(item["label.d"]) for item in FrameReader(store, labels=["d"])] == [7] * 5 + [0] * 10


def test_torch_gives_them_as_tensors_and_text(store: Store) -> None:
    torch = pytest.importorskip("torch")
    from dataengine.store.torch import FrameDataset, StreamDataset

    item = FrameDataset(store, {"label.reward": [0, 0.1]}, columns=["action"], labels=LABELS)[2]
    assert item["label.subtask"] == "reach – ü" and type(item["label.subtask"]) is str
    assert item["label.reward"].dtype == torch.float32 and item["label.reward"].shape == (2,)
    assert item["label.phase"].dtype == torch.int64 and item["label.contact"].dtype == torch.bool
    batch = next(iter(StreamDataset(store, batch=8, columns=["action"], labels=LABELS)))
    assert batch["label.pair"].shape == (8, 2) and len(batch["label.subtask"]) == 8
    assert all(type(text) is str for text in batch["label.subtask"])
