"""Random access by frame, with windows: what LeRobotDataset gives, without torch, as numpy.

A window is a list of offsets in seconds per feature. Offsets beyond the episode repeat its first or last frame
and are flagged in `<key>_is_pad`, as in LeRobot 0.6.1 (`dataset_reader._get_query_indices`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from dataengine.episode import POSITION_COLUMNS, Clip
from dataengine.errors import ConfigError, StoreError
from dataengine.store import schema
from dataengine.store.joined import Joined
from dataengine.store.store import Store

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Selection:
    """What is read of a store: indices of episodes, keys of the table, cameras, windows in frames by key, labels."""

    episodes: list[int]
    keys: list[str]
    cameras: list[str]
    offsets: dict[str, np.ndarray]
    labels: Joined

    @classmethod
    def of(
        cls,
        store: Store,
        delta_timestamps: Mapping[str, Sequence[float]] | None,
        episodes: Sequence[int] | None,
        columns: Sequence[str] | None,
        labels: Sequence[str] = (),
    ) -> Selection:
        """Parameters as in `FrameReader`. Raises `ConfigError` for what the store does not have."""
        chosen = list(range(len(store))) if episodes is None else [int(i) for i in episodes]
        if bad := [i for i in chosen if not 0 <= i < len(store)]:
            raise ConfigError(f"episodes {bad[:5]} are not among the {len(store)} of {store.root}")
        keys = list(store.features) if columns is None else list(columns)
        joined = Joined.of(store, labels, chosen)
        if unknown := sorted({*keys, *(delta_timestamps or {})} - {*store.features, *joined.features}):
            raise ConfigError(f"{store.root} has no features {', '.join(unknown)}; it has {', '.join(store.features)}")
        keys = [key for key in keys if key not in joined.features]  # what was written last stands beside the table
        return cls(
            chosen,
            [key for key in keys if not store.features[key].is_camera],
            [key for key in keys if store.features[key].is_camera],
            {
                key: _in_frames(key, deltas, store.fps)
                for key, deltas in (delta_timestamps or {}).items()
                if key in keys or key in joined.features
            },
            joined,
        )

    def lengths(self, store: Store) -> np.ndarray:
        """`(E,)` int64: frames of each episode."""
        return store.table_of_episodes.length[self.episodes] if self.episodes else np.zeros(0, np.int64)

    def columns(self, store: Store, episodes: Sequence[int]) -> dict[str, np.ndarray]:
        """The table of these episodes, position columns and labels included, `(T, *shape)` by key; no video is opened.

        Raises `StoreError` when rows are damaged or another episode's, `EpisodeError` for labels that do not fit.
        """
        table = store.table([*self.keys, *POSITION_COLUMNS], episodes)
        features = {**{k: store.features[k] for k in self.keys}, **schema.POSITION}
        columns = {key: schema.to_numpy(table.column(key), f, repr(key)) for key, f in features.items()}
        lengths = store.table_of_episodes.length[list(episodes)] if len(episodes) else np.zeros(0, np.int64)
        if not np.array_equal(columns["episode_index"], np.repeat(np.array(episodes, np.int64), lengths)):
            raise StoreError(f"{store.root}: rows do not stand where the episodes table says; run verify")
        return columns | self.labels.columns(store, episodes)


def _in_frames(key: str, deltas: Sequence[float], fps: float) -> np.ndarray:
    """Offsets in frames. Raises `ConfigError` unless each is a whole number of frames."""
    exact = np.asarray(deltas, float) * fps
    frames = np.round(exact)
    if not exact.size or (np.abs(exact - frames) / fps > TOLERANCE).any():
        raise ConfigError(f"delta_timestamps of {key!r} are not multiples of 1/{fps:g} s: {list(deltas)}")
    return frames.astype(np.int64)


class FrameReader:
    """`reader[i]`: a dict of one frame, `(*shape)` per key, `(W, *shape)` for a key with a window of W offsets.

    delta_timestamps: offsets in [s] by key, multiples of 1 / fps. episodes: indices, default all; `i` counts
    their frames. columns: keys to give, cameras included, default all; naming no camera opens no video.
    labels: side tables to give as `label.<name>`, by name or by `name.column`; where one has several numbers, or text
    beside numbers, as `label.<name>.<column>`: what the frame's row or span says, whether an event is there (bool),
    what is said of the episode. Where nothing is said text is "", a whole number -1 (0 without sign), bool False, and
    a float an error.
    Pictures are `(H, W, 3)` uint8, depth `(H, W, 1)` float32 metres. Position columns and `task` always come.
    """

    def __init__(
        self,
        store: Store,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        episodes: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        self.store = store
        chosen = Selection.of(store, delta_timestamps, episodes, columns, labels)
        self.episodes, self.keys, self.cameras = chosen.episodes, chosen.keys, chosen.cameras
        self._offsets = chosen.offsets
        self._ends = np.cumsum(chosen.lengths(store))
        self._columns = chosen.columns(store, self.episodes)
        self._clip = lru_cache(maxsize=64)(store.clip)
        self._threads: tuple[int, ThreadPoolExecutor] | None = None

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        index %= len(self)
        place = int(np.searchsorted(self._ends, index, "right"))
        stop = int(self._ends[place])
        start = int(self._ends[place - 1]) if place else 0
        item: dict[str, Any] = {}
        for key, offsets in self._offsets.items():
            at = index + offsets
            item[f"{key}_is_pad"] = (at < start) | (at >= stop)
        for key, column in self._columns.items():
            item[key] = column[self._window(key, index, start, stop)] if key in self._offsets else column[index]

        def shown(key: str) -> np.ndarray:
            clip = self._clip(self.episodes[place], key)
            if key in self._offsets:
                return _pictures(clip, self._window(key, index, start, stop) - start)
            return clip.frame(index - start)

        item |= zip(
            self.cameras, (self._pool().map if len(self.cameras) > 1 else map)(shown, self.cameras), strict=True
        )
        item["task"] = self.store.tasks[int(item["task_index"])]
        return item

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_clip", "_threads")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._threads = None
        self._clip = lru_cache(maxsize=64)(self.store.clip)

    def _pool(self) -> ThreadPoolExecutor:
        """Cameras are decoded side by side; a process that was forked has none of the threads and makes its own."""
        if self._threads is None or self._threads[0] != os.getpid():
            self._threads = os.getpid(), ThreadPoolExecutor(min(len(self.cameras), 8), "decode")
        return self._threads[1]

    def _window(self, key: str, index: int, start: int, stop: int) -> np.ndarray:
        return np.clip(index + self._offsets[key], start, stop - 1)


def _pictures(clip: Clip, frames: np.ndarray) -> np.ndarray:
    """`(W, H, W, C)`: each frame decoded once, neighbours in one go, repeated ones copied."""
    wanted, back = np.unique(frames, return_inverse=True)
    runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
    decoded = np.stack([f for run in runs for f in clip.frames(int(run[0]), int(run[-1]) + 1)])
    return decoded[back]
