"""Reading frames: one episode, one camera, or columns of many episodes at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from dataengine.episode import Clip, Episode, Label, Meta
from dataengine.errors import StoreError
from dataengine.guard import safe_join
from dataengine.store import language, schema
from dataengine.store.metadata import Metadata
from dataengine.store.pictures import PictureClip
from dataengine.store.rows import columns_of, read_rows
from dataengine.video import DepthCoding, VideoClip


def read_episode(root: Path, meta: Metadata, index: int, joined: Mapping[str, Label]) -> Episode:
    """An episode with its columns in memory, its clips to be decoded, `joined` its labels by name.

    Raises `StoreError` naming what is missing, damaged, or does not belong to this episode.
    """
    columns = [key for key, feature in meta.features.items() if not feature.is_camera]
    path, row, rows = place(root, meta, index)
    table = read_rows(path, row, rows, [*columns, "episode_index", "task_index", *_language_columns(meta, path)])
    identity = meta.episodes.ids[index]
    where = f"{path.name}, episode {index} ({identity})"
    if (schema.numbers(table.column("episode_index")) != index).any():
        raise StoreError(f"{where}: rows {row} to {row + rows} are another episode's; run verify")
    about, frame_tasks = _tasks(meta, index, schema.numbers(table.column("task_index")), where)
    found: dict[str, Label] = {}
    for key in language.LANGUAGE_COLUMNS:
        if key in table.column_names and (said := language.read(table.column(key), key, meta.fps, f"{where}, {key}")):
            found[key] = said
    return Episode(
        identity,
        meta.fps,
        dict(meta.features),
        {key: schema.to_numpy(table.column(key), meta.features[key], f"{where}, {key!r}") for key in columns},
        {key: read_clip(root, meta, index, key) for key, feature in meta.features.items() if feature.is_camera},
        {**found, **joined},
        about,
        frame_tasks,
    )


def place(root: Path, meta: Metadata, index: int) -> tuple[Path, int, int]:
    """Data file, first row and number of rows of an episode."""
    relative, row = meta.episodes.data(index)
    return safe_join(root, relative), row, int(meta.episodes.length[index])


def read_clip(root: Path, meta: Metadata, index: int, key: str) -> Clip:
    """One camera of one episode, nothing decoded. Raises `StoreError` naming a missing video."""
    feature = meta.features[key]
    height, width = feature.shape[:2]
    if feature.dtype == "image":
        path, row, rows = place(root, meta, index)
        unit = str(feature.info.get("depth_unit", "mm"))
        kind: Literal["rgb", "depth"] = "depth" if schema.is_depth(feature) else "rgb"
        return PictureClip(path, key, row, rows, meta.fps, height, width, kind, unit)
    relative, begin = meta.episodes.video(index, key)
    path, rows = safe_join(root, relative), int(meta.episodes.length[index])
    if not path.exists():
        raise StoreError(f"{path} is missing: camera {key!r} of episode {index} (an incomplete download?)")
    depth = DepthCoding.from_info(feature.info)
    if meta.commit is None:  # somebody else's clock: look where in the file that time is
        return VideoClip.from_file(path, length=rows, fps=meta.fps, from_timestamp=begin, depth=depth)
    return VideoClip(path, round(begin * meta.fps), rows, meta.fps, height, width, "depth" if depth else "rgb", depth)


def read_table(root: Path, meta: Metadata, columns: Sequence[str] | None, episodes: Iterable[int]) -> pa.Table:
    """Rows of these episodes in order; no video is opened. Neighbours in one file are read in one go."""
    parts: list[tuple[Path, int, int]] = []
    for index in episodes:
        path, row, rows = place(root, meta, index)
        if parts and parts[-1][0] == path and parts[-1][1] + parts[-1][2] == row:
            parts[-1] = (path, parts[-1][1], parts[-1][2] + rows)
        else:
            parts.append((path, row, rows))
    if not parts:
        nothing = schema.data_schema(meta.features, meta.languages).empty_table().replace_schema_metadata()
        return nothing if columns is None else nothing.select(list(columns))
    tables = [read_rows(path, row, rows, columns).replace_schema_metadata() for path, row, rows in parts]
    return pa.concat_tables(tables, promote_options="permissive")


def _tasks(meta: Metadata, index: int, task_index: np.ndarray, where: str) -> tuple[Meta, np.ndarray | None]:
    """What is known of the episode, its tasks complete, and which holds at each frame if that is not the first."""
    if not 0 <= task_index.min(initial=0) <= task_index.max(initial=0) < max(len(meta.tasks), 1):
        raise StoreError(f"{where}: task_index points outside the {len(meta.tasks)} tasks")
    about = meta.episodes.meta(index)
    about = replace(about, embodiment=about.embodiment or meta.info.get("robot_type"))
    if not meta.tasks:
        return about, None
    used = list(dict.fromkeys(task_index.tolist()))
    tasks = tuple(dict.fromkeys((*about.tasks, *(meta.tasks[i] for i in used))))
    about = replace(about, tasks=tasks)
    local = {i: tasks.index(meta.tasks[i]) for i in used}
    if set(local.values()) <= {0}:
        return about, None
    return about, np.array([local[i] for i in task_index.tolist()], np.int64)


def _language_columns(meta: Metadata, path: Path) -> list[str]:
    """Language columns to read as labels: not those that were made from side tables of ours."""
    if not meta.languages or (meta.commit and any("language" in made for made in meta.commit.materialized.values())):
        return []
    present = columns_of(path)
    return [key for key in meta.languages if key in present]
