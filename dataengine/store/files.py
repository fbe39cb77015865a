"""The few things a store does to files: every one durable, atomic, and never in place.

A file of a store is put once under its final name or replaced as a whole by a rename; nothing is written
through an existing name, because a hard link of another version may share it. Modification times are never
preserved: the `datasets` cache behind LeRobot serves a changed file with an unchanged time stale.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.errors import StoreError
from dataengine.guard import sha256_file

MODE = 0o644


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace `path` by `data`: written beside it under a name no reader globs, synced, renamed, synced.

    durable: False leaves out the two syncs, for files that a crash of the machine may take.
    """
    _replace(path, lambda temporary: temporary.write_bytes(data), durable)


def write_json(path: Path, value: Any, *, indent: int | None = None, durable: bool = True) -> None:
    """Replace `path` by JSON; on one line unless `indent` is given, which is slow for large ones."""
    write_bytes(path, json_bytes(value, indent=indent), durable=durable)


def json_bytes(value: Any, *, indent: int | None = None) -> bytes:
    return (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode()


def write_table(
    path: Path,
    table: pa.Table,
    *,
    row_groups: list[int] | None = None,
    durable: bool = True,
    compression: str = "zstd",
) -> None:
    """Replace `path` by a Parquet file with page checksums; `row_groups` gives the rows of each group."""

    # Dictionaries of numbers cost time and make the files larger; repeated text is what they are for.
    text = [field.name for field in table.schema if pa.types.is_string(field.type)]
    options = {"compression": compression, "use_dictionary": text or False, "write_page_checksum": True}

    def write(temporary: Path) -> None:
        with pa.OSFile(str(temporary), "wb") as file, pq.ParquetWriter(file, table.schema, **options) as writer:
            start = 0
            for rows in row_groups if row_groups is not None else [table.num_rows]:
                writer.write_table(table.slice(start, rows), row_group_size=max(rows, 1))
                start += rows

    _replace(path, write, durable)


def put_table(folder: Path, number: int, table: pa.Table, *, row_groups: list[int] | None = None) -> Path:
    """A Parquet file that is checked by its name: `<number>-<how its sha256 begins>.parquet`."""
    return _put(folder, number, ".parquet", lambda at: write_table(at, table, row_groups=row_groups, durable=False))


def put_arrow(folder: Path, number: int, table: pa.Table) -> Path:
    """The same in Arrow's own format, for small tables: a third of the time of Parquet."""
    return _put(folder, number, ".arrow", lambda at: replace_arrow(at, table, durable=False))


def _put(folder: Path, number: int, suffix: str, write: Callable[[Path], None]) -> Path:
    temporary = folder / f"{number:08d}{suffix}.tmp"
    write(temporary)
    target = folder / f"{number:08d}-{sha256_file(temporary)[:16]}{suffix}"
    place(temporary, target)
    remove(temporary)
    return target


def hash_in_name(path: Path) -> str:
    """How the sha256 of a file that was put there begins."""
    return path.stem.partition("-")[2] or "no hash stands in its name"


def read_table(path: Path, columns: list[str] | None = None, *, checked: bool = True) -> pa.Table:
    """A whole Parquet file of a store, or some of its columns; checked: page checksums are verified.

    Not by `pq.read_table`: it takes twice the time for one episode's rows, and imports `pyarrow.dataset` and pandas.
    """
    with pa.OSFile(str(path)) as source, pq.ParquetFile(source, page_checksum_verification=checked) as file:
        return file.read(columns, use_threads=False)


def write_arrow(path: Path, table: pa.Table) -> None:
    """A new file in Arrow's own format, for what only passes by: a quarter of the time of Parquet."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def replace_arrow(path: Path, table: pa.Table, *, durable: bool = True) -> None:
    """Replace `path` by a table in Arrow's own format, compressed; who reads it checks its hash first."""
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)

    def write(temporary: Path) -> None:
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
            writer.write_table(table)

    _replace(path, write, durable)


def read_arrow(path: Path) -> pa.Table:
    """A whole file in Arrow's own format. Raises `StoreError`, also for one made to lead its reader out of bounds."""
    try:
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            table = reader.read_all()
        table.validate(full=True)
        return table
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def place(source: Path, target: Path) -> None:
    """Give a finished, immutable file its final name: a hard link where the file system allows, else a copy.

    Raises `StoreError` if another file already has that name: numbers are never used twice.
    """
    make_folder(target.parent)
    if target.exists():
        raise StoreError(f"{target} exists already; a file of a store is never written over")
    sync(source)
    share(source, target)
    sync_folder(target.parent)


def share(source: Path, target: Path) -> None:
    """`place` into a folder that is there and that the caller syncs; a name already taken is left as it is."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.EACCES):
            raise
        _replace(target, lambda temporary: _copy(source, temporary))
    else:
        target.chmod(MODE)


def make_folder(folder: Path) -> None:
    """As `mkdir`, with its parents; asked first, because a `mkdir` that finds the folder takes ten times as long."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def exchange(first: Path, second: Path) -> None:
    """Swap two folders of one file system in one step; no instant shows neither or a mixture.

    Raises `StoreError` where the file system cannot.
    """
    failure = _exchange_linux(first, second) if sys.platform == "linux" else _exchange_mac(first, second)
    if failure:
        raise StoreError(
            f"the file system of {first} cannot swap two folders in one step ({os.strerror(failure)}); "
            "take a snapshot into a new folder and use that instead"
        )
    sync_folder(first.parent)


def _exchange_linux(first: Path, second: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return errno.ENOSYS
    at_fdcwd, rename_exchange = -100, 2
    done = libc.renameat2(at_fdcwd, os.fsencode(first), at_fdcwd, os.fsencode(second), rename_exchange)
    return ctypes.get_errno() if done else 0


def _exchange_mac(first: Path, second: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renamex_np"):
        return errno.ENOSYS
    rename_swap = 2
    return ctypes.get_errno() if libc.renamex_np(os.fsencode(first), os.fsencode(second), rename_swap) else 0


def _replace(path: Path, write: Callable[[Path], Any], durable: bool = True) -> None:
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        write(temporary)
        temporary.chmod(MODE)
        if durable:
            sync(temporary)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
