"""Templates, names, rows and clocks on made-up input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from lerobot_folders import edit_json, write_v2, write_v3

from converters.base import detect
from converters.groot import Group, annotation_label, name_elements
from converters.lerobot_info import fill_template, flatten_names, licence_of
from converters.lerobot_rows import find_rows, read_rows, to_array
from converters.lerobot_survey import clock_differs
from dataengine.episode import Feature
from dataengine.errors import EpisodeError, SourceError, UnsafeSource

PLACE = Path("info.json")
PLAIN = st.text("abc/_-", max_size=8)


@given(PLAIN, PLAIN, st.integers(0, 10**7), st.integers(1, 12))
def test_templates_fill_as_python_would(before: str, after: str, number: int, width: int) -> None:
    template = f"data/{before}{{episode_index:0{width}d}}{after}{{episode_chunk}}"
    fields = {"episode_index": number, "episode_chunk": number // 1000}
    assert fill_template(PLACE, template, fields) == template.format(**fields)


@given(st.text(max_size=30))
def test_any_template_is_filled_or_refused(template: str) -> None:
    try:
        filled = fill_template(PLACE, template, {"episode_index": 1})
    except UnsafeSource:
        return
    assert "{" not in filled and "}" not in filled


@given(
    st.recursive(
        st.none() | st.text(max_size=3) | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=12,
    )
)
def test_names_of_any_making_are_texts_or_none(names: object) -> None:
    found = flatten_names(names)
    assert found is None or all(isinstance(name, str) for name in found)


@settings(deadline=None, max_examples=40)
@given(
    nps.arrays(
        st.sampled_from(["float32", "float64", "int64", "bool", "uint8"]),
        st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4)),
        elements={"allow_nan": False, "allow_infinity": False},
    ),
    st.booleans(),
)
def test_nested_columns_come_back_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, fixed: bool
) -> None:
    path = tmp_path_factory.mktemp("rows") / "file.parquet"
    kind = pa.from_numpy_dtype(array.dtype)
    for size in reversed(array.shape[1:]):
        kind = pa.list_(kind, size) if fixed else pa.list_(kind)
    pq.write_table(pa.table({"x": pa.array(array.tolist(), kind)}), path, row_group_size=2)
    table = read_rows(find_rows(path, None), ["x"])
    back = to_array(table, "x", Feature(str(array.dtype), array.shape[1:]), "0")
    assert back.dtype == array.dtype and np.array_equal(back, array)


def test_scalars_in_lists_of_one_are_scalars() -> None:
    table = pa.table({"x": pa.array([[1.0], [2.0]], pa.list_(pa.float32()))})
    assert to_array(table, "x", Feature("float32", (1,)), "0").tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("stored", "dtype"), [([1.5, 2.0], "int64"), ([300, 1], "uint8"), ([2, 0], "bool"), ([float("nan"), 1.0], "int64")]
)
def test_values_that_the_declared_kind_cannot_hold_are_refused(stored: list, dtype: str) -> None:
    with pytest.raises(EpisodeError, match="do not fit"):
        to_array(pa.table({"x": stored}), "x", Feature(dtype, (1,)), "0")


def test_a_clock_differs_by_more_than_its_own_rounding() -> None:
    frames = np.arange(200_000)
    assert not clock_differs((frames / 30).astype(np.float32).astype(np.float64), 30)
    assert not clock_differs(frames / 30 + 9e-5, 30)
    assert clock_differs(frames / 30 + 2e-4, 30)
    assert clock_differs(np.array([0.0, np.nan]), 30)


def test_groups_that_overlap_or_reach_too_far_name_nothing() -> None:
    feature = Feature("float32", (4,))
    names, remark = name_elements(feature, (Group("arm", 0, 3), Group("hand", 2, 4)))
    assert names is None and remark is not None and "overlaps" in remark
    names, remark = name_elements(feature, (Group("arm", 0, 9),))
    assert names is None and remark is not None and "ends at 9 of 4" in remark
    assert name_elements(Feature("float32", (2,), ("pan", "tilt")), (Group("head", 0, 2),)) == (("pan", "tilt"), None)


def test_an_annotation_becomes_spans_of_equal_text() -> None:
    label = annotation_label("annotation.human.step", np.array([4, 4, 7, 4]), {4: "reach", 7: "grasp"})
    assert label.table.to_pylist() == [
        {"start": 0, "stop": 2, "text": "reach"},
        {"start": 2, "stop": 3, "text": "grasp"},
        {"start": 3, "stop": 4, "text": "reach"},
    ]


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: Apache-2.0\n---\n# x", "apache-2.0"),
        ("---\nlicense: [mit]\n---\n", None),
        ("---\nlicense: !!python/object/apply:os.system ['true']\n---\n", None),
        ("---\n" + "a: &a [x,x]\n" + "b: [" + "*a," * 9 + "]\n---", None),
        ("no front matter", None),
    ],
)
def test_the_licence_of_a_card(tmp_path: Path, card: str, licence: str | None) -> None:
    (tmp_path / "README.md").write_text(card)
    assert licence_of(tmp_path) == licence


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    for value in (1, 2):
        pq.write_table(pa.table({"x": [value] * (value + 1)}), path)
        assert read_rows(find_rows(path, None), ["x"]).column("x").to_pylist() == [value] * (value + 1)
    path.unlink()
    with pytest.raises(SourceError, match="is missing"):
        find_rows(path, None)


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_what_a_project_added_to_info_json_is_kept(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    info["features"]["action"] |= {"info": {"control": "delta"}, "description": "of the hand", "fps": 20.0}
    tools = [{"type": "function", "function": {"name": "say"}}]
    own = {"tools": tools, "calibration": {"file": "/home/jane/lab/cam.yaml"}, "mesh": "x" * 20_000}
    edit_json(tmp_path / "meta/info.json", features=info["features"], **own)
    converter = detect(tmp_path)
    plan = converter.plan(tmp_path)
    assert plan.features["action"].info == {"control": "delta", "description": "of the hand"}
    assert any("info.json also holds tools, calibration" in note for note in plan.notes)
    assert any(name.startswith("mesh (in info.json, too long") for name in plan.unused)
    kept = converter.read(plan, plan.episodes[0]).meta.extra
    assert kept == {"info": {"tools": tools, "calibration": {"file": "cam.yaml"}}}


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_a_column_that_is_declared_and_in_no_table_costs_no_episode(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    write(tmp_path)
    info = json.loads((tmp_path / "meta/info.json").read_text())
    reward = info["features"]["next.reward"] | {"shape": []}
    ghost = {"dtype": "float32", "shape": [2]}
    edit_json(tmp_path / "meta/info.json", features=info["features"] | {"ghost": ghost, "next.reward": reward})
    converter = detect(tmp_path)
    plan = converter.plan(tmp_path)
    assert "ghost (declared in info.json, in no table)" in plan.unused and "ghost" not in plan.features
    episodes = [converter.read(plan, ref) for ref in plan.episodes]
    assert [e.frames["next.reward"].tolist() for e in episodes] == [[*map(float, range(n))] for n in (9, 12, 7)]
