"""Building the next version of a store: packed, or with other columns in its table.

Data of up to a hundred episodes goes into one file, still a row group each; all episodes into one table; videos
are shared, or joined by packet copy where codec parameters allow. Files of the new version have numbers the old
one never used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature
from dataengine.errors import StoreError
from dataengine.guard import safe_join, sha256_file
from dataengine.store import episodes as tables
from dataengine.store import files, labels, layout, schema, stats, versions
from dataengine.store.lock import WriterLock
from dataengine.store.packets import packet_digest
from dataengine.store.recover import recover
from dataengine.store.rows import read_rows
from dataengine.store.store import Store
from dataengine.video import CannotJoin, VideoClip, join

EPISODES_PER_DATA_FILE = 100


@dataclass(frozen=True)
class Change:
    """What the new version's table has otherwise.

    features: columns added or replaced, `columns(index)` gives them for an episode: arrays of numbers by feature
    key, Arrow arrays by language column. languages: language columns of the new table. join_videos: pack mp4s.
    """

    features: Mapping[str, Feature] = field(default_factory=dict)
    columns: Callable[[int], Mapping[str, np.ndarray | pa.Array]] | None = None
    languages: tuple[str, ...] | None = None
    materialized: Mapping[str, list[str]] | None = None
    join_videos: bool = False


def compact(store: Store, *, join_videos: bool = False) -> None:
    """Pack the store; its digest stays. Raises `StoreLocked` while somebody writes."""
    rewrite(store, Change(join_videos=join_videos))


def rewrite(store: Store, change: Change) -> None:
    """Build the changed version and swap it in. A killed one leaves the store as it was."""
    versions.own_commit(store)
    lock = WriterLock(store.root)
    lock.acquire()
    try:
        recover(store.root)
        for name in labels.names(store.root):
            labels.pack_files(store.root, name)
        store.reload()
        with versions.next_version(store) as folder:
            _Build(store, change, folder).run()
    finally:
        lock.release()


class _Build:
    def __init__(self, store: Store, change: Change, folder: Path) -> None:
        self.store, self.change, self.folder = store, change, folder
        self.commit = versions.own_commit(store)
        self.features = {**store.features, **change.features}
        self.languages = list(store.languages if change.languages is None else change.languages)
        self.rows = pa.concat_tables(
            [files.read_table(store.root / p).slice(0, n) for p, n in self.commit.episode_files]
        ).to_pylist()
        sketch = self.commit.sketch
        self.sketches = stats.from_table(files.read_table(store.root / sketch)) if sketch else {}
        for key in change.features:
            self.sketches.pop(key, None)

    def run(self) -> None:
        next_data = self._data()
        next_video = self._videos()
        info = json.loads(json.dumps(self.commit.info))
        info["features"] |= {key: schema.to_info(feature) for key, feature in self.change.features.items()}
        info["features"] |= dict.fromkeys(self.languages, schema.LANGUAGE_INFO)
        self._features_file()
        versions.share(self.store, self.folder, [layout.TASKS])
        generation = self.commit.generation + 1
        sketch, episode_files = None, []
        if self.rows:
            path = layout.episodes_path(self.commit.next_episodes)
            for row in self.rows:
                row |= layout.columns(layout.EPISODES, self.commit.next_episodes)
            files.write_table(self.folder / path, pa.Table.from_pylist(self.rows, schema=tables.schema(self.features)))
            episode_files = [(path, len(self.rows))]
            sketch = layout.sketch_path(generation)
            files.write_table(self.folder / sketch, stats.to_table(self.sketches))
        files.write_json(self.folder / layout.STATS, stats.as_json(self.sketches, info))
        named = [layout.TASKS, layout.STATS, layout.FEATURES, *(p for p, _ in episode_files)]
        named += [sketch] if sketch else []
        changed = self.commit.next(
            next_data=next_data,
            next_video=next_video,
            next_episodes=self.commit.next_episodes + len(episode_files),
            info=info,
            episode_files=tuple(episode_files),
            sketch=sketch,
            materialized=self.commit.materialized if self.change.materialized is None else self.change.materialized,
            sha256={name: sha256_file(self.folder / name) for name in named},
        )
        versions.write_record(self.folder, changed)

    def _features_file(self) -> None:
        data = json.loads((self.store.root / layout.FEATURES).read_text())
        data["features"] |= {key: schema.to_details(feature) for key, feature in self.change.features.items()}
        files.write_json(self.folder / layout.FEATURES, data)

    def _data(self) -> int:
        """Write all data files; gives the first number not used."""
        wanted = schema.data_schema(self.features, self.languages)
        number, parts, size = self.commit.next_data, [], 0
        for index in range(len(self.rows)):
            table = self._table(index).select(wanted.names)
            parts.append(pa.table([table.column(n).cast(wanted.field(n).type) for n in wanted.names], schema=wanted))
            size += table.nbytes
            if len(parts) == EPISODES_PER_DATA_FILE or size > layout.DATA_MB << 20 or index == len(self.rows) - 1:
                path = layout.data_path(number)
                groups = [part.num_rows for part in parts]
                files.write_table(self.folder / path, pa.concat_tables(parts), row_groups=groups)
                place = {**layout.columns("data", number), "sha256/data": sha256_file(self.folder / path)}
                for row in self.rows[index + 1 - len(parts) : index + 1]:
                    row |= place
                number, parts, size = number + 1, [], 0
        return number

    def _table(self, index: int) -> pa.Table:
        """One episode's rows, with what the change adds; its statistics are taken on the way."""
        relative, row = self.store.table_of_episodes.data(index)
        table = read_rows(safe_join(self.store.root, relative), row, int(self.store.table_of_episodes.length[index]))
        given = self.change.columns(index) if self.change.columns else {}
        for key, column in given.items():
            if key in self.change.features:
                feature = self.change.features[key]
                column = np.asarray(column)
                known = self.sketches.get(key)
                sketch = stats.sketch_column(column, feature, known.centre if known else None)
                if known:
                    known.merge(sketch)
                else:
                    self.sketches[key] = sketch
                shaped = stats.shaped(stats.summarise_column(column, feature), feature)
                self.rows[index] |= {f"stats/{key}/{name}": value for name, value in shaped.items()}
                column = schema.to_arrow(column, feature)
            table = table.drop_columns([key]) if key in table.column_names else table
            table = table.append_column(key, pa.chunked_array([column]))
        return table

    def _videos(self) -> int:
        """Share or join the videos; gives the first number not used."""
        number = self.commit.next_video
        if not self.change.join_videos:
            versions.share(self.store, self.folder, versions.video_files(self.store))
            return number
        return max([number, *(self._join(key, number) for key in tables.video_keys(self.features))])

    def _join(self, key: str, number: int) -> int:
        """Episodes of one camera into files of up to 200 MB, in runs that can be joined."""
        run: list[int] = []
        size = 0
        for index in range(len(self.rows)):
            more = (self.store.root / self.store.table_of_episodes.video(index, key)[0]).stat().st_size
            if run and size + more > layout.VIDEO_MB << 20:
                number, run, size = self._flush(key, run, number), [], 0
            run.append(index)
            size += more
        return self._flush(key, run, number) if run else number

    def _flush(self, key: str, run: list[int], number: int) -> int:
        clips = [self.store.clip(index, key) for index in run]
        path = self.folder / layout.video_path(key, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if len(run) == 1:
                raise CannotJoin(path, "is one clip")
            join([clip for clip in clips if isinstance(clip, VideoClip)], path)
        except CannotJoin:
            files.remove(path)
            if len(run) > 1:  # somewhere in between the parameters change: look for it by halves
                half = len(run) // 2
                return self._flush(key, run[half:], self._flush(key, run[:half], number))
            versions.share(self.store, self.folder, [self.store.table_of_episodes.video(run[0], key)[0]])
            return number
        files.sync(path)
        digest, start = sha256_file(path), 0
        for index, clip in zip(run, clips, strict=True):
            begin, end = start / self.store.fps, (start + clip.length) / self.store.fps
            found, _ = packet_digest(path, begin, clip.length, self.store.fps)
            if found != self.rows[index][f"packets/{key}"]:
                raise StoreError(f"joining the videos of {key!r} changed episode {index}; the store is left as it was")
            self.rows[index] |= layout.columns(f"videos/{key}", number)
            self.rows[index] |= {f"videos/{key}/from_timestamp": begin, f"videos/{key}/to_timestamp": end}
            self.rows[index] |= {f"sha256/{key}": digest}
            start += clip.length
        return number + 1
