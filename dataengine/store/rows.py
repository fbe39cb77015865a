"""Rows of data files: whichever row groups they lie in, page checksums verified, a few files kept open."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.errors import StoreError
from dataengine.remote import openable

# Open files are shared by the threads of a process, one read at a time; a forked child opens its own.
_reading = threading.Lock()


@lru_cache(maxsize=8)
def _open(path: Path, changed: int) -> tuple[pq.ParquetFile, np.ndarray]:
    file = pq.ParquetFile(openable(path), page_checksum_verification=True, memory_map=False, pre_buffer=False)
    rows = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    return file, np.cumsum([0, *rows])


def read_rows(path: Path, row: int, count: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows `row` to `row + count` of one file. Raises `StoreError` if the file or the rows are not there."""
    try:
        file, bounds = _open(path, path.stat().st_mtime_ns)
        if row + count > bounds[-1]:
            raise StoreError(f"{path} has {bounds[-1]} rows; rows {row} to {row + count} are needed")
        first = int(np.searchsorted(bounds, row, "right")) - 1
        last = int(np.searchsorted(bounds, row + count, "left"))
        present = None if columns is None else [c for c in columns if c in file.schema_arrow.names]
        with _reading:
            table = file.read_row_groups(list(range(first, last)), columns=present, use_threads=False)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing (was the store compacted since it was opened? open it again)") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if columns is not None and (missing := [c for c in columns if c not in table.column_names]):
        raise StoreError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}")
    return table.slice(row - int(bounds[first]), count)


def columns_of(path: Path) -> list[str]:
    """Names of a data file's columns."""
    try:
        return list(_open(path, path.stat().st_mtime_ns)[0].schema_arrow.names)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} is damaged or missing: {error}") from error


def _forget() -> None:
    global _reading
    _reading = threading.Lock()
    _open.cache_clear()


os.register_at_fork(after_in_child=_forget)
