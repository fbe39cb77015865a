"""A short run of `bench/mutations.py`, and proof that what judges there can say no."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_folders import edit_table

from bench import mutations_hands
from bench.mutations_oracle import Different, compare, compare_stores
from bench.mutations_sources import SOURCES
from dataengine import hands
from dataengine.flow import convert


def test_damaged_sources_end_in_words_or_in_what_they_hold() -> None:
    """26 of them, two of each source; `python -m bench.mutations` makes a thousand."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.mutations", "26", "7007"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and figures["failures"] == [], json.dumps(figures["failures"], indent=1)
    assert figures["mutations"] == 26 and {"error", "quarantined", "equal"} <= figures["outcomes"].keys()


@pytest.mark.parametrize("name", ["aloha_raw", "zarr_v3", "lerobot_v30", "store"])
def test_a_store_that_holds_something_else_is_found(tmp_path: Path, name: str) -> None:
    root, out = SOURCES[name](tmp_path), tmp_path / "out"
    assert convert(root, out, scheduler="inprocess", progress=False).exit_code == 0
    check = compare_stores if name == "store" else compare
    assert check(root, out) > 1
    path = sorted(out.glob("data/*/*.parquet"))[-1]
    action = edit_one(path)
    with pytest.raises(Different, match="action"):
        check(root, out)
    edit_table(path, action=action)
    for video in out.glob("videos/*/*/*-000.mp4"):
        video.unlink()
        video.write_bytes((video.with_name("file-001.mp4")).read_bytes())
    with pytest.raises(Different):
        check(root, out)


@pytest.mark.parametrize("name", ["ego", "egodex"])
def test_hands_that_are_lost_or_other_ones_are_found(tmp_path: Path, name: str, monkeypatch) -> None:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("collectors.egocentric.videos._tracker", lambda settings: mutations_hands.Blind())
    root, out = SOURCES[name](tmp_path), tmp_path / "out"
    assert convert(root, out, scheduler="inprocess", progress=False).exit_code == 0
    assert mutations_hands.compare(root, out) == 3
    if name == "egodex":
        path, column = sorted(out.glob("data/*/*.parquet"))[-1], hands.column("left", "landmarks")
        stored = pq.read_table(path).column(column)
        edited = stored.to_pylist()
        edited[2][5][0] += 0.01
        edit_table(path, **{column: pa.array(edited, stored.type)})
        with pytest.raises(Different, match="landmarks of the left hand"):
            mutations_hands.compare(root, out)
        return
    (root / "take 3.mp4").write_bytes((root / "take 2.mp4").read_bytes() + b"\0")
    with pytest.raises(Different, match=r"take 3\.mp4 is neither"):
        mutations_hands.compare(root, out)
    (root / "take 3.mp4").unlink()
    one, two = sorted(out.glob("videos/*/*/*.mp4"))[:2]
    one.unlink()
    one.write_bytes(two.read_bytes())
    with pytest.raises(Different, match=r"take 0\.mp4: a picture"):
        mutations_hands.compare(root, out)


def edit_one(path: Path) -> pa.Array:
    """Change one number of the actions in a table; gives what stood there."""
    column = pq.read_table(path).column("action").combine_chunks()
    values = np.array(column.flatten())
    values[len(values) // 2] += 1
    edit_table(path, action=pa.FixedSizeListArray.from_arrays(pa.array(values), column.type.list_size))
    return column
