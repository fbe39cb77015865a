"""What a stage made is kept as a difference and comes back the same, or is not kept at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta, Step
from dataengine.flow.cache import ResultCache
from dataengine.plugins import Drop


@pytest.fixture
def before() -> Episode:
    features = {
        "action": Feature("float32", (2,), ("a", "b"), "action", ("m", "rad")),
        "note": Feature("string", (1,)),
        "observation.images.front": Feature("video", (4, 4, 3), role="image"),
    }
    frames = {"action": np.arange(20, dtype=np.float32).reshape(10, 2), "note": np.array(["x"] * 10, object)}
    clip = ArrayClip(np.arange(480, dtype=np.uint8).reshape(10, 4, 4, 3), 10.0)
    spans = Label("span", pa.table({"start": [0, 5], "stop": [5, 10], "text": ["up", "down"]}), {"name": "n"})
    meta = Meta(("move", "lift"), lineage=(Step("convert", "1"),))
    return Episode("e", 10.0, features, frames, {"observation.images.front": clip}, {"spans": spans}, meta)


def same(one, two) -> bool:
    if isinstance(one, Drop) or isinstance(two, Drop):
        return one == two
    labels = {k: (v.kind, v.table.to_pylist(), dict(v.source)) for k, v in one.labels.items()}
    return (
        one.hashes() == two.hashes()
        and list(one.features) == list(two.features)
        and (one.features, one.meta, one.id, one.fps) == (two.features, two.meta, two.id, two.fps)
        and labels == {k: (v.kind, v.table.to_pylist(), dict(v.source)) for k, v in two.labels.items()}
    )


def changes(before: Episode) -> dict[str, list]:
    column = Feature("int64", (1,), role="label")
    label = Label("episode", pa.table({"words": [["a", "b"]], "bytes": [b"\x00\xff"]}), {"cost_usd": 0.5})
    return {
        "nothing": [before],
        "column": [before.map("action", lambda a: a * 2).with_step(Step("s", "1", {"x": 1}, ("guess",)))],
        "new column": [before.with_columns({"label.n": column}, {"label.n": np.arange(10)})],
        "text": [before.map("note", lambda t: np.array(["ä<b>", *t[1:]], object))],
        "label": [before.with_label("said", label)],
        "meta": [before.with_meta(quality=0.25, success=False, tasks=("one",), extra={"k": [1, 2]})],
        "tasks by frame": [replace(before, frame_tasks=np.array([0] * 5 + [1] * 5))],
        "cut": [before.slice(2, 9).slice(1, 5).map("action", lambda a: -a)],
        "two": [before.slice(0, 4), before.slice(4, 10)],
        "copy": [replace(before, id="other")],
        "drop": [Drop("e", "too <short>", {"frames": 3})],
        "none": [],
    }


def test_a_result_comes_back_as_it_was(before: Episode, tmp_path) -> None:
    cache = ResultCache(tmp_path)
    for name, results in changes(before).items():
        assert cache.keep(name, before, results, ("action",)), name
        found = cache.recall(name, before)
        assert found is not None and len(found) == len(results), name
        assert all(same(one, two) for one, two in zip(found, results, strict=True)), name


def test_a_kept_result_is_applied_to_an_episode_that_gained_something_else(before: Episode, tmp_path) -> None:
    cache = ResultCache(tmp_path)
    cache.keep("a" * 64, before, [before.slice(2, 8).map("action", lambda a: a + 1)], ("action",))
    richer = before.with_label("late", Label("event", pa.table({"frame": [1, 5]})))
    (found,) = cache.recall("a" * 64, richer) or [None]
    assert isinstance(found, Episode)
    assert found.labels["late"].table.column("frame").to_pylist() == [3]
    np.testing.assert_array_equal(found.frames["action"], before.frames["action"][2:8] + 1)


def test_new_pictures_are_not_kept(before: Episode, tmp_path) -> None:
    dark = ArrayClip(np.zeros((10, 4, 4, 3), np.uint8), 10.0)
    assert not ResultCache(tmp_path).keep(
        "a" * 64, before, [replace(before, clips={"observation.images.front": dark})], ("*",)
    )


def test_taking_away_is_kept_only_for_who_reads_everything(before: Episode, tmp_path) -> None:
    result = [before.select(["action"])]
    assert not ResultCache(tmp_path).keep("a" * 64, before, result, ("action",))
    assert ResultCache(tmp_path).keep("a" * 64, before, result, ("*",))


def test_a_damaged_result_counts_as_absent(before: Episode, tmp_path) -> None:
    cache = ResultCache(tmp_path)
    cache.keep("a" * 64, before, [before.map("action", lambda a: a * 2)], ("action",))
    path = cache.place("a" * 64)
    data = bytearray(path.read_bytes())
    for place in range(60, len(data) - 60, 7):
        data[place] ^= 0xFF
    path.write_bytes(data)
    assert cache.recall("a" * 64, before) is None
    path.write_bytes(b"")
    assert cache.recall("a" * 64, before) is None
    assert cache.recall("b" * 64, before) is None
