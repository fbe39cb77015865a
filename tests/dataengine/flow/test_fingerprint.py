"""A result depends on what its stage reads, and on nothing else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataengine.episode import ArrayClip, Episode, Feature, Label, Meta, Step
from dataengine.flow.fingerprint import base_key, digest, part_key, result_key

KEYS = ("observation.state", "action", "next.reward")


def episode(values: dict[str, float], labels: dict[str, str], picture: int = 0, **meta) -> Episode:
    features = {key: Feature("float32", (1,), role="other") for key in KEYS}
    features["observation.images.front"] = Feature("video", (4, 4, 3), role="image")
    return Episode(
        "e",
        10.0,
        features,
        {key: np.full(5, values.get(key, 0.0), np.float32) for key in KEYS},
        {"observation.images.front": ArrayClip(np.full((5, 4, 4, 3), picture, np.uint8), 10.0)},
        {name: Label("episode", pa.table({"text": [text]})) for name, text in labels.items()},
        Meta(tasks=("move",), **meta),
    )


pieces = st.fixed_dictionaries(
    {
        "values": st.dictionaries(st.sampled_from(KEYS), st.floats(-2, 2, width=32)),
        "labels": st.dictionaries(st.sampled_from(["said", "seen"]), st.sampled_from(["a", "b"])),
        "picture": st.integers(0, 2),
    }
)
wanted = st.lists(st.sampled_from([*KEYS, "label:said", "label:seen", "clips"]), unique=True)


def relevant(parts: dict, reads: list[str]) -> list:
    found = [float(np.float32(parts["values"].get(key, 0.0))) for key in KEYS if key in reads]
    found += [parts["labels"].get(name) for name in ("said", "seen") if f"label:{name}" in reads]
    return [*found, parts["picture"] if "clips" in reads else None]


@settings(max_examples=150, deadline=None)
@given(one=pieces, two=pieces, reads=wanted)
def test_a_key_changes_exactly_with_what_is_read(one, two, reads) -> None:
    same = repr(relevant(one, reads)) == repr(relevant(two, reads))
    assert (result_key("k", reads, episode(**one)) == result_key("k", reads, episode(**two))) == same


def test_reading_everything_means_all_but_the_history() -> None:
    plain = episode({}, {})
    assert result_key("k", ["*"], plain) == result_key("k", ["*"], plain.with_step(Step("other", "1")))
    assert result_key("k", ["*"], plain) != result_key("k", ["*"], plain.with_meta(quality=0.5))
    assert result_key("k", ["action"], plain) == result_key("k", ["action"], plain.with_meta(quality=0.5))
    assert result_key("k", ["meta"], plain) != result_key("k", ["meta"], plain.with_meta(quality=0.5))


def test_patterns_and_units_count() -> None:
    plain = episode({}, {})
    moved = plain.map("observation.state", lambda a: a + 1)
    assert result_key("k", ["observation.*"], plain) != result_key("k", ["observation.*"], moved)
    metres = plain.with_columns({"action": Feature("float32", (1,), unit="m")}, {})
    assert result_key("k", ["action"], plain) != result_key("k", ["action"], metres)


def test_labels_do_not_change_what_is_sealed() -> None:
    assert base_key(episode({}, {}), {}) == base_key(episode({}, {"said": "a"}), {})
    assert base_key(episode({}, {}), {}) != base_key(episode({"action": 1.0}, {}), {})
    assert base_key(episode({}, {}), {}) != base_key(episode({}, {}), {"crf": 30})


def test_files_among_parameters_count_by_content(tmp_path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"one")
    before = part_key("stages", "s", "1", {"model": path})
    path.write_bytes(b"other")
    assert part_key("stages", "s", "1", {"model": path}) != before


def test_digest_is_stable_over_order_and_kinds() -> None:
    assert digest({"a": (1, 2), "b": np.float64(3)}) == digest({"b": 3.0, "a": [1, 2]})
