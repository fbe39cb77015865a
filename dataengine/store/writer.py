"""The one writer of a store: appends that are durable when they return.

Each commit follows one order, and LeRobot or our reader may open the store, and the process be killed, between
any two steps: videos and data, labels, episodes, tasks and stats, the commit record, and info.json last, each synced
and renamed; histograms, which only the record names, at any time before it. What an unfinished commit left is
removed by the next writer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from dataengine.episode import Episode, meta_from_json
from dataengine.errors import EpisodeError, StoreError
from dataengine.guard import sha256_file
from dataengine.store import camera_stats, files, labels, language, layout, schema, stats, tasks
from dataengine.store import episodes as tables
from dataengine.store.commit import Commit, hashes
from dataengine.store.lock import WriterLock, label_lock
from dataengine.store.recording import Recording
from dataengine.store.recover import keep, note_labels, recover
from dataengine.store.shard import TASK, Shard, seal
from dataengine.store.store import Store

# An append rewrites the last episodes file; beyond this many rows a new one is begun.
EPISODES_PER_FILE = 250


@dataclass
class _Pending:
    """What commits of this call have added in memory and not yet published."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    frames: int = 0
    cameras: dict[str, dict[str, stats.Sketch]] = field(default_factory=dict)


class Writer:
    """Holds the store's lock from `with` to its end. `StoreLocked` names who has it.

    recovered: what the last writer had left unfinished, and was removed at the start. sketches: what is known of every
    feature.
    """

    def __init__(self, store: Store) -> None:
        if store.commit is None:
            raise StoreError(
                f"{store.root} was not made by this engine and is read only; convert it into a store first"
            )
        self.store = store
        self.root = store.root
        self.recovered: list[str] = []
        self.sketches: dict[str, stats.Sketch] = {}
        self._lock = WriterLock(self.root)
        self._open = False

    def __enter__(self) -> Self:
        self._lock.acquire()
        try:
            self.recovered = recover(self.root)
            self._load()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock. Everything acknowledged is on the disk already."""
        self._open = False
        self._lock.release()
        if self.store.commit is not None and self.store.commit.generation != self._commit.generation:
            self.store.reload()

    def _load(self) -> None:
        self.store.reload()
        assert self.store.commit is not None
        self._commit: Commit = self.store.commit
        self._tasks = {text: index for index, text in enumerate(self.store.tasks)}
        self._ids = dict(self.store.table_of_episodes.place)
        sketch = self._commit.sketch
        self.sketches = stats.load(self.root / sketch) if sketch else {}
        self._tail = tables.schema(self.store.features).empty_table()
        if self._commit.episode_files and self._commit.episode_files[-1][1] < EPISODES_PER_FILE:
            path, rows = self._commit.episode_files[-1]
            self._tail = files.read_table(self.root / path).slice(0, rows)
        self._open = True

    def append(self, episode: Episode) -> int:
        """Seal and commit; the episode's index. An id that the store has is not written again."""
        self._check_open()
        if episode.id in self._ids:
            return self._ids[episode.id]
        if abs(episode.fps - self.store.fps) > 1e-6 * self.store.fps:
            reason = f"it has {episode.fps:g} frames a second, the store {self.store.fps:g}; resample it first"
            raise EpisodeError(episode.id, reason)
        folder = self.root / layout.STAGING / (episode.id if episode.id.isalnum() else f"x{len(self._ids)}")
        try:
            threads = len(os.sched_getaffinity(0))
            return self.commit(
                seal(episode, folder, features=self.store.features, codec=self.store.codec, threads=threads, hold=True)
            )
        finally:
            files.remove(folder)

    def record(self, identity: str | None = None, buffer_bytes: int = 128 << 20) -> Recording:
        """An episode that is encoded while it happens, frame by frame; parameters as for `Recording`."""
        self._check_open()
        return Recording(self, identity, buffer_bytes)

    def commit(self, shard: Shard) -> int:
        """Make a sealed episode part of the store: durable when this returns. Gives its index.

        Raises `EpisodeError` if the shard does not fit; the store is then as before.
        """
        return self.commit_all([shard])[0]

    def commit_all(self, shards: Sequence[Shard]) -> list[int]:
        """Several at once: one set of metadata files is written for all of them, and all or none count."""
        self._check_open()
        new: dict[str, Shard] = {}
        for shard in shards:
            if shard.episode_id not in self._ids:
                shard.check(self.store.fps, self.store.features)
                new.setdefault(shard.episode_id, shard)
        if new:
            try:
                self._publish(list(new.values()))
            except BaseException:
                # Memory may be ahead of the disk; the disk is right.
                recover(self.root)
                self._load()
                raise
        return [self._ids[shard.episode_id] for shard in shards]

    def _publish(self, shards: Sequence[Shard]) -> None:
        commit, info = self._commit, json.loads(json.dumps(self._commit.info))
        pending, sketch = _Pending(), layout.sketch_path(commit.generation + 1)
        for shard in shards:
            self._add(shard, commit, info, pending)
        keep(self.root, [*commit.sha256, layout.INFO])
        camera_stats.write(self.root, commit.generation + 1, camera_stats.to_table(pending.cameras))
        stats.save(self.root / sketch, self.sketches)
        self._place_labels(shards)
        added = tables.of_rows(pending.rows, self.store.features)
        episode_files, next_episodes = self._write_episodes(commit, added)
        info["total_episodes"] = commit.episodes + len(shards)
        info["total_frames"] = commit.frames + pending.frames
        info["total_tasks"] = len(self._tasks)
        info["splits"] = {"train": f"0:{info['total_episodes']}"}
        if len(self._tasks) != commit.info["total_tasks"]:
            tasks.write(self.root, list(self._tasks))
        files.write_json(self.root / layout.STATS, stats.as_json(self.sketches, info))
        self._commit = commit.next(
            episodes=info["total_episodes"],
            frames=info["total_frames"],
            next_data=commit.next_data + len(shards),
            next_video=commit.next_video + len(shards),
            next_episodes=next_episodes,
            info=info,
            episode_files=episode_files,
            sketch=sketch,
            sha256=hashes(self.root, commit, episode_files, sketch),
        )
        self._commit.write(self.root)
        files.remove(self.root / layout.UNDO)
        if commit.sketch:
            files.remove(self.root / commit.sketch)
        for offset, shard in enumerate(shards):
            self._ids[shard.episode_id] = commit.episodes + offset

    def _add(self, shard: Shard, commit: Commit, info: dict[str, Any], pending: _Pending) -> None:
        """Place one shard's files under their final names and make its row of the episodes table."""
        place = len(pending.rows)
        index, begin = commit.episodes + place, commit.frames + pending.frames
        row = tables.meta_columns(shard.episode_id, meta_from_json(shard.manifest["meta"]))
        row |= {"episode_index": index, "tasks": list(shard.manifest["meta"]["tasks"]), "length": shard.length}
        row |= {"dataset_from_index": begin, "dataset_to_index": begin + shard.length}
        sketches = shard.sketches()
        for key, video in shard.manifest["videos"].items():
            number = commit.next_video + place
            files.place(shard.file(video["file"]), self.root / layout.video_path(key, number))
            row |= layout.columns(f"videos/{key}", number)
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": shard.length / self.store.fps}
            row |= {f"sha256/{key}": video["sha256"], f"packets/{key}": video["packets"]}
            if not commit.episodes and not place:
                info["features"][key]["info"] = {**video["info"], **info["features"][key].get("info", {})}
        row |= self._write_data(shard, commit.next_data + place, index, begin)
        pending.cameras[shard.episode_id] = sketches
        for key, sketch in sketches.items():
            if key in self.store.cameras:
                stats.merge_in(self.sketches, key, sketch)
            for name, value in stats.shaped(sketch.summary(), self.store.features[key]).items():
                row[f"stats/{key}/{name}"] = value
        row |= layout.columns(layout.EPISODES, self._tail_number(commit, place))
        pending.rows.append(row)
        pending.frames += shard.length

    def _place_labels(self, shards: Sequence[Shard]) -> None:
        """Side tables are nobody's commit, so those that go with this one are noted first, to be taken back."""
        with label_lock(self.root):
            places = {
                labels.place_for(self.root, name, label["sha256"]): shard.file(label["file"])
                for shard in shards
                for name, label in shard.manifest["labels"].items()
            }
            if places:
                note_labels(self.root, self._commit.generation + 1, places)
            for place, file in places.items():
                if not place.exists():
                    files.place(file, place)

    def _write_data(self, shard: Shard, number: int, index: int, begin: int) -> dict[str, Any]:
        """The data file of one episode with its position columns; gives its columns of the episodes row."""
        table, count = shard.table(), shard.length
        texts = shard.manifest["meta"]["tasks"]
        for text in texts:
            self._tasks.setdefault(text, len(self._tasks))
        local = np.array([self._tasks[text] for text in texts], np.int64)
        frames = np.arange(count, dtype=np.int64)
        position = {
            "timestamp": (frames / self.store.fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(count, index, np.int64),
            "index": frames + begin,
            "task_index": local[schema.numbers(table.column(TASK))],
        }
        columns = {name: table.column(name) for name in table.column_names if name != TASK}
        columns |= {name: pa.chunked_array([values]) for name, values in position.items()}
        columns |= self._language(shard)
        wanted = schema.data_schema(self.store.features, self.store.languages)
        path = layout.data_path(number)
        files.write_table(self.root / path, pa.table([columns[name] for name in wanted.names], schema=wanted))
        row: dict[str, Any] = {"sha256/data": sha256_file(self.root / path), **layout.columns("data", number)}
        numeric = {k: f for k, f in (self.store.features | schema.POSITION).items() if tables.has_numbers(f)}
        counted = {k: c for k, c in shard.counted().items() if c.fits(self.sketches.get(k))}
        left = {k: f for k, f in numeric.items() if k not in counted}
        found = {k: position[k] if k in position else schema.to_numpy(columns[k], f, k) for k, f in left.items()}
        counted |= stats.count(found, left, self.sketches)
        for key, feature in numeric.items():
            stats.merge_in(self.sketches, key, counted[key].sketch)
            for name, value in stats.shaped(counted[key].summary, feature).items():
                row[f"stats/{key}/{name}"] = value
        return row

    def _language(self, shard: Shard) -> dict[str, pa.Array]:
        if not self.store.languages:
            return {}
        spoken = {}
        for name, label in shard.manifest["labels"].items():
            entry = labels.index_file(shard.file(label["file"]))[shard.episode_id]
            if language.speaks(name, labels.read(entry)):
                spoken[name] = labels.read(entry)
        return language.columns(shard.episode_id, shard.length, self.store.fps, spoken, self.store.cameras)

    def _tail_number(self, commit: Commit, place: int) -> int:
        """Number of the episodes file in which a row goes: the last while it has room, then the next ones."""
        room = EPISODES_PER_FILE - self._tail.num_rows if self._tail.num_rows else 0
        if place < room:
            return layout.number_of(commit.episode_files[-1][0]) or 0
        return commit.next_episodes + (place - room) // EPISODES_PER_FILE

    def _write_episodes(self, commit: Commit, added: pa.Table) -> tuple[tuple[tuple[str, int], ...], int]:
        listed = list(commit.episode_files)
        if self._tail.num_rows:
            listed.pop()
        following, done = commit.next_episodes, 0
        tail = self._tail
        while done < added.num_rows:
            if tail.num_rows >= EPISODES_PER_FILE:
                tail = tail.slice(0, 0)
            fresh = tail.num_rows == 0
            number = self._tail_number(commit, done)
            part = added.slice(done, EPISODES_PER_FILE - tail.num_rows)
            tail = pa.concat_tables([tail, part]).combine_chunks()
            path = layout.episodes_path(number)
            # Of 139 columns and few rows: zstd would take half as long again, and saves 1 KB an episode.
            files.write_table(self.root / path, tail, compression="snappy")
            listed.append((path, tail.num_rows))
            following += fresh
            done += part.num_rows
        self._tail = tail if tail.num_rows < EPISODES_PER_FILE else tail.slice(0, 0)
        return tuple(listed), following

    def _check_open(self) -> None:
        if not self._open:
            raise StoreError("the writer is closed; use it inside `with store.writer() as writer:`")
