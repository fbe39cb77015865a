"""Every frame once an epoch, in random order, for training: videos are decoded forward and in pieces, never sought.

`FrameReader` answers for any frame and pays for the way from the keyframe before; a `FrameStream` decides itself
which frame comes next, decodes whole groups of pictures ahead in threads, and draws from what is in memory.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from dataengine.episode import Clip
from dataengine.errors import ConfigError, VideoError
from dataengine.store.reader import Selection
from dataengine.store.store import Store
from dataengine.store.stream_plan import Plan, Step, cut
from dataengine.store.stream_segment import Memory, Segment, collate, kept_bytes, keyframes_apart, load

_SEGMENT = 40  # frames of a segment, where keyframes and memory allow
_PARTS = 32  # segments in memory, at least, where pictures are small enough
_FEWEST = 6  # else a segment is less than a group of pictures
_COLUMNS = 64 << 20  # bytes of tables kept for the other segments of an episode
_UNDER_WAY = 4  # batches made before they are asked for
_CHUNK = 32  # samples made together where they are given one by one


class FrameStream:
    """`for batch in stream:` one epoch; the next loop is the next epoch.

    batch: samples per dict, `(n, …)` arrays under the keys of `FrameReader`, `task` a list; the last one of an epoch
    may be shorter. None: one sample at a time, equal to an item of `FrameReader`. delta_timestamps, episodes, columns,
    labels: as there; without a camera among the columns no video is opened. buffer_bytes: bounds what is kept of
    pictures; beside it stand the batches under way (four and one per thread), 64 MB of tables, and the decoders' own
    memory.
    seed, epoch: choose the order, threads do not. rank, world: shards are disjoint, together everything, and differ
    by one segment at most (`len` says by how much). state: what `state()` gave, to go on from there.

    Raises `ConfigError` for parameters that do not fit; while it runs `VideoError`, `StoreError` or `EpisodeError`
    naming file and episode.
    """

    def __init__(
        self,
        store: Store,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        batch: int | None = None,
        episodes: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        buffer_bytes: int = 256 << 20,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        threads: int | None = None,
        state: Mapping[str, Any] | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        self.store, self.batch, self.buffer_bytes = store, batch, buffer_bytes
        self.seed, self.epoch, self.rank, self.world = seed, epoch, rank, world
        self.threads = threads or min(len(os.sched_getaffinity(0)), 8)
        self.peak_bytes = 0  # the most that pictures in memory have taken
        whole = (seed, epoch, rank, world, self.threads, buffer_bytes, 1 if batch is None else batch)
        if any(not isinstance(n, int) for n in whole) or min(seed, epoch, rank, world - 1, self.threads - 1) < 0:
            raise ConfigError(f"seed, epoch, rank, world and threads are whole numbers from 0 or 1 on, not {whole[:5]}")
        if rank >= world or (batch is not None and batch < 1):
            raise ConfigError(f"rank {rank} of {world} shards, {batch} samples a batch: there is no such thing")
        self._chosen = Selection.of(store, delta_timestamps, episodes, columns, labels)
        self._lengths = self._chosen.lengths(store)
        per_episode = 1000 * max(int(self._lengths.mean()), 1) if len(self._lengths) else 1
        self._columns = lru_cache(max(_COLUMNS // per_episode, 1))(lambda one: self._chosen.columns(store, [one]))
        self._cuts, self._span, self._ahead = self._sizes()
        self._place = (0, 0)  # segment, and samples that have left since it was reached
        self._plan = self._made()
        if state is not None:
            self.resume(state)

    def __len__(self) -> int:
        """Items of a whole epoch of this shard."""
        return math.ceil(len(self._plan) / (self.batch or 1))

    # -- where it stands ----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Small, plain, and enough for a stream of the same parameters to go on with the next item."""
        segment, given = self._place
        return {"plan": self._plan.fingerprint, "epoch": self.epoch, "segment": segment, "given": given}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken. Raises `ConfigError` if that was another order, or no state at all."""
        try:
            epoch, place = int(state["epoch"]), (int(state["segment"]), int(state["given"]))
            plan = str(state["plan"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this is not the state of a stream: {state!r}") from error
        self.set_epoch(epoch)
        if plan != self._plan.fingerprint:
            raise ConfigError("this state is of a stream with another store, seed, shard, episodes, windows or buffer")
        self._place = place

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch with the next loop."""
        self.epoch, self._place = epoch, (0, 0)
        self._plan = self._made()

    def _made(self) -> Plan:
        return Plan.make(self._cuts, self._span, self.seed, self.epoch, self.rank, self.world)

    # -- giving -------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with ThreadPoolExecutor(self.threads, thread_name_prefix="stream") as pool:
            run = _Run(self, pool)
            try:
                for places, batch in run.batches(self._plan.steps(*self._place), self.batch or _CHUNK):
                    tasks = [self.store.tasks[i] for i in batch["task_index"].tolist()]
                    if self.batch is None:
                        for number, place in enumerate(places):
                            self._place = place
                            yield {**{key: column[number] for key, column in batch.items()}, "task": tasks[number]}
                    else:
                        self._place = places[-1]
                        yield {**batch, "task": tasks}
            finally:
                self.peak_bytes = max(self.peak_bytes, run.peak)
                pool.shutdown(wait=True, cancel_futures=True)
        self.set_epoch(self.epoch + 1)

    # -- how much at a time -------------------------------------------------------------------------------

    def _sizes(self) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], int, int]:
        """The segments, within how many frames each is spread, and how many segments are decoded ahead."""
        chosen, total = self._chosen, int(self._lengths.sum())
        if not total:
            return cut(self._lengths, 1, 1), 1, 1
        step, per_frame, per_segment = self._costs()
        windows = [chosen.offsets[key] for key in chosen.cameras if key in chosen.offsets]
        reach = max((int(np.ptp(offsets)) for offsets in windows), default=0)
        longest = _SEGMENT + 4 * reach if chosen.cameras else int(self._lengths.max())
        fitting = self.buffer_bytes / per_frame
        size = min(max(int(fitting / _PARTS - per_segment / per_frame), reach, 1), longest)
        # Whole groups of pictures; where memory does not hold a few, what stands before is decoded again.
        size, step = (step * max(size // step, 1), step) if step <= max(2 * size, fitting / _FEWEST) else (size, 1)
        cuts = cut(self._lengths, size, step)
        per_frame += per_segment * len(cuts[0]) / total
        fitting = int(self.buffer_bytes / per_frame)
        if fitting < 4 * size:
            need = f"{math.ceil(4 * size * per_frame):,}"
            raise ConfigError(f"buffer_bytes is {self.buffer_bytes:,}; these pictures and windows need {need}")
        ahead = max(fitting // size // 4, 1)
        # Of pictures that leave one by one half are gone on average; what windows share may stay to the end.
        room = fitting - (ahead + 2) * size - 2 * math.isqrt(fitting // size)
        span = max(room, 1) * (1 if windows or not chosen.cameras else 2)
        return cuts, min(span, 4 * math.ceil(total / self.world)), ahead

    def _costs(self) -> tuple[int, float, float]:
        """Frames from keyframe to keyframe, bytes in memory per frame, and per segment for what windows reach beyond.

        Looks at the first, middle and last episode; irregular keyframes count as one frame apart.
        """
        features, offsets = self.store.features | self._chosen.labels.features, self._chosen.offsets
        numbers = sum(
            (64 if features[key].dtype == "string" else np.dtype(features[key].dtype).itemsize * features[key].size)
            * len(offsets.get(key, [0]))
            for key in (*self._chosen.keys, *self._chosen.labels.features)
        )
        step, whole, per_frame, per_segment = 1, 1, 2.0 * numbers + 100, 0.0
        for key in self._chosen.cameras:
            size = 0
            for place in {0, len(self._lengths) // 2, len(self._lengths) - 1}:
                clip = self.store.clip(self._chosen.episodes[place], key)
                size = max(size, kept_bytes(clip, shared=key in offsets))
                apart = keyframes_apart(clip)
                step, whole = (math.lcm(step, apart), whole) if apart else (step, max(whole, clip.length))
            per_frame += size
            per_segment += size * int(np.ptp(offsets[key])) if key in offsets else 0
        return step * -(-whole // step), per_frame, per_segment


class _Run:
    """What is in memory while an epoch runs."""

    def __init__(self, stream: FrameStream, pool: ThreadPoolExecutor) -> None:
        self._stream, self._plan, self._pool = stream, stream._plan, pool
        self._segments: dict[int, Future[Segment]] = {}
        self._changing, self._memory = threading.Lock(), Memory()
        self._held = self.peak = 0
        self._clip = lru_cache(1024)(stream.store.clip)

    def batches(self, steps: Iterator[Step], size: int) -> Iterator[tuple[list[tuple[int, int]], dict[str, Any]]]:
        """Batches in order, each with where the stream stands after every one of its samples."""
        reached = _early(self._loading(steps), self._stream._ahead)
        made = ((rows, self._pool.submit(self._batch, rows)) for rows in _in_batches(reached, size))
        for rows, batch in _early(made, _UNDER_WAY):
            yield [(segment, given) for segment, given in rows[:, 2:].tolist()], batch.result()

    def _loading(self, steps: Iterator[Step]) -> Iterator[Step]:
        for step in steps:
            for segment, frames in step.load.items():
                self._segments[segment] = self._pool.submit(self._load, segment, frames)
            yield step

    def _load(self, number: int, frames: np.ndarray) -> Segment:
        stream, plan = self._stream, self._plan
        place = int(plan.place[number])
        episode = stream._chosen.episodes[place]
        span = int(plan.start[number]), int(plan.stop[number])

        def clip(camera: str) -> Clip:
            return self._clip(episode, camera)

        try:
            segment = load(stream._chosen, stream._columns(episode), clip, int(stream._lengths[place]), *span, frames)
        except VideoError as error:
            where = f"episode {episode} ({stream.store.ids[episode]})"
            raise VideoError(error.path, f"{error.reason}, in {where}", hint=error.hint) from error
        with self._changing:
            self._held += segment.held
            self.peak = max(self.peak, self._held)
        return segment

    def _batch(self, rows: np.ndarray) -> dict[str, Any]:
        # A thread waits here only for what was begun before this, so the last of them always has work to do.
        segment, frame = rows[:, 0], rows[:, 1]
        segments = {number: self._segments[number].result() for number in np.unique(segment).tolist()}
        batch = collate(self._stream._chosen, segments, segment, frame, self._memory)
        with self._changing:
            for number, one in segments.items():
                self._held -= one.leave(frame[segment == number])
                if not one.left:
                    del self._segments[number]
        return batch


def _early[T](items: Iterable[T], count: int) -> Iterator[T]:
    """The same items; each is given when `count` more have been begun."""
    waiting: deque[T] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


def _in_batches(steps: Iterable[Step], size: int) -> Iterator[np.ndarray]:
    """Rows of samples, `(size, 4)`; fewer at the end."""
    rows: np.ndarray = np.zeros((0, 4), np.int64)
    for step in steps:
        rows = np.concatenate([rows, step.samples])
        while len(rows) >= size:
            yield rows[:size]
            rows = rows[size:]
    if len(rows):
        yield rows
