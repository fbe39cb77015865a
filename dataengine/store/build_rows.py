"""The table of episodes of a version to come: its rows in their new order, under the names that keys will have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature
from dataengine.store import episodes as tables
from dataengine.store import files, stats
from dataengine.store.change import Change
from dataengine.store.commit import Commit
from dataengine.store.store import Store


class EpisodeRows:
    """order: `(N,)` positions in the old store. lengths, starts: `(N,)` frames and first frame of each episode.

    tasks: all instructions that are left. remap: per episode, the new number of every old instruction. onto: a store
    whose episodes and instructions come before these.
    """

    def __init__(self, store: Store, commit: Commit, change: Change, onto: Store | None = None) -> None:
        self.store, self.change = store, change
        self.order = np.arange(len(store)) if change.order is None else np.array(change.order, np.int64)
        self.moved = onto is not None or not np.array_equal(self.order, np.arange(len(store)))
        self.first, first_frame, self._before = (0, 0, ()) if onto is None else (len(onto), onto.frames, onto.tasks)
        self.lengths = store.table_of_episodes.length[self.order]
        self.starts = (first_frame + np.cumsum(self.lengths) - self.lengths).astype(np.int64)
        self._columns: dict[str, Any] = {}
        self._take(commit)
        self.tasks, self.remap = self._instructions()
        if self.moved:
            self._position_stats()

    def __len__(self) -> int:
        return len(self.order)

    def table(self, features: Mapping[str, Feature]) -> pa.Table:
        wanted = tables.schema(features)
        return pa.table([_arrow(self._columns[field.name], field.type) for field in wanted], schema=wanted)

    def value(self, place: int, name: str) -> Any:
        return self._list(name)[place]

    def set(self, place: int, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self._list(name)[place] = value

    def set_all(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self._columns[name] = [value] * len(self)

    def set_stats(self, place: int, key: str, feature: Feature, column: np.ndarray) -> None:
        summary = stats.shaped(stats.summarise_column(column, feature), feature)
        self.set(place, {f"stats/{key}/{name}": value for name, value in summary.items()})

    def same_tasks(self, place: int) -> bool:
        """Whether the instructions of an episode keep their numbers."""
        if (self.remap[place] == np.arange(len(self.remap[place]))).all():
            return True
        spoken = self.store.table_of_episodes.value("tasks", int(self.order[place])) or []
        used = [self.store.tasks.index(text) for text in spoken]
        return bool((self.remap[place][used] == used).all())

    def _list(self, name: str) -> list[Any]:
        column = self._columns.get(name)
        if not isinstance(column, list):
            column = self._columns[name] = [None] * len(self) if column is None else _plain(column)
        return column

    def _take(self, commit: Commit) -> None:
        schema = tables.schema(self.store.features)
        parts = [files.read_table(self.store.root / path).slice(0, rows) for path, rows in commit.episode_files]
        table = pa.concat_tables([schema.empty_table(), *parts]).take(pa.array(self.order))
        for name in table.column_names:
            before, key, after = tables.split(name)
            if key not in self.change.drop:
                self._columns[f"{before}{self.change.rename.get(key, key)}{after}"] = table.column(name)
        self._columns["episode_index"] = self.first + np.arange(len(self))
        self._columns["dataset_from_index"] = self.starts
        self._columns["dataset_to_index"] = self.starts + self.lengths
        for place, index in enumerate(self.order.tolist()):
            if index in self.change.episodes:
                self.set(place, self.change.episodes[index])

    def _instructions(self) -> tuple[list[str], list[np.ndarray]]:
        old = list(self.store.tasks)
        if not self.moved and not self.change.texts:
            return old, [np.arange(len(old))] * len(self)
        texts = [self.change.texts.get(index, {}) for index in self.order.tolist()]
        said = [
            list(dict.fromkeys(changed.get(text, text) for text in spoken))
            for changed, spoken in zip(texts, self._list("tasks"), strict=True)
        ]
        self._columns["tasks"] = said
        left = {text for spoken in said for text in spoken}
        kept = [*self._before, *(text for text in old if text in left)]
        new = list(dict.fromkeys([*kept, *(text for spoken in said for text in spoken)]))
        number = {text: index for index, text in enumerate(new)}
        return new, [np.array([number.get(c.get(t, t), -1) for t in old], np.int64) for c in texts]

    def _position_stats(self) -> None:
        """Of `index` and `episode_index`: an episode's are those it had, moved."""
        shift = self.starts - self.store.table_of_episodes.start[self.order]
        for name in (n for n in stats.NAMES if n not in ("std", "count")):
            was = self._columns[f"stats/index/{name}"].combine_chunks().flatten().to_numpy()
            self._columns[f"stats/index/{name}"] = (was + shift)[:, None].tolist()
            self._columns[f"stats/episode_index/{name}"] = [[float(self.first + n)] for n in range(len(self))]


def _plain(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else column.to_pylist()


def _arrow(column: Any, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if isinstance(column, list):
        return pa.array(column, kind)
    return (pa.array(column) if isinstance(column, np.ndarray) else column).cast(kind)
