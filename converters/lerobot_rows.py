"""Rows of one episode out of a LeRobot parquet file, as `(T, *shape)` arrays that are what info.json says.

A file holds one episode (v2.x) or many (v3.0). Rows are found by row-group statistics and one comparison of
`episode_index`; writers differ in row groups (one per episode, one per thousand rows, one per file), so the
last row group read is kept. Pictures inside the table are not read here (`lerobot_images.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.episode import Feature
from dataengine.errors import EpisodeError, SourceError, UnsafeSource

# Decoded bytes of one read; a parquet of a few kB may declare terabytes.
_MAX_BYTES = 4 << 30
_MAX_ROWS = 20_000_000


@dataclass(frozen=True)
class Rows:
    """Where an episode stands in a file: rows `start` to `stop` (exclusive) of these row groups, joined."""

    path: Path
    groups: tuple[int, ...]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def open_parquet(path: Path) -> pq.ParquetFile:
    """The file, after its footer; `SourceError` when it is missing, truncated or no parquet."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise SourceError(path, "is no file")
    try:
        file = pq.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=1 << 20)
    except FileNotFoundError:
        raise SourceError(path, "is missing") from None
    except (pa.ArrowException, OSError) as problem:
        raise SourceError(path, f"cannot be read as parquet: {_first_line(problem)}") from None
    if file.metadata.num_rows > _MAX_ROWS:
        raise UnsafeSource(path, f"declares {file.metadata.num_rows} rows, more than {_MAX_ROWS} are not read")
    return file


def find_rows(path: Path, episode: int | None) -> Rows:
    """Where an episode lies in a file; `episode` None takes the whole file.

    Raises: `EpisodeError` when it is not in the file, or its rows do not follow each other.
    """
    file = open_parquet(path)
    metadata = file.metadata
    every = tuple(range(metadata.num_row_groups))
    if episode is None or "episode_index" not in file.schema_arrow.names:
        return Rows(path, every, 0, metadata.num_rows)
    groups = tuple(g for g in every if _may_hold(metadata, g, episode))
    column = read_groups(path, groups, ("episode_index",)).column("episode_index") if groups else pa.chunked_array([[]])
    at = np.flatnonzero(index_column(column) == episode)
    if not len(at):
        raise EpisodeError(str(episode), f"has no rows in {path.name}")
    if at[-1] - at[0] + 1 != len(at):
        raise EpisodeError(str(episode), f"its rows in {path.name} are mixed with other episodes'")
    return Rows(path, groups, int(at[0]), int(at[-1]) + 1)


def read_rows(rows: Rows, columns: Sequence[str]) -> pa.Table:
    """The named columns of an episode's rows; columns that the file lacks are left out."""
    return read_groups(rows.path, rows.groups, tuple(columns)).slice(rows.start, len(rows))


def read_groups(path: Path, groups: tuple[int, ...], columns: tuple[str, ...]) -> pa.Table:
    stat = path.stat()
    return _read_groups(path, stat.st_mtime_ns, stat.st_size, groups, columns)


@lru_cache(maxsize=2)
def _read_groups(path: Path, mtime: int, size: int, groups: tuple[int, ...], columns: tuple[str, ...]) -> pa.Table:
    file = open_parquet(path)
    known = [c for c in columns if c in file.schema_arrow.names]
    rows = sum(file.metadata.row_group(g).num_rows for g in groups)
    row_bytes = sum(_row_bytes(file.schema_arrow.field(c).type) for c in known)
    if rows * row_bytes > _MAX_BYTES:
        raise UnsafeSource(path, f"declares {rows} rows of {row_bytes} bytes, more than {_MAX_BYTES >> 30} GiB at once")
    try:
        table = file.read_row_groups(list(groups), columns=known)
    except (pa.ArrowException, OSError) as problem:
        raise SourceError(path, f"is damaged: {_first_line(problem)}") from None
    if table.num_rows != rows:
        raise SourceError(path, f"holds {table.num_rows} rows where its footer declares {rows}")
    return table


def to_array(table: pa.Table, key: str, feature: Feature, episode: str, notes: set[str] | None = None) -> np.ndarray:
    """One column as `(T, *shape)` (`(T,)` for shape (1,)), in the declared dtype.

    Raises: `EpisodeError` for a missing column, nulls, ragged rows, another width than declared, or values
    the declared dtype cannot hold.
    """
    if key not in table.column_names:
        raise EpisodeError(episode, "is declared in info.json and not in the table", feature=key)
    column = table.column(key).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    values, widths = _dense(column, key, episode)
    if feature.dtype == "string":
        if not pa.types.is_string(values.type) and not pa.types.is_large_string(values.type):
            raise EpisodeError(episode, f"is declared as text and stored as {column.type}", feature=key)
        try:
            return np.asarray(values.to_pylist(), dtype=object).reshape(len(column), *widths)
        except UnicodeDecodeError as problem:
            raise EpisodeError(episode, f"holds text that is no UTF-8: {problem}", feature=key) from None
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)):
        raise EpisodeError(episode, f"is declared as {feature.dtype} and stored as {column.type}", feature=key)
    stored = values.to_numpy(zero_copy_only=False)
    if stored.size != len(column) * feature.size:
        raise EpisodeError(
            episode, f"has {stored.size // max(len(column), 1)} values a frame, info.json declares {feature.shape}",
            feature=key,
        )  # fmt: skip
    array = _as_declared(stored, feature.dtype, key, episode)
    if notes is not None and array.dtype != stored.dtype:
        notes.add(f"{key}: stored as {stored.dtype}, read as declared, {array.dtype}")
    return array if feature.shape == (1,) else array.reshape(len(column), *feature.shape)


def _dense(column: pa.Array, key: str, episode: str) -> tuple[pa.Array, list[int]]:
    """The innermost values of nested lists that all have one length, and these lengths."""
    widths: list[int] = []
    values = column.storage if isinstance(column, pa.ExtensionArray) else column
    while True:
        if values.null_count:
            frame = int(np.argmax(np.asarray(values.is_null()))) // int(np.prod(widths, dtype=np.int64) or 1)
            raise EpisodeError(episode, "has a missing value (null)", feature=key, frame=frame)
        if pa.types.is_fixed_size_list(values.type):
            widths.append(values.type.list_size)
            values = values.flatten()
        elif pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            lengths = np.diff(values.offsets.to_numpy())
            if len(lengths) and (lengths != lengths[0]).any():
                odd = int(np.argmax(lengths != lengths[0]))
                raise EpisodeError(
                    episode, f"is ragged: {lengths[odd]} values where the first frame has {lengths[0]}",
                    feature=key, frame=odd // int(np.prod(widths, dtype=np.int64) or 1),
                )  # fmt: skip
            widths.append(int(lengths[0]) if len(lengths) else 0)
            values = values.flatten()
        else:
            return values, widths


def _as_declared(stored: np.ndarray, dtype: str, key: str, episode: str) -> np.ndarray:
    want = np.dtype(dtype)
    if stored.dtype == want:
        return stored
    with np.errstate(all="ignore"):
        array = stored.astype(want)
        exact = array.dtype.kind == "f" or np.array_equal(array.astype(stored.dtype), stored)
    if not exact:
        raise EpisodeError(episode, f"is declared as {dtype}; its {stored.dtype} values do not fit", feature=key)
    return array


def _may_hold(metadata: pq.FileMetaData, group: int, episode: int) -> bool:
    """Whether a row group's statistics allow rows of the episode; without statistics, yes."""
    info = metadata.row_group(group)
    for i in range(info.num_columns):
        column = info.column(i)
        if column.path_in_schema == "episode_index":
            statistics = column.statistics
            if statistics is None or not statistics.has_min_max:
                return True
            return bool(statistics.min <= episode <= statistics.max)
    return True


def index_column(column: pa.ChunkedArray) -> np.ndarray:
    """An index column as int64, whatever list or float a writer made of it; nulls match nothing (-1)."""
    flat = column.combine_chunks()
    flat = flat.chunk(0) if isinstance(flat, pa.ChunkedArray) and flat.num_chunks else flat
    while isinstance(flat, pa.Array) and (pa.types.is_fixed_size_list(flat.type) or pa.types.is_list(flat.type)):
        flat = flat.flatten()
    return np.nan_to_num(np.asarray(flat.to_numpy(zero_copy_only=False), np.float64), nan=-1).astype(np.int64)


def _row_bytes(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _row_bytes(kind.storage_type)
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * _row_bytes(kind.value_type)
    return max(kind.bit_width // 8, 1) if pa.types.is_primitive(kind) else 16


def _first_line(problem: BaseException) -> str:
    return str(problem).split("\n", 1)[0][:200]
