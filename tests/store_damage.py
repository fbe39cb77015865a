"""Ways to damage a store, one file at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from store_made import FRONT


def video(root: Path, number: int) -> Path:
    return root / f"videos/{FRONT}/chunk-000/file-{number:03d}.mp4"


def data(root: Path, number: int) -> Path:
    return root / f"data/chunk-000/file-{number:03d}.parquet"


def flip(path: Path, place: float) -> None:
    """Change one byte, in the middle of a file's `place`."""
    whole_ = bytearray(path.read_bytes())
    whole_[int(place * len(whole_))] ^= 0x10
    path.unlink()
    path.write_bytes(whole_)


def pipe(path: Path) -> None:
    """A file that nobody ever writes to: who opens it waits."""
    path.unlink()
    os.mkfifo(path)


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = change(pq.read_table(path, partitioning=None))
    path.unlink()
    pq.write_table(table, path)


def column(table: pa.Table, name: str, function: Callable[[np.ndarray], object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    values = pa.array(function(np.array(table.column(name).to_pylist())).tolist(), table.schema.field(name).type)  # type: ignore[attr-defined]
    return table.set_column(at, table.schema.field(name), values)


def cut(path: Path, count: int) -> None:
    """Lose the last bytes."""
    kept = path.read_bytes()[:-count]
    path.unlink()
    path.write_bytes(kept)


def set_info(root: Path, **changes: object) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text()) | changes
    path.unlink()
    path.write_text(json.dumps(info))


def flip_page(path: Path, name: str) -> None:
    """Change a byte of the values of one column of a Parquet file's first row group."""
    group = pq.read_metadata(path).row_group(0)
    chunks = [group.column(n) for n in range(group.num_columns)]
    chunk = next(c for c in chunks if c.path_in_schema == name or c.path_in_schema.startswith(f"{name}.list."))
    begin = chunk.dictionary_page_offset or chunk.data_page_offset
    place = begin + chunk.total_compressed_size - 2
    flip(path, (place + 0.5) / path.stat().st_size)
