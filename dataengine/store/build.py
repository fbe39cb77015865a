"""Building the next version of a store: other episodes, another order, other columns, or only other files.

What stays is shared: leading data files of which nothing changes, and every video file whose episodes all stay.
Other rows go, by up to a hundred episodes, into files whose numbers the store never used; an episode that leaves a
video file which it shares with others gets the others cut out of it by packet copy, so that it is really gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature
from dataengine.guard import safe_join, sha256_file
from dataengine.store import camera_stats, files, layout, schema, stats, tasks, versions
from dataengine.store import episodes as tables
from dataengine.store.build_rows import EpisodeRows
from dataengine.store.build_videos import Videos
from dataengine.store.change import Change
from dataengine.store.rows import read_rows
from dataengine.store.store import Store

EPISODES_PER_DATA_FILE = 100


def build(store: Store, change: Change, folder: Path, onto: Store | None = None) -> None:
    """Write the changed version into an empty folder. Raises `StoreError`, `VideoError`.

    onto: a store of the same features whose files are in the folder already: the version is that one, and after it the
    changed episodes of `store`.
    """
    _Build(store, change, folder, onto).run()


class _Build:
    def __init__(self, store: Store, change: Change, folder: Path, onto: Store | None) -> None:
        self.store, self.change, self.folder, self.onto = store, change, folder, onto
        self.base = store if onto is None else onto
        self.commit = versions.own_commit(self.base)
        self.rows = EpisodeRows(store, versions.own_commit(store), change, onto)
        kept = {key: feature for key, feature in store.features.items() if key not in change.drop}
        self.features = {change.rename.get(key, key): feature for key, feature in kept.items()} | dict(change.features)
        if onto is not None:
            self.features = onto.features
        self.languages = list(store.languages if change.languages is None else change.languages)
        sketch = self.commit.sketch
        found = stats.load(self.base.root / sketch) if sketch and not change.anew else {}
        self.sketches = {change.rename.get(k, k): s for k, s in found.items() if k not in change.drop}

    def run(self) -> None:
        with ThreadPoolExecutor(1, "pictures") as beside:
            seen = beside.submit(self._seen)
            next_data = self._data()
            videos = Videos(self.store, self.folder, self.rows, self.change, renumber=self.onto is not None)
            next_video = videos.run(self.commit.next_video)
            self._cameras(*seen.result())
        info = self._info()
        self._features_file()
        if self.rows.tasks == list(self.base.tasks):
            versions.share(self.base, self.folder, [layout.TASKS])
        else:
            tasks.write(self.folder, self.rows.tasks)
        generation = self.commit.generation + 1
        before = [] if self.onto is None else list(self.commit.episode_files)
        sketch, episode_files = None, []
        if len(self.rows):
            path = layout.episodes_path(self.commit.next_episodes)
            self.rows.set_all(layout.columns(layout.EPISODES, self.commit.next_episodes))
            files.write_table(self.folder / path, self.rows.table(self.features))
            episode_files = [(path, len(self.rows))]
            sketch = layout.sketch_path(generation)
            stats.save(self.folder / sketch, self.sketches)
        files.write_json(self.folder / layout.STATS, stats.as_json(self.sketches, info))
        named = [layout.TASKS, layout.STATS, layout.FEATURES, *(p for p, _ in (*before, *episode_files))]
        named += [sketch] if sketch else []
        edits = self.commit.edits
        if self.change.edits is not None:
            edits = (*self.change.edits[:-1], {**self.change.edits[-1], "generation": generation})
        changed = self.commit.next(
            episodes=info["total_episodes"],
            frames=info["total_frames"],
            next_data=next_data,
            next_video=next_video,
            next_episodes=self.commit.next_episodes + len(episode_files),
            info=info,
            episode_files=(*before, *episode_files),
            sketch=sketch,
            materialized=self._materialized(),
            sha256={name: sha256_file(self.folder / name) for name in named},
            edits=edits,
        )
        changed.write(self.folder)

    # -- the table of frames --------------------------------------------------------------------------------

    def _data(self) -> int:
        """Write or share all data files, take statistics of what changed; gives the first number not used."""
        wanted = schema.data_schema(self.features, self.languages)
        shared = self._shared()
        fresh = self._fresh()
        for key in fresh if self.onto is None else ():
            self.sketches.pop(key, None)
        number = self.commit.next_data
        paths = list(dict.fromkeys(self._place(place)[0] for place in range(shared)))
        versions.share(self.store, self.folder, paths)
        for group in self._groups(shared):
            written = group[0] >= shared
            if not (written or fresh):
                continue
            table = self._table(group).select(wanted.names).cast(wanted)
            for key, feature in fresh.items():
                self._sketch(key, feature, table, group)
            if written:
                path = layout.data_path(number)
                files.write_table(self.folder / path, table, row_groups=self.rows.lengths[group].tolist())
                said = {**layout.columns("data", number), "sha256/data": sha256_file(self.folder / path)}
                for place in group:
                    self.rows.set(place, said)
                number += 1
        return number

    def _shared(self) -> int:
        """How many leading episodes lie in data files of which nothing changes."""
        change, old = self.change, self.store.table_of_episodes
        table = change.features or change.languages is not None or change.pack
        table = table or any(self.store.features[key].dtype != "video" for key in (*change.rename, *change.drop))
        if table or self.onto is not None:
            return 0
        rows, count = self.rows, len(self.rows)
        same = (rows.order == np.arange(count)) & (rows.starts == old.start[rows.order])
        same &= np.array([rows.same_tasks(place) for place in range(count)], bool)
        same &= np.array([self._place(place)[0] not in change.spoiled for place in range(count)], bool)
        count = count if same.all() else int(np.argmin(same))
        while 0 < count < len(old) and self._place(count - 1)[0] == old.data(count)[0]:
            count -= 1  # its file holds others, which change
        return count

    def _fresh(self) -> dict[str, Feature]:
        """Columns whose statistics are taken anew."""
        numbers = {k: f for k, f in (*self.features.items(), *schema.POSITION.items()) if tables.has_numbers(f)}
        if self.rows.moved or self.change.anew:
            return numbers
        keys = {*self.change.features, *(["task_index"] if self.change.texts else [])}
        return {key: feature for key, feature in numbers.items() if key in keys}

    def _groups(self, shared: int) -> list[list[int]]:
        """Episodes, by position, that lie or will lie in one file."""
        groups: list[list[int]] = []
        before, rows = "", 0
        limit = layout.DATA_MB << 20
        for place in range(len(self.rows)):
            path = self._place(place)[0] if place < shared else ""
            size = int(self.rows.lengths[place]) * self._row_bytes
            full = not path and (len(groups[-1]) >= EPISODES_PER_DATA_FILE or rows + size > limit) if groups else True
            if full or path != before:
                groups.append([])
                rows = 0
            groups[-1].append(place)
            before, rows = path, rows + size
        return groups

    @property
    def _row_bytes(self) -> int:
        """About how large a row is; pictures in the table count as they are unpacked."""
        sized = [f for f in self.features.values() if f.dtype not in ("video", "string")]
        return 64 + sum(f.size * (1 if f.dtype == "image" else np.dtype(f.dtype).itemsize) for f in sized)

    def _place(self, place: int) -> tuple[str, int]:
        return self.store.table_of_episodes.data(int(self.rows.order[place]))

    def _table(self, group: list[int]) -> pa.Table:
        """The rows of episodes that follow each other, with their new position, names and columns."""
        runs: list[tuple[str, int, int]] = []
        for place in group:
            relative, row = self._place(place)
            if runs and runs[-1][0] == relative and runs[-1][1] + runs[-1][2] == row:
                relative, row, before = runs.pop()
                runs.append((relative, row, before + int(self.rows.lengths[place])))
            else:
                runs.append((relative, row, int(self.rows.lengths[place])))
        parts = [read_rows(safe_join(self.store.root, relative), row, count) for relative, row, count in runs]
        alike = parts[0].schema.remove_metadata()  # of a damaged file the values may be right and their types not
        table = pa.concat_tables([part.replace_schema_metadata().cast(alike) for part in parts])
        table = table.drop_columns([key for key in self.change.drop if key in table.column_names])
        table = table.rename_columns([self.change.rename.get(name, name) for name in table.column_names])
        spans = self._spans(group)
        tasks = schema.numbers(table.column("task_index"))
        given: dict[str, Any] = {
            "episode_index": self.rows.first + np.repeat(group, self.rows.lengths[group]),
            "index": np.arange(table.num_rows) + self.rows.starts[group[0]],
            "task_index": np.concatenate([self.rows.remap[p][tasks[s]] for p, s in zip(group, spans, strict=True)]),
        }
        for key, column in (given | self._added(group)).items():
            table = table.drop_columns([key]) if key in table.column_names else table
            table = table.append_column(key, pa.chunked_array(column if isinstance(column, list) else [column]))
        return table

    def _added(self, group: list[int]) -> dict[str, list[pa.Array]]:
        """The columns that the change gives, an array per episode; their statistics are noted on the way."""
        found: dict[str, list[pa.Array]] = {}
        for place in group if self.change.columns else ():
            assert self.change.columns is not None
            for key, column in self.change.columns(int(self.rows.order[place])).items():
                if (feature := self.change.features.get(key)) is not None:
                    self.rows.set_stats(place, key, feature, np.asarray(column))
                    column = schema.to_arrow(np.asarray(column), feature)
                found.setdefault(key, []).append(column)
        return found

    def _spans(self, group: list[int]) -> list[slice]:
        """Where in the table of a group each of its episodes stands."""
        ends = np.cumsum(self.rows.lengths[group]).tolist()
        return [slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]

    # -- statistics -----------------------------------------------------------------------------------------

    def _sketch(self, key: str, feature: Feature, table: pa.Table, group: list[int]) -> None:
        column = schema.to_numpy(table.column(key), feature, repr(key))
        stats.take_in(self.sketches, key, column, feature)
        if key == "task_index":
            for place, span in zip(group, self._spans(group), strict=True):
                if not self.rows.same_tasks(place):
                    self.rows.set_stats(place, key, feature, column[span])

    @property
    def _pictures_anew(self) -> bool:
        """Whether the statistics of pictures are of other episodes than before."""
        return bool(self.rows.moved or self.change.anew or self.change.recount)

    def _seen(self) -> tuple[pa.Table | None, dict[str, stats.Sketch]]:
        """What the pictures of the episodes that are left are like, each as it was taken, and of all where that is
        another; None where the files that say it stay."""
        change = self.change
        if not (self._pictures_anew or change.rename or change.drop or change.pack):
            return None, {}
        ids = [self.store.ids[index] for index in self.rows.order.tolist()]
        table = camera_stats.counted(self.store, ids) if change.recount else camera_stats.read(self.store, ids)
        if change.rename or change.drop:
            keys = table.column("feature").to_pylist()
            place, named = table.schema.get_field_index("feature"), [change.rename.get(k, k) for k in keys]
            table = table.set_column(place, "feature", pa.array(named, pa.string()))
            table = table.filter(pa.array([key not in change.drop for key in keys], pa.bool_()))
        return table, camera_stats.merged(table) if self._pictures_anew else {}

    def _cameras(self, table: pa.Table | None, merged: Mapping[str, stats.Sketch]) -> None:
        """Statistics of pictures, written down."""
        if table is None:
            paths = [path.relative_to(self.store.root).as_posix() for path in camera_stats.paths(self.store.root)]
            versions.share(self.store, self.folder, paths)
            return
        found = camera_stats.sketches(table) if self.change.recount else {}
        for place, index in enumerate(self.rows.order.tolist()):
            for key, sketch in found.get(self.store.ids[index], {}).items():
                summary = stats.shaped(sketch.summary(), self.features[key])
                self.rows.set(place, {f"stats/{key}/{name}": value for name, value in summary.items()})
        camera_stats.write(self.folder, self.commit.generation + 1, table)
        for key, sketch in merged.items():
            if self.onto is not None and key in self.sketches:
                self.sketches[key].merge(sketch)
            else:
                self.sketches[key] = sketch

    # -- what is said about the whole -------------------------------------------------------------------------

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = json.loads(json.dumps(self.commit.info))
        described = {k: v for k, v in info["features"].items() if k not in self.change.drop}
        info["features"] = {self.change.rename.get(key, key): entry for key, entry in described.items()}
        info["features"] |= {key: schema.to_info(feature) for key, feature in self.change.features.items()}
        info["features"] |= dict.fromkeys(self.languages, schema.LANGUAGE_INFO)
        count, rows = self.rows.first + len(self.rows), int(self.rows.lengths.sum())
        rows += 0 if self.onto is None else self.onto.frames
        info |= {"total_episodes": count, "total_frames": rows, "total_tasks": len(self.rows.tasks)}
        info["splits"] = {"train": f"0:{count}"} if count else {}
        if not tables.video_keys(self.features):
            info["video_path"] = None
        return info

    def _features_file(self) -> None:
        if self.onto is not None:
            return
        data = json.loads((self.store.root / layout.FEATURES).read_text())
        data["features"] = {key: schema.to_details(feature) for key, feature in self.features.items()}
        files.write_json(self.folder / layout.FEATURES, data)

    def _materialized(self) -> Mapping[str, list[str]]:
        if self.change.materialized is not None:
            return self.change.materialized
        gone = {*self.change.drop, *self.change.rename}
        kept = {name: [c for c in columns if c not in gone] for name, columns in self.commit.materialized.items()}
        return {name: columns for name, columns in kept.items() if columns}
