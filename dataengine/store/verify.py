"""Is the store what it says? Every check LeRobot leaves out, and a digest of the content.

Works on foreign datasets too. A problem names the file, the episode and what would have been right; checks go
on after the first one. Nothing is decoded unless `deep`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.episode import hash_array, hash_table, meta_to_json
from dataengine.errors import DataEngineError
from dataengine.guard import read_json, safe_join, sha256_file
from dataengine.store import camera_stats, labels, layout, schema, stats
from dataengine.store.episodes import video_keys
from dataengine.store.packets import packet_digest
from dataengine.store.recover import kept
from dataengine.store.rows import read_rows
from dataengine.store.store import Store


@dataclass(frozen=True)
class Problem:
    """kind: missing, damaged, checksum, count, order, values, statistics, labels. episode: index, where known."""

    kind: str
    place: str
    reason: str
    episode: int | None = None

    def __str__(self) -> str:
        return f"{self.place}" + (f", episode {self.episode}" if self.episode is not None else "") + f": {self.reason}"


@dataclass(frozen=True)
class VerifyReport:
    """problems: empty if all is well. digest: of the content, where it could be read."""

    problems: tuple[Problem, ...]
    episodes: int
    frames: int
    files: int
    digest: str | None = None
    deep: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        if self.ok:
            return f"{self.episodes} episodes, {self.frames} frames, {self.files} files: all as it should be"
        return "\n".join(map(str, self.problems))


def verify(store: Store, *, deep: bool = False) -> VerifyReport:
    """Check row counts, ranges, order, finite values, videos against rows, checksums, statistics and labels."""
    problems: list[Problem] = []
    seen: set[str] = set()
    problems += _metadata(store, seen)
    damaged = set()
    for index in range(len(store)):
        found = [*_rows(store, index, seen), *_videos(store, index, seen, deep)]
        problems += found
        damaged |= {index} if found else set()
    problems += _labels(store)
    if not problems:
        problems += _statistics(store)
    whole = None
    if not problems:
        whole = digest(store)
    notes = () if store.commit else ("not made by this engine: without checksums, a changed value may go unseen",)
    return VerifyReport(tuple(problems), len(store), store.frames, len(seen), whole, deep, notes)


def _metadata(store: Store, seen: set[str]) -> Iterator[Problem]:
    table = store.table_of_episodes
    begin = np.concatenate([[0], table.stop[:-1]]) if len(table) else np.zeros(0)
    for name, bad in {
        "dataset_from_index": table.start != begin if len(table) else np.zeros(0, bool),
        "dataset_to_index": table.stop - table.start != table.length if len(table) else np.zeros(0, bool),
    }.items():
        for index in np.flatnonzero(bad)[:10]:
            yield Problem("order", layout.EPISODES, f"{name} does not continue the episode before", int(index))
    if store.frames != store.info["total_frames"]:
        yield Problem(
            "count", layout.INFO, f"total_frames is {store.info['total_frames']}, the episodes have {store.frames}"
        )
    if store.commit is None:
        return
    for path, expected in store.commit.sha256.items():
        seen.add(path)
        if not _under_way(store, path, expected):
            yield from _checksum(store, path, expected, None)
    for file in camera_stats.paths(store.root):
        seen.add(path := file.relative_to(store.root).as_posix())
        yield from _checksum(store, path, camera_stats.digest_of(file), None)
    try:
        info = read_json(store.root / layout.INFO)
        old = kept(store.root, layout.INFO)
        if info == store.commit.info or (old.exists() and info == read_json(old)):
            return
    except DataEngineError as error:
        yield Problem("damaged", layout.INFO, str(error))
        return
    yield Problem("checksum", layout.INFO, "is not what the last commit wrote")


def _under_way(store: Store, path: str, expected: str) -> bool:
    """Whether a commit, alive or killed, has replaced this file and keeps what it was."""
    old = kept(store.root, path)
    return old.exists() and sha256_file(old) == expected


def _checksum(store: Store, relative: str, expected: str, episode: int | None) -> Iterator[Problem]:
    try:
        found = sha256_file(safe_join(store.root, relative))
    except DataEngineError as error:
        yield Problem("missing", relative, str(error), episode)
        return
    if not found.startswith(expected):
        yield Problem("checksum", relative, f"its sha256 is {found[:12]}…, {expected[:12]}… was written", episode)


def _rows(store: Store, index: int, seen: set[str]) -> Iterator[Problem]:
    """One episode's rows: there, in order, on the clock, finite, of known tasks."""
    relative, row = store.table_of_episodes.data(index)
    count, start = int(store.table_of_episodes.length[index]), int(store.table_of_episodes.start[index])
    try:
        path = safe_join(store.root, relative)
        if not path.is_file():
            yield Problem("missing", relative, "the data file is missing", index)
            return
        if relative not in seen:
            seen.add(relative)
            if expected := store.table_of_episodes.value("sha256/data", index):
                yield from _checksum(store, relative, expected, index)
            yield from _file_rows(store, relative, index)
        table = read_rows(path, row, count)
    except (DataEngineError, OSError, pa.ArrowException) as error:
        yield Problem("damaged", relative, str(error), index)
        return
    frames = np.arange(count)
    expectations = {"episode_index": np.full(count, index), "frame_index": frames, "index": frames + start}
    for name, want in expectations.items():
        if name not in table.column_names:
            yield Problem("damaged", relative, f"the column {name!r} is missing", index)
        elif not np.array_equal(table.column(name).to_numpy(), want):
            at = int(np.argmax(table.column(name).to_numpy() != want))
            yield Problem(
                "order", relative, f"{name} is {table.column(name)[at]} at frame {at}, expected {want[at]}", index
            )
    if "timestamp" in table.column_names:
        off = np.abs(table.column("timestamp").to_numpy() - frames / store.fps)
        if off.max(initial=0) > 1e-4:
            yield Problem(
                "order", relative, f"timestamp is {off.max():.4g} s off frame / fps at frame {int(off.argmax())}", index
            )
    if "task_index" in table.column_names:
        used = table.column("task_index").to_numpy()
        if used.min(initial=0) < 0 or used.max(initial=0) >= len(store.tasks):
            yield Problem("values", relative, f"task_index points outside the {len(store.tasks)} tasks", index)
    for key, feature in store.features.items():
        if feature.is_camera:
            continue
        try:
            values = schema.to_numpy(table.column(key), feature, repr(key))
        except (DataEngineError, KeyError) as error:
            yield Problem("values", relative, str(error), index)
            continue
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            at = int(np.argmin(np.isfinite(values).reshape(count, -1).all(1)))
            yield Problem("values", relative, f"{key!r} holds NaN or Inf at frame {at}", index)


def _file_rows(store: Store, relative: str, index: int) -> Iterator[Problem]:
    """A data file holds the rows of its episodes and no others, as LeRobot addresses rows by position."""
    want = store.table_of_episodes.rows_of_file(index)
    have = pq.read_metadata(store.root / relative).num_rows
    if have != want:
        yield Problem("count", relative, f"it has {have} rows, its episodes {want}", index)


def _videos(store: Store, index: int, seen: set[str], deep: bool) -> Iterator[Problem]:
    rows = int(store.table_of_episodes.length[index])
    for key in video_keys(store.features):
        relative = key
        try:
            relative, begin = store.table_of_episodes.video(index, key)
            path = safe_join(store.root, relative)
            if not path.is_file():
                yield Problem("missing", relative, f"the video of camera {key!r} is missing", index)
                continue
            if relative not in seen:
                seen.add(relative)
                if expected := store.table_of_episodes.value(f"sha256/{key}", index):
                    yield from _checksum(store, relative, expected, index)
            end = store.table_of_episodes.value(f"videos/{key}/to_timestamp", index)
            if end is not None and round((end - begin) * store.fps) != rows:
                span = (end - begin) * store.fps
                yield Problem(
                    "count", relative, f"from_timestamp to to_timestamp are {span:.2f} frames, {rows} rows", index
                )
            packets, frames = packet_digest(path, begin, rows, store.fps)
            if frames != rows:
                yield Problem("count", relative, f"camera {key!r} has {frames} frames, {rows} rows", index)
            expected = store.table_of_episodes.value(f"packets/{key}", index)
            if expected and expected != packets:
                yield Problem(
                    "checksum", relative, f"the packets of camera {key!r} are not those that were written", index
                )
            if deep and (shown := sum(1 for _ in store.clip(index, key).frames())) != rows:
                yield Problem("count", relative, f"camera {key!r} decodes to {shown} frames, {rows} rows", index)
        except DataEngineError as error:
            yield Problem("damaged", relative, str(error), index)
    if deep:
        yield from _pictures(store, index)


def _pictures(store: Store, index: int) -> Iterator[Problem]:
    for key in (k for k in store.cameras if store.features[k].dtype == "image"):
        try:
            for _ in store.clip(index, key).frames():
                pass
        except DataEngineError as error:
            yield Problem("damaged", key, str(error), index)


def _labels(store: Store) -> Iterator[Problem]:
    for name in labels.names(store.root):
        try:
            for identity, entry in labels.index(store.root, name).items():
                if identity in store.table_of_episodes.place:
                    length = int(store.table_of_episodes.length[store.index(identity)])
                    labels.check(identity, length, name, labels.read(entry))
        except DataEngineError as error:
            yield Problem("labels", f"{layout.LABELS}/{name}", str(error))


def _statistics(store: Store) -> Iterator[Problem]:
    """Minimum, maximum, mean and count of every column, recomputed from its rows."""
    under_way = store.commit is not None and _under_way(store, layout.STATS, store.commit.sha256[layout.STATS])
    if not len(store) or under_way:
        return
    given = store.stats()
    keys = [k for k, f in store.features.items() if not f.is_camera and f.dtype != "string"]
    for key in store.cameras:
        if key not in given:
            reason = f"camera {key!r} has none; training with ImageNet statistics fails"
            yield Problem("statistics", layout.STATS, reason)
    if not keys:
        return
    table = store.table(keys)
    for key in keys:
        values = stats.column_values(schema.to_numpy(table.column(key), store.features[key], key), store.features[key])
        if key not in given:
            yield Problem("statistics", layout.STATS, f"feature {key!r} has none")
            continue
        scale = np.maximum(np.abs(values).max(0), 1e-6)
        for name, want in {"min": values.min(0), "max": values.max(0), "mean": values.mean(0)}.items():
            have: Any = given[key].get(name)
            if have is None or have.size != want.size or (np.abs(have.reshape(-1) - want) > 1e-3 * scale).any():
                yield Problem("statistics", layout.STATS, f"{name} of {key!r} is not that of its {len(values)} values")


def digest(store: Store) -> str:
    """sha256 over episodes in order: id, meta, columns, compressed pictures, labels; and the features."""
    whole = hashlib.sha256()
    features = {key: [f.dtype, f.shape, f.names, f.unit, f.role] for key, f in sorted(store.features.items())}
    whole.update(json.dumps([store.fps, features], sort_keys=True).encode())
    for index in range(len(store)):
        episode = store[index]
        parts: dict[str, Any] = {key: hash_array(column) for key, column in episode.frames.items()}
        for key in store.cameras:
            if store.features[key].dtype == "video":
                relative, begin = store.table_of_episodes.video(index, key)
                parts[key], _ = packet_digest(safe_join(store.root, relative), begin, episode.length, store.fps)
            else:
                parts[key] = episode.clips[key].fingerprint
        for name, label in episode.labels.items():
            values = pa.Table.from_pylist(label.table.to_pylist()) if label.table.num_rows else pa.table({})
            parts[f"label:{name}"] = [label.kind, hash_table(values)]
        if episode.frame_tasks is not None:
            parts["frame_tasks"] = hash_array(episode.frame_tasks)
        whole.update(json.dumps([episode.id, meta_to_json(episode.meta), parts], sort_keys=True, default=str).encode())
    return whole.hexdigest()
