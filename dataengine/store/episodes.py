"""The table of episodes: LeRobot's columns, statistics, and what LeRobot lacks, a row per episode.

LeRobot looks rows up by position, so they are always 0..N-1 in order of files and rows. Our columns
(`OURS`) stand in every file: who, when it succeeded, where it came from, what was done to it, and the
sha256 of the files that hold it – together with the commit record, which holds the sha256 of these files, a
manifest of the whole store that grows by a row per episode.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.episode import Feature, Meta, episode_id, meta_from_json, meta_to_json
from dataengine.errors import StoreError
from dataengine.guard import safe_join
from dataengine.store import files, layout, stats
from dataengine.store.schema import POSITION, numbers

OURS = {
    "episode_id": pa.string(),
    "success": pa.bool_(),
    "operator": pa.string(),
    "embodiment": pa.string(),
    "licence": pa.string(),
    "quality": pa.float64(),
    "split": pa.string(),
    "parent": pa.string(),
    "source": pa.string(),  # JSON, as are lineage and extra
    "lineage": pa.string(),
    "extra": pa.string(),
    "sha256/data": pa.string(),
}
_FILE = ("chunk_index", "file_index")
_JSON = ("source", "lineage", "extra")
_PLACE = ("data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index")


def schema(features: Mapping[str, Feature]) -> pa.Schema:
    """Columns and types of every episodes file of a store with these features."""
    fields = [("episode_index", pa.int64()), ("tasks", pa.list_(pa.string())), ("length", pa.int64())]
    fields += [(name, pa.int64()) for name in _PLACE]
    fields += list(OURS.items())
    for key in video_keys(features):
        fields += [(f"videos/{key}/{name}", pa.int64()) for name in ("chunk_index", "file_index")]
        fields += [(f"videos/{key}/{name}", pa.float64()) for name in ("from_timestamp", "to_timestamp")]
        fields += [(f"sha256/{key}", pa.string()), (f"packets/{key}", pa.string())]
    for key, feature in (*features.items(), *POSITION.items()):
        if feature.dtype == "string":
            continue
        kind: pa.DataType = pa.list_(pa.float64())
        if feature.is_camera:
            kind = pa.list_(pa.list_(kind))
        fields += [(f"stats/{key}/{n}", pa.list_(pa.int64()) if n == "count" else kind) for n in stats.NAMES]
    fields += [("meta/episodes/chunk_index", pa.int64()), ("meta/episodes/file_index", pa.int64())]
    return pa.schema(fields)


def of_rows(rows: Sequence[Mapping[str, Any]], features: Mapping[str, Feature]) -> pa.Table:
    """A table of whole rows; what one does not say is null. Not by `from_pylist`, which takes twice the time."""
    return pa.Table.from_struct_array(pa.array(rows, pa.struct(list(schema(features)))))


def split(name: str) -> tuple[str, str, str]:
    """A column's name as what stands before, the feature's key (empty if it is about none), and what stands after."""
    for prefix in ("videos/", "stats/"):
        if name.startswith(prefix):
            key, _, rest = name.removeprefix(prefix).rpartition("/")
            return prefix, key, f"/{rest}"
    for prefix in ("sha256/", "packets/"):
        if name.startswith(prefix) and name != "sha256/data":
            return prefix, name.removeprefix(prefix), ""
    return name, "", ""


def has_numbers(feature: Feature) -> bool:
    """Whether its values stand in the table and have statistics."""
    return not feature.is_camera and feature.dtype != "string"


def video_keys(features: Mapping[str, Feature]) -> list[str]:
    return [key for key, feature in features.items() if feature.dtype == "video"]


def meta_columns(identity: str, meta: Meta) -> dict[str, Any]:
    """`OURS` of one episode, but for the hashes."""
    plain = meta_to_json(meta)
    row = {name: plain.get(name) for name in OURS if name not in ("episode_id", "sha256/data")}
    for name in _JSON:
        row[name] = json.dumps(plain[name], sort_keys=True, ensure_ascii=False, default=str)
    return {"episode_id": identity, **row}


@dataclass(frozen=True)
class Episodes:
    """All rows but the statistics, in memory."""

    table: pa.Table
    ids: tuple[str, ...]
    fps: float
    info: Mapping[str, Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def length(self) -> np.ndarray:
        return self._numbers("length")

    @cached_property
    def start(self) -> np.ndarray:
        """Global number of every episode's first frame."""
        return self._numbers("dataset_from_index")

    @cached_property
    def stop(self) -> np.ndarray:
        return self._numbers("dataset_to_index")

    @cached_property
    def place(self) -> dict[str, int]:
        return {identity: index for index, identity in enumerate(self.ids)}

    @cached_property
    def _files(self) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
        """Each episode's (chunk, file), and the first global frame of every data file."""
        keys = np.stack([self._numbers("data/chunk_index"), self._numbers("data/file_index")], 1)
        first: dict[tuple[int, int], int] = {}
        for (chunk, file), start in zip(keys.tolist(), self.start.tolist(), strict=True):
            first[chunk, file] = min(first.get((chunk, file), start), start)
        return keys, first

    def data(self, index: int) -> tuple[str, int]:
        """The data file of an episode, and its first row there."""
        keys, first = self._files
        chunk, file = int(keys[index][0]), int(keys[index][1])
        path = layout.expand(str(self.info.get("data_path") or layout.DATA_TEMPLATE), chunk, file)
        return path, int(self.start[index]) - first[chunk, file]

    def rows_of_file(self, index: int) -> int:
        """How many rows the data file of an episode has, its neighbours' included."""
        keys, _ = self._files
        return int(self.length[(keys == keys[index]).all(1)].sum())

    @cached_property
    def _videos(self) -> dict[str, list[tuple]]:
        """By camera, once it was asked for: chunk, file and from_timestamp of every episode."""
        return {}

    def video(self, index: int, key: str) -> tuple[str, float]:
        """The video file of an episode's camera, and where in it the episode begins in [s]."""
        try:
            if key not in self._videos:
                columns = [self.table.column(f"videos/{key}/{name}").to_pylist() for name in (*_FILE, "from_timestamp")]
                self._videos[key] = list(zip(*columns, strict=True))
            chunk, file, begin = (kind(v) for kind, v in zip((int, int, float), self._videos[key][index], strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"the episodes table does not say where the video of {key!r} is") from error
        template = str(self.info.get("video_path") or layout.VIDEO_TEMPLATE)
        return layout.expand(template, chunk, file, key), begin

    def value(self, name: str, index: int) -> Any:
        return self.table.column(name)[index].as_py() if name in self.table.column_names else None

    def meta(self, index: int) -> Meta:
        row: dict[str, Any] = {
            name: self.value(name, index) for name in OURS if name not in ("episode_id", "sha256/data")
        }
        for name in _JSON:
            row[name] = json.loads(row[name]) if row[name] else ([] if name == "lineage" else {})
        row["tasks"] = self.value("tasks", index) or []
        return meta_from_json(row)

    def _numbers(self, name: str) -> np.ndarray:
        return _numbers(self.table, name)


def read(root: Path, info: Mapping[str, Any], files: Sequence[str] | None, count: int) -> Episodes:
    """The first `count` rows; `files` of our commit record, or None: all that stand there, as LeRobot does.

    Raises `StoreError` for missing, unreadable or unordered rows. Episodes without an id of ours get one from
    what is known of their content and their place.
    """
    paths = (
        files
        if files is not None
        else sorted(p.relative_to(root).as_posix() for p in (root / layout.EPISODES).glob("*/*.parquet"))
    )
    ours = files is not None
    tables = [_read_file(safe_join(root, path), ours) for path in paths]
    if not tables and count:
        raise StoreError(f"{root / layout.EPISODES} holds no episodes, but info.json counts {count}")
    try:
        table = pa.concat_tables(tables, promote_options="permissive") if tables else _nothing()
    except pa.ArrowException as error:
        raise StoreError(f"{root / layout.EPISODES}: the files do not fit together: {error}") from error
    if table.num_rows < count:
        raise StoreError(f"{root / layout.EPISODES}: {table.num_rows} rows, but {count} episodes are counted")
    table = table.slice(0, count)
    table = table if ours else _without_strangers(table)
    if not np.array_equal(_numbers(table, "episode_index"), np.arange(count)):
        raise StoreError(f"{root / layout.EPISODES}: episode_index is not 0..{count - 1} in order")
    ids = table.column("episode_id").to_pylist() if "episode_id" in table.column_names else _derived_ids(table, info)
    keep = [name for name in table.column_names if not name.startswith("stats/")]
    return Episodes(table.select(keep).combine_chunks(), tuple(ids), float(info["fps"]), info)


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    if name not in table.column_names:
        raise StoreError(f"the episodes table lacks the column {name!r}")
    column = table.column(name)
    if column.null_count or not pa.types.is_integer(column.type):
        raise StoreError(f"the episodes table holds nulls or {column.type} in {name!r}; whole numbers are needed")
    return numbers(column).astype(np.int64)


def _without_strangers(table: pa.Table) -> pa.Table:
    """A foreign table without columns that have the name of one of ours and mean something else."""
    for name, kind in OURS.items():
        if name in table.column_names and not _is_ours(name, kind, table.column(name)):
            table = table.drop_columns([name])
    return table


def _is_ours(name: str, kind: pa.DataType, column: pa.ChunkedArray) -> bool:
    if column.type != kind:
        return False
    if name == "episode_id":
        return not column.null_count and len(column.unique()) == len(column)
    try:
        return name not in _JSON or all(isinstance(json.loads(v), dict | list) for v in column.to_pylist() if v)
    except ValueError:
        return False


def _nothing() -> pa.Table:
    return pa.schema([(name, pa.int64()) for name in ("episode_index", "length", *_PLACE)]).empty_table()


def _read_file(path: Path, ours: bool) -> pa.Table:
    try:
        names = pq.read_schema(path).names
        wanted = ("stats/action/", "stats/observation.state/")
        columns = [n for n in names if not n.startswith("stats/") or (not ours and n.startswith(wanted))]
        return files.read_table(path, columns, checked=ours).replace_schema_metadata()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _derived_ids(table: pa.Table, info: Mapping[str, Any]) -> list[str]:
    """Ids that stay when the dataset is moved, appended to or repacked: statistics, tasks and place."""
    names = [n for n in table.column_names if n.startswith("stats/") or n in ("tasks", "length")]
    base = f"{info.get('robot_type')}\0{info.get('fps')}\0{sorted(info.get('features', {}))}"
    return [
        episode_id(json.dumps([base, row], sort_keys=True, default=str), index)
        for index, row in enumerate(table.select(names).to_pylist())
    ]
