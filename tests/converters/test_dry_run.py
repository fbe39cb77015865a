"""`convert --dry-run` and `--write-mapping`: what is shown before anything is written, and what is refused then."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import HEIGHT, TOP, WIDTH, Folder, edit_json, write_v2, write_v3
from source_layouts import libero, replay, robomimic
from typer.testing import CliRunner

from converters.base import detect
from converters.lerobot_v3 import LeRobotV3
from converters.report import describe, read_mapping
from converters.robomimic import Robomimic
from dataengine.cli import app
from dataengine.errors import ConfigError, EpisodeError, RateUnknown, SourceError, UnsafeSource

EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def convert(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)], catch_exceptions=True)


def test_a_pattern_is_every_file_it_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        robomimic(tmp_path / f"{name}.hdf5", {"demo_1": 4})
    result = convert(tmp_path / "*.hdf5", tmp_path / "out", "--dry-run", "--json")
    assert [found["source"] for found in json.loads(result.stdout)] == ["a.hdf5", "b.hdf5"]
    assert "no file matches" in str(convert(tmp_path / "*.zarr", tmp_path / "out", "--dry-run").exception)
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_called_one(tmp_path: Path) -> None:
    source = robomimic(tmp_path / "a.hdf5", {"demo_1": 4})
    (tmp_path / "b.hdf5").touch()
    error = convert(source, tmp_path / "b.hdf5").exception
    assert isinstance(error, ConfigError) and "b.hdf5 is a file" in str(error)


def test_a_source_without_a_rate_gives_a_mapping_to_fill_in(tmp_path: Path) -> None:
    path = replay(tmp_path / "x.zarr", {"state": np.ones((16, 3)), "action": np.ones((16, 2))}, [5, 16])
    written = tmp_path / "mapping.yaml"
    result = convert(path, tmp_path / "out", "--write-mapping", written)
    assert "16 frames at a rate that is not said" in result.stdout
    lines = written.read_text().splitlines()
    assert lines[lines.index("fps: null") - 1].startswith("# FILL IN: the source does not say its rate")
    assert json.loads(convert(path, tmp_path / "out", "--dry-run", "--json").stdout)[0]["fps"] is None
    with pytest.raises(RateUnknown, match=r"x\.zarr: does not say its rate"):
        detect(path).plan(path, read_mapping(written))
    written.write_text(written.read_text().replace("fps: null", "fps: 12.5"))
    assert detect(path).plan(path, read_mapping(written)).fps == 12.5


@pytest.mark.parametrize("name", ["a..b", "a\x01b"])
def test_a_name_that_cannot_be_one_is_told_with_its_file(tmp_path: Path, name: str) -> None:
    path = robomimic(tmp_path / "a.hdf5", {"demo_1": 4}, images=True)
    with h5py.File(path, "r+") as file:
        file[f"data/demo_1/obs/{name}_image"] = file["data/demo_1/obs/agentview_image"][()]
    with pytest.raises(UnsafeSource, match=r"^a\.hdf5: the name .*mapping$"):
        detect(path).plan(path)


def test_liberos_pictures_are_turned_though_what_describes_them_is_damaged(tmp_path: Path) -> None:
    path = libero(tmp_path / "a.hdf5", "open the drawer")
    with h5py.File(path, "r+") as file:
        del file["data"].attrs["bddl_file_name"]
        file["data"].attrs["problem_info"] = '{"problem_name": "kit'
        file["data"].attrs["env_args"] = "?"
    plan = detect(path).plan(path)
    assert plan.mapping["cameras"]["observation.images.agentview"]["flip"] == "vertical"
    assert {
        f"attribute data.{n} is no JSON object: what it says is not known" for n in ("env_args", "problem_info")
    } <= {*plan.notes}


def test_pictures_of_either_way_up_are_not_one_source(tmp_path: Path) -> None:
    libero(tmp_path / "a.hdf5", "open the drawer")
    libero(tmp_path / "b.hdf5", "open the drawer")
    with h5py.File(tmp_path / "b.hdf5", "r+") as file:
        file["data"].attrs["macros_image_convention"] = "opencv"
    with pytest.raises(SourceError, match=r"^b\.hdf5: has its pictures the other way up"):
        Robomimic().plan(tmp_path)


def test_what_macos_leaves_beside_files_is_not_read(tmp_path: Path) -> None:
    write_v3(tmp_path)
    before = LeRobotV3().plan(tmp_path)
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\26\7 resource fork")
    assert LeRobotV3().plan(tmp_path) == before


@pytest.mark.parametrize("name", ["data/chunk-000/file-000.parquet", f"videos/{TOP}/chunk-000/file-000.mp4"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    write_v3(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    if name.startswith("videos"):
        with pytest.raises(SourceError, match="none of 3 episodes"):
            LeRobotV3().plan(tmp_path)
    else:
        assert [ref.problem is None for ref in LeRobotV3().plan(tmp_path).episodes] == [False, False, True]


@pytest.mark.parametrize("name", ["info.json", "tasks.jsonl", "episodes.jsonl"])
def test_a_pipe_in_meta_is_not_waited_for(tmp_path: Path, name: str) -> None:
    write_v2(tmp_path)
    converter = detect(tmp_path)
    (tmp_path / "meta" / name).unlink()
    os.mkfifo(tmp_path / "meta" / name)
    with pytest.raises(SourceError, match=name):
        converter.plan(tmp_path)


def _bad_text(count: int) -> pa.Array:
    """Strings that are no UTF-8, as a writer in another language may leave them."""
    values = pa.array([b"\xff\xfe"] * count, pa.binary())
    return pa.StringArray.from_buffers(count, *values.buffers()[1:])


def test_text_that_is_no_utf8_is_an_error_of_its_file(tmp_path: Path) -> None:
    write_v3(tmp_path / "tasks")
    table = pa.table({"task_index": [0, 1], "task": _bad_text(2)})
    pq.write_table(table, tmp_path / "tasks/meta/tasks.parquet")
    with pytest.raises(SourceError, match=r"tasks\.parquet: holds a task that is no UTF-8"):
        LeRobotV3().plan(tmp_path / "tasks")

    write_v3(tmp_path / "episodes")
    episodes = pq.read_table(tmp_path / "episodes" / EPISODES)
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), _bad_text(3))
    at = episodes.column_names.index("tasks")
    pq.write_table(episodes.set_column(at, "tasks", lists), tmp_path / "episodes" / EPISODES)
    with pytest.raises(SourceError, match=r"episodes: holds a task that is no UTF-8"):
        LeRobotV3().plan(tmp_path / "episodes")

    write_v3(tmp_path / "column", Folder(cameras={}))
    info = json.loads((tmp_path / "column/meta/info.json").read_text())
    edit_json(
        tmp_path / "column/meta/info.json", features=info["features"] | {"note": {"dtype": "string", "shape": [1]}}
    )
    for data in (tmp_path / "column/data/chunk-000").iterdir():
        rows = pq.read_table(data)
        pq.write_table(rows.append_column("note", _bad_text(rows.num_rows)), data)
    plan = LeRobotV3().plan(tmp_path / "column")
    with pytest.raises(EpisodeError, match="'note': holds text that is no UTF-8"):
        LeRobotV3().read(plan, plan.episodes[0])


def test_video_that_is_copied_is_estimated_by_its_bytes(tmp_path: Path) -> None:
    """Not by its pixels: a day of video takes minutes."""
    for write, version in ((write_v2, "v2.1"), (write_v3, "v3.0")):
        root = tmp_path / version
        write(root, Folder(lengths=(9, 12)))
        stored = sum(path.stat().st_size for path in root.rglob("*.mp4"))
        converter = detect(root)
        plan = converter.plan(root, hashed=False)
        assert 0.5 * stored < converter.copied(plan)[TOP] <= stored
        turned = converter.plan(root, {"cameras": {TOP: {"flip": "rot180"}}}, hashed=False)
        assert not converter.copied(turned)
        copying, coding = (describe(p, copied=converter.copied(p)) for p in (plan, turned))
        assert coding["bytes_estimated"] - 21 * HEIGHT * WIDTH * 0.03 == pytest.approx(
            copying["bytes_estimated"] - converter.copied(plan)[TOP], abs=2
        )
