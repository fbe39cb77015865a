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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataengine.episode import Feature
from dataengine.errors import EpisodeError, SourceError, UnsafeSource

# Decoded bytes of one read; a parquet of a few kB may declare terabytes.
_MAX_BYTES = 4 << 30
_MAX_ROWS = 20_000_000
_MAX_TEXT = 1 << 20  # bytes of one cell


@dataclass(frozen=True)
class Rows:
    """Where an episode stands in a file: rows `start` to `stop` (exclusive) of these row groups, joined."""

    path: Path
    groups: tuple[int, ...]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def open_parquet(path: Path, **options: Any) -> pq.ParquetFile:
    """The file, after its footer; `SourceError` when it is missing, truncated or no parquet."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise SourceError(path, "is no file")
    try:
        file = pq.ParquetFile(path, memory_map=False, pre_buffer=False, buffer_size=1 << 20, **options)
    except FileNotFoundError:
        raise SourceError(path, "is missing") from None
    except (pa.ArrowException, OSError) as problem:
        raise SourceError(path, f"cannot be read as parquet: {_first_line(problem)}") from None
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        raise SourceError(path, f"has two columns called {next(n for n in names if names.count(n) > 1)!r}")
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
    own = index_column(read_groups(path, groups, ("episode_index",)), "episode_index", path) if groups else np.empty(0)
    at = np.flatnonzero(own == episode)
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
    texts = [c for c in known if _is_text(file.schema_arrow.field(c).type)]
    if texts:  # the same long text in every row takes no room in the file: it is kept once until its size is known
        file = open_parquet(path, read_dictionary=texts)
    try:
        table = file.read_row_groups(list(groups), columns=known)
    except (pa.ArrowException, OSError) as problem:
        raise SourceError(path, f"is damaged: {_first_line(problem)}") from None
    for at, name in ((table.column_names.index(name), name) for name in texts):
        table = table.set_column(at, name, _spelt_out(table.column(name), name, path))
    if table.num_rows != rows:
        raise SourceError(path, f"holds {table.num_rows} rows where its footer declares {rows}")
    return table


def _spelt_out(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    """A column of texts without its dictionary. Raises: `UnsafeSource` for texts nobody would write."""
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type) and len(chunk.dictionary):
            longest = int(pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0)
            if longest > _MAX_TEXT:
                raise UnsafeSource(path, f"holds a text of {longest:,} bytes in {name!r}, more than {_MAX_TEXT:,}")
    return pa.chunked_array(
        [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in column.chunks],
        column.type.value_type if pa.types.is_dictionary(column.type) else column.type,
    )


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def to_array(table: pa.Table, key: str, feature: Feature, episode: str, notes: set[str] | None = None) -> np.ndarray:
    """One column as `(T, *shape)` (`(T,)` for shape (1,)), in the declared dtype.

    Raises: `EpisodeError` for a missing column, nulls, ragged rows, another width than declared, or values
    the declared dtype cannot hold.
    """
    if key not in table.column_names:
        raise EpisodeError(episode, "is declared in info.json and not in the table", feature=key)
    column = _plain(table.column(key))
    values, widths = _dense(column, key, episode)
    if feature.dtype == "string":
        if not pa.types.is_string(values.type) and not pa.types.is_large_string(values.type):
            raise EpisodeError(episode, f"is declared as text and stored as {column.type}", feature=key)
        try:
            return np.asarray(values.to_pylist(), dtype=object).reshape(len(column), *widths)
        except UnicodeDecodeError as problem:
            raise EpisodeError(episode, f"holds text that is no UTF-8: {problem}", feature=key) from None
    if not _is_real(values.type):
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
    values = column
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


def index_column(table: pa.Table, name: str, path: Path) -> np.ndarray:
    """An index column as int64, whatever list or float a writer made of it; what is no whole number matches none (-1).

    Raises: `SourceError` when it holds no numbers, or not one a row.
    """
    flat = _plain(table.column(name))
    while _is_list(flat.type) and pc.all(pc.equal(pc.list_value_length(flat), 1)).as_py() is not False:
        flat = flat.flatten()
    if not (_is_real(flat.type) or pa.types.is_null(flat.type)) or len(flat) != table.num_rows:
        raise SourceError(path, f"{name} is {table.column(name).type}, not one whole number a row")
    numbers = np.nan_to_num(np.asarray(flat.to_numpy(zero_copy_only=False), np.float64), nan=-1)
    return np.where((np.abs(numbers) < 2.0**62) & (numbers == np.rint(numbers)), numbers, -1).astype(np.int64)


def seconds_column(table: pa.Table, name: str, path: Path) -> np.ndarray:
    """A column of times in [s], one a row, as float64. Raises: `SourceError` when it holds anything else."""
    column = _plain(table.column(name))
    if not (_is_real(column.type) or pa.types.is_null(column.type)):
        raise SourceError(path, f"{name} is {column.type}, not one number a row")
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece, without a dictionary."""
    joined = column.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = pa.concat_arrays(joined.chunks) if joined.num_chunks else pa.array([], joined.type)
    joined = joined.storage if isinstance(joined, pa.ExtensionArray) else joined
    return joined.dictionary_decode() if pa.types.is_dictionary(joined.type) else joined


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_real(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _row_bytes(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _row_bytes(kind.storage_type)
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * _row_bytes(kind.value_type)
    return max(kind.bit_width // 8, 1) if pa.types.is_primitive(kind) else 16


def _first_line(problem: BaseException) -> str:
    return str(problem).split("\n", 1)[0][:200]
