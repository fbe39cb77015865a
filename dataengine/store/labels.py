"""Side tables: what is said about episodes, each label written and replaced on its own.

`labels/<name>/<number>-<sha256>.parquet` holds a label of one or more episodes: a column `episode_id`, the
label's own columns, its episodes one after the other. A later number replaces, episode by episode, what an earlier
one says; no frame or other label is touched. Whoever adds or removes such a file holds `lock.label_lock`: a file
written between a look at the folder and what follows from that look would be lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataengine.episode import Episode, Feature, Label
from dataengine.errors import EpisodeError, StoreError
from dataengine.guard import safe_name
from dataengine.remote import openable
from dataengine.store import files, layout
from dataengine.store.rows import read_rows

_KEY = b"dataengine.labels"
ROWS_PER_GROUP = 4096
_KINDS: dict[str, tuple[str, ...]] = {"frame": (), "span": ("start", "stop"), "event": ("frame",), "episode": ()}


@dataclass(frozen=True)
class Entry:
    """Where one episode's label is: file, first row and number of rows, and what else makes it a `Label`."""

    path: Path
    row: int
    rows: int
    kind: str
    source: Mapping[str, Any]
    numbered: bool


def check(episode: str, length: int, name: str, label: Label) -> None:
    """Raise `EpisodeError` unless the label's table fits its kind and the episode's length."""
    if label.kind not in _KINDS:
        raise EpisodeError(episode, f"label {name!r} has kind {label.kind!r}; known: {', '.join(_KINDS)}")
    if missing := [c for c in _KINDS[label.kind] if c not in label.table.column_names]:
        raise EpisodeError(episode, f"label {name!r} of kind {label.kind} lacks the columns {', '.join(missing)}")
    if "episode_id" in label.table.column_names:
        raise EpisodeError(episode, f"label {name!r} has a column 'episode_id'; the store adds it")
    rows = label.table.num_rows
    if label.kind == "frame" and rows != length:
        raise EpisodeError(episode, f"label {name!r} has {rows} rows, the episode {length} frames")
    if label.kind in ("span", "event") and rows:
        places = [label.table.column(c).to_numpy() for c in _KINDS[label.kind]]
        low, high = min(p.min() for p in places), max(p.max() for p in places)
        if (
            low < 0
            or high > length - (label.kind == "event")
            or (label.kind == "span" and (places[1] <= places[0]).any())
        ):
            raise EpisodeError(episode, f"label {name!r} points outside frames 0..{length - 1}, or a span is empty")


def pack(name: str, labels: Mapping[str, Label]) -> tuple[pa.Table, list[int]]:
    """One table for a label of several episodes, all with the same columns, and the rows of its row groups, which
    hold whole episodes."""
    safe_name(name)
    sources: list[str] = []
    entries, tables = [], []
    for episode, label in labels.items():
        source = json.dumps(dict(label.source), sort_keys=True, default=str)
        if source not in sources:
            sources.append(source)
        table = label.table.replace_schema_metadata()
        numbered = label.kind == "frame" and "frame" not in table.column_names
        if numbered:
            table = table.add_column(0, "frame", pa.array(np.arange(table.num_rows)))
        entries.append([episode, table.num_rows, label.kind, sources.index(source), numbered])
        tables.append(table)
    table = pa.concat_tables(tables).combine_chunks()
    rows = np.repeat(np.arange(len(entries)), [entry[1] for entry in entries])
    ids = pa.DictionaryArray.from_arrays(pa.array(rows), pa.array(list(labels), pa.string()))
    table = table.add_column(0, "episode_id", ids.cast(pa.string()))
    head = {"name": name, "episodes": entries, "sources": [json.loads(s) for s in sources]}
    return table.replace_schema_metadata({_KEY: json.dumps(head)}), _groups([entry[1] for entry in entries])


def _groups(rows: list[int]) -> list[int]:
    """Each group costs 0.1 ms to write and is read as a whole for the label of one episode."""
    groups: list[int] = []
    for count in rows:
        if groups and groups[-1] + count <= ROWS_PER_GROUP:
            groups[-1] += count
        else:
            groups.append(count)
    return groups


def write(root: Path, name: str, labels: Mapping[str, Label]) -> set[Path]:
    """Add what replaces the label `name` of these episodes, a file for every set of columns that they have.

    Gives the files that say it. Idempotent for what is there already last.
    """
    folder, written = root / layout.LABELS / name, set()
    for alike in _alike(labels):
        table, groups = pack(name, alike)
        present = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
        number = int(present[-1].name.split("-")[0]) + 1 if present else 0
        path = files.put_table(folder, number, table, row_groups=groups or [0])
        if present and files.hash_in_name(present[-1]) == files.hash_in_name(path):
            files.remove(path)
            path = present[-1]
        written.add(path)
    return written


def _alike(labels: Mapping[str, Label]) -> list[dict[str, Label]]:
    """Labels by their columns and types: together they would be filled up with nulls, or become other numbers."""
    found: dict[tuple, dict[str, Label]] = {}
    for identity, label in labels.items():
        kind = (label.kind, *((field.name, str(field.type)) for field in label.table.schema))
        found.setdefault(kind, {})[identity] = label
    return list(found.values())


def place_for(root: Path, name: str, sha256: str) -> Path:
    """Where a finished label file goes, as a shard of a new episode brings it."""
    folder = root / layout.LABELS / safe_name(name)
    present = sorted(p.name for p in folder.glob("*.parquet")) if folder.is_dir() else []
    number = int(present[-1].split("-")[0]) + 1 if present else 0
    return folder / f"{number:08d}-{sha256[:16]}.parquet"


def names(root: Path) -> list[str]:
    folder = root / layout.LABELS
    return (
        sorted(p.name for p in folder.iterdir() if p.is_dir() and any(p.glob("*.parquet"))) if folder.is_dir() else []
    )


def index(root: Path, name: str) -> dict[str, Entry]:
    """Which file and row group holds the label of each episode. Raises `StoreError` for a file that is none."""
    for attempt in range(3):
        found: dict[str, Entry] = {}
        try:
            for path in sorted((root / layout.LABELS / name).glob("*.parquet")):
                found |= index_file(path)
            return found
        except FileNotFoundError:  # replaced by another process meanwhile
            if attempt == 2:
                raise
    raise AssertionError("not reached")


def index_file(path: Path) -> dict[str, Entry]:
    """The labels of one file, by episode id."""
    found: dict[str, Entry] = {}
    try:
        head = json.loads((pq.read_schema(openable(path)).metadata or {})[_KEY])
        row = 0
        for episode, rows, kind, source, numbered in head["episodes"]:
            found[episode] = Entry(path, row, int(rows), kind, head["sources"][source], numbered)
            row += int(rows)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError, IndexError) as error:
        raise StoreError(f"{path} is not a label file: {error}") from error
    return found


def read(entry: Entry) -> Label:
    """Raises `StoreError` when its file is damaged or gone."""
    table = read_rows(entry.path, entry.row, entry.rows)
    table = table.drop_columns(["episode_id", *(["frame"] if entry.numbered else [])]).replace_schema_metadata()
    return Label(entry.kind, table, entry.source)  # type: ignore[arg-type]


def prune(root: Path, name: str) -> None:
    """Delete files of which every label has been replaced by a later one."""
    used = {entry.path for entry in index(root, name).values()}
    for path in (root / layout.LABELS / name).glob("*.parquet"):
        if path not in used:
            files.remove(path)


def pack_files(root: Path, name: str) -> None:
    """One file instead of many; what it says stays the same."""
    folder = root / layout.LABELS / name
    if len(list(folder.glob("*.parquet"))) > 1:
        said = {identity: read(entry) for identity, entry in index(root, name).items()}
        if len(list(folder.glob("*.parquet"))) > len(_alike(said)):
            write(root, name, said)
            prune(root, name)


def forget(root: Path, name: str, gone: Set[str]) -> None:
    """Erase what a label says of these episodes."""
    folder = root / layout.LABELS / name
    said = index(root, name)
    if gone & said.keys():
        left = {identity: read(entry) for identity, entry in said.items() if identity not in gone}
        kept = write(root, name, left)
        for path in folder.glob("*.parquet"):
            if path not in kept:
                files.remove(path)


def columns(episode: Episode | str, length: int, name: str, label: Label) -> dict[str, tuple[Feature, np.ndarray]]:
    """A label's numbers as feature columns: `label.<name>` for one value, else `label.<name>.<column>`.

    A frame label gives its values, an episode label of one row repeats them, an event label says where one
    is (bool), a span label spreads its values over its frames: outside of spans false, or -1; a float must
    cover every frame, since there is no number for "nothing was said". Text is left to the language columns.
    """
    identity = episode if isinstance(episode, str) else episode.id
    if label.kind == "event":
        flags = np.zeros(length, bool)
        flags[label.table.column("frame").to_numpy()] = True
        return {f"label.{name}": (Feature("bool", (1,), role="label"), flags)}
    skip = {"start", "stop", "frame"} if label.kind == "span" else set()
    numbers = [c for c in label.table.column_names if c not in skip and _numeric(label.table.schema.field(c).type)]
    found: dict[str, tuple[Feature, np.ndarray]] = {}
    for column in numbers:
        values = _values(identity, name, label.table.column(column))
        if label.kind == "episode":
            if len(values) != 1:
                raise EpisodeError(identity, f"label {name!r} has {len(values)} rows; one can become a column")
            values = np.repeat(values, length, 0)
        elif label.kind == "span":
            values = _spread(identity, name, length, label.table, values)
        feature = Feature(str(values.dtype), values.shape[1:] or (1,), role="label")
        found[f"label.{name}" if len(numbers) == 1 else f"label.{name}.{column}"] = (feature, values)
    return found


def _numeric(kind: pa.DataType) -> bool:
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size > 0 and _numeric(kind.value_type) and not pa.types.is_nested(kind.value_type)
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _values(episode: str, name: str, column: pa.ChunkedArray) -> np.ndarray:
    array = column.combine_chunks()
    width = array.type.list_size if pa.types.is_fixed_size_list(array.type) else None
    flat = array.flatten() if width else array
    if (
        array.null_count
        or flat.null_count
        or (pa.types.is_floating(flat.type) and not pc.all(pc.is_finite(flat)).as_py())
    ):
        raise EpisodeError(episode, f"label {name!r} holds nulls or NaN and cannot become a column")
    values = flat.to_numpy(zero_copy_only=False)
    return values.reshape(-1, width) if width and width > 1 else values


def _spread(episode: str, name: str, length: int, table: pa.Table, values: np.ndarray) -> np.ndarray:
    fill = {"b": False, "u": 0, "i": -1}.get(values.dtype.kind, np.nan)
    spread = np.full((length, *values.shape[1:]), fill, values.dtype)
    for start, stop, value in zip(
        table.column("start").to_pylist(), table.column("stop").to_pylist(), values, strict=True
    ):
        spread[start:stop] = value
    if spread.dtype.kind == "f" and np.isnan(spread).any():
        frame = int(np.isnan(spread).reshape(length, -1).any(1).argmax())
        raise EpisodeError(episode, f"label {name!r} says nothing about some frames and is a float", frame=frame)
    return spread
