"""Tables and lines that headsets write, read with bounded sizes: columns of a CSV, lines of JSON, poses, clocks."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from converters.hand_clock import Way, in_order
from converters.hand_columns import MOST_FRAMES
from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import parse_json

MIB = 1 << 20
MOST_BYTES, MOST_ROWS = 4096 * MIB, 20_000_000  # an hour of poses at 1 kHz has a fifth of both
MOST_HEADER, MOST_LINE = 64 << 10, MIB
LATEST = 1 << 62  # [ns]

# A column of times and how many ns its unit has.
CLOCKS = {
    "timestamp_ns": 1,
    "timestamp[ns]": 1,
    "vrs_device_time_ns": 1,
    "tracking_timestamp_us": 1000,
    "timestamp_us": 1000,
}
# Project Aria's SLAM (`closed_loop_trajectory.csv`) and HOT3D (`headset_trajectory.csv`): x, y, z, qx, qy, qz, qw.
# Whose rows they are stands in the first column: of several maps of SLAM, poses of one say nothing in another.
WHOSE = ("graph_uid", "object_uid")
WAYS: tuple[tuple[str, ...], ...] = (
    tuple(f"{part}_world_device" for part in ("tx", "ty", "tz", "qx", "qy", "qz", "qw")),
    ("t_wo_x[m]", "t_wo_y[m]", "t_wo_z[m]", "q_wo_x", "q_wo_y", "q_wo_z", "q_wo_w"),
)


def header(path: Path) -> list[str]:
    """Names of the columns of a CSV. Raises `SourceError` for what has none or repeats one."""
    with path.open("rb") as file:
        line = file.readline(MOST_HEADER + 1)
    if len(line) > MOST_HEADER:
        raise UnsafeSource(path, f"its first line is longer than {MOST_HEADER >> 10} KiB")
    try:
        names = next(csv.reader([line.decode("utf-8-sig").strip()]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(path, f"line 1: no names of columns: {error}") from error
    if not names:
        raise SourceError(path, "line 1: no names of columns")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(path, f"line 1: the column {twice!r} is given twice")
    return names


def clock_of(path: Path, names: Sequence[str]) -> str:
    """The column that holds the times. Raises `SourceError`."""
    for name in CLOCKS:
        if name in names:
            return name
    raise SourceError(path, f"has no column of times ({', '.join(CLOCKS)})")


def read_table(
    path: Path, wanted: Sequence[str], most: int = MOST_ROWS, one: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Times `(N,)` int64 [ns] and the wanted columns `(N, k)` float64, NaN where a field is empty, as they stand.

    most: rows. one: a column of texts that has to say the same in every row. Raises `SourceError` for missing columns,
    fields that are no numbers and files without a row, `UnsafeSource` above the sizes of this file.
    """
    names = header(path)
    clock = clock_of(path, names)
    if lacking := [name for name in wanted if name not in names]:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise SourceError(path, f"has no column {lacking[0]}{more}")
    if path.stat().st_size > MOST_BYTES:
        raise UnsafeSource(path, f"is larger than {MOST_BYTES / MIB:g} MiB")
    types = {clock: pa.int64(), **dict.fromkeys(wanted, pa.float64())}
    if one is not None:
        types[one] = pa.string()
    options = pa.csv.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=["", "NaN", "nan", "NA", "null"]
    )
    times: list[np.ndarray] = []
    values: list[np.ndarray] = []
    said: set[str | None] = set()
    rows = 0
    try:
        with pa.csv.open_csv(path, convert_options=options) as batches:
            for batch in batches:
                rows += batch.num_rows
                if rows > most:
                    raise UnsafeSource(path, f"has more than {most:,} rows")
                if batch.column(0).null_count:
                    raise SourceError(path, f"has rows without {clock}")
                times.append(batch.column(0).to_numpy(zero_copy_only=False))
                found = [batch.column(i).to_numpy(zero_copy_only=False) for i in range(1, len(wanted) + 1)]
                values.append(np.stack(found, 1) if found else np.zeros((batch.num_rows, 0)))
                if one is not None and len(said := said | set(batch.column(one).unique().to_pylist())) > 1:
                    several = ", ".join(sorted(str(each)[:40] for each in said)[:2])
                    why = f"{one} is not the same in every row ({several}): they belong to several worlds or things"
                    raise SourceError(path, why, hint="keep the rows of one, and cut the video to them")
    except (pa.ArrowException, OSError) as error:
        raise SourceError(path, f"is no table of numbers: {_reason(str(error))}") from error
    if not rows:
        raise SourceError(path, "has no row below its header")
    return nanoseconds(path, np.concatenate(times), CLOCKS[clock]), np.concatenate(values)


def _reason(said: str) -> str:
    """What Arrow means by its words about blocks."""
    if "straddl" in said:
        return "a row is longer than a MiB"
    return "a field goes over several lines" if "out of sync" in said else said


def nanoseconds(path: Path, times: np.ndarray, unit: int) -> np.ndarray:
    if (bad := np.abs(times.astype(np.float64)) * unit >= LATEST).any():
        raise SourceError(path, f"row {int(np.argmax(bad)) + 1}: its time is beyond any clock")
    return times.astype(np.int64) * unit


def read_way(path: Path) -> tuple[Way, tuple[str, ...]]:
    """Where the device was, and what had to be done to the rows. Raises `SourceError`."""
    names = header(path)
    wanted = next((each for each in WAYS if set(each) <= set(names)), None)
    if wanted is None:
        raise SourceError(path, f"holds no poses of a device: it has no {WAYS[0][0]} … {WAYS[0][-1]}")
    times, poses = read_table(path, wanted, one=next((name for name in WHOSE if name in names), None))
    bad = ~np.isfinite(poses).all(1) | (np.abs(np.linalg.norm(poses[:, 3:], axis=1) - 1) > 0.01)
    if bad.any() or np.abs(poses[:, :3]).max() > 1e6:
        row = int(np.argmax(bad)) if bad.any() else int(np.argmax(np.abs(poses[:, :3]).max(1)))
        raise SourceError(path, f"row {row + 1} holds no pose: a place [m] and a quaternion of length one")
    rows, remarks = in_order(times)
    return Way(times[rows], poses[rows]), tuple(f"{path.name}: {remark}" for remark in remarks)


def read_clock(path: Path) -> np.ndarray:
    """When each picture of a video was taken, `(T,)` int64 [ns]. Raises `SourceError` where it goes backwards."""
    times, _ = read_table(path, (), MOST_FRAMES)
    if (np.diff(times) < 0).any():
        raise SourceError(
            path, f"row {int(np.argmax(np.diff(times) < 0)) + 2}: its time is before that of the row above"
        )
    return times


def json_lines(path: Path, most: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The object of every line that is not blank, with the line's number. Numbers may be NaN.

    Raises `SourceError` naming the line, `UnsafeSource` for lines or files without end.
    """
    with path.open("rb") as file:
        for number in count(1):
            line = file.readline(MOST_LINE + 1)
            if not line:
                return
            if len(line) > MOST_LINE:
                raise UnsafeSource(path, f"line {number} is longer than {MOST_LINE / MIB:g} MiB")
            if number > most:
                raise UnsafeSource(path, f"has more than {most:,} lines")
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise SourceError(path, f"line {number}: not UTF-8 text (byte {error.start})") from error
            value = parse_json(text, path, line=number, allow_nan=True)
            if not isinstance(value, dict):
                raise SourceError(path, f"line {number}: expected an object, not {type(value).__name__}")
            yield number, value


def numbers(value: Any, shape: tuple[int, ...], path: Path, where: str) -> np.ndarray:
    """A float64 array of this shape. Raises `SourceError`."""
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.empty(0)
    if found.shape != shape:
        raise SourceError(
            path, f"{where}: expected numbers of shape {shape}, found {found.shape if found.size else '?'}"
        )
    return found
