"""In which order a stream gives the frames of an epoch: known from lengths and a seed, before a file is opened.

Episodes are cut into segments, segments are dealt to shards and taken in a stratified random order. Every frame of
a segment gets a random time at which it is due, within `span` frames from where its segment begins; frames leave
in order of these times. So a frame waits in memory for a limited time, any place in the epoch can be found again
without what came before, and consecutive frames come from all segments that are there at the same time.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """What happens when one more segment is reached.

    load: the segments needed from now on, each with the frames of it that are still to be given, from 0 at its start.
    samples: `(n, 4)` int64, those that leave before the next segment is needed, in order: segment, frame, and the
    parameters with which `Plan.steps` goes on after it.
    """

    load: dict[int, np.ndarray]
    samples: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """The segments of one shard in the order they are loaded.

    place: `(M,)` int64, of an episode among the chosen ones. start, stop: `(M,)` int64, its frames. begin: `(M + 1,)`
    int64, frames before each. span: within how many frames those of a segment are spread. seed: whole numbers.
    """

    place: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    begin: np.ndarray
    span: int
    seed: tuple[int, ...]

    @classmethod
    def make(
        cls, cuts: tuple[np.ndarray, np.ndarray, np.ndarray], span: int, seed: int, epoch: int, rank: int, world: int
    ) -> Plan:
        """The plan of shard `rank` of `world`. cuts: as `cut` gives them."""
        place, start, stop = cuts
        owner = _deal(stop - start, world, np.random.default_rng([seed, epoch]))
        mine = np.flatnonzero(owner == rank)
        mine = mine[_stratified(len(mine), np.random.default_rng([seed, epoch, world, rank]))]
        begin = np.cumsum(np.concatenate([[0], (stop - start)[mine]]))
        return cls(place[mine], start[mine], stop[mine], begin, span, (seed, epoch, world, rank))

    def __len__(self) -> int:
        """Frames of the shard."""
        return int(self.begin[-1])

    @property
    def fingerprint(self) -> str:
        """Equal for plans that give the same frames in the same order."""
        arrays = np.concatenate([self.place, self.start, self.stop]).astype("<i8")
        return hashlib.sha256(arrays.tobytes() + repr((self.span, self.seed)).encode()).hexdigest()[:16]

    def steps(self, number: int = 0, given: int = 0) -> Iterator[Step]:
        """From segment `number` on, of whose samples the first `given` have left already."""
        last = len(self.place) - 1
        # What was loaded earlier and is still waiting comes back; nothing older is looked at.
        first = int(np.searchsorted(self.begin[:-1] + self.span, self.begin[number], "right"))
        due: np.ndarray = np.zeros(0)
        segment: np.ndarray = np.zeros(0, np.int64)
        frame: np.ndarray = np.zeros(0, np.int64)
        for now in range(number, last + 1):
            fresh = range(min(first, number), number + 1) if now == number else range(now, now + 1)
            times = [self._due(j) for j in fresh]
            due = np.concatenate([due, *times])
            segment = np.concatenate([segment, np.repeat(fresh, [len(t) for t in times])])
            frame = np.concatenate([frame, *(np.arange(len(t)) for t in times)])
            order = np.argsort(due, kind="stable")
            if now == number:
                order = order[int(np.searchsorted(due[order], self.begin[number])) + given :]
            due, segment, frame = due[order], segment[order], frame[order]
            end = len(due) if now == last else int(np.searchsorted(due, self.begin[now + 1]))
            load = {j: frame[segment == j] for j in fresh}
            after = np.arange(end) + 1 + (given if now == number else 0)
            samples = np.stack([segment[:end], frame[:end], np.full(end, now), after], 1)
            yield Step({j: rows for j, rows in load.items() if len(rows)}, samples)
            due, segment, frame = due[end:], segment[end:], frame[end:]

    def _due(self, segment: int) -> np.ndarray:
        """`(n,)` float64: when each frame is due, evenly spread so that what waits is known beforehand."""
        begin, count = int(self.begin[segment]), int(self.begin[segment + 1] - self.begin[segment])
        random = np.random.default_rng([*self.seed, segment])
        return begin + self.span * (random.permutation(count) + random.random(count)) / count


def cut(lengths: np.ndarray, size: int, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Episodes of `lengths` frames in segments of nearly equal length, at most `size` (a multiple of `step`) frames,
    that begin at multiples of `step`. Gives each one's episode, first frame and end, `(M,)` int64.
    """
    groups, parts = -(-lengths // step), -(-lengths // size)
    place = np.repeat(np.arange(len(lengths)), parts)
    number = np.arange(len(place)) - np.repeat(np.cumsum(parts) - parts, parts)
    start = step * (number * groups[place] // parts[place])
    stop = step * ((number + 1) * groups[place] // parts[place])
    return place, start, np.minimum(stop, lengths[place])


def _deal(sizes: np.ndarray, world: int, random: np.random.Generator) -> np.ndarray:
    """`(M,)` int64: the shard of every segment; shards differ by one segment's frames at most."""
    owner = np.zeros(len(sizes), np.int64)
    loads = [(0, rank) for rank in range(world)]
    for segment in random.permutation(len(sizes)).tolist() if world > 1 else ():
        frames, rank = loads[0]
        owner[segment] = rank
        heapq.heapreplace(loads, (frames + int(sizes[segment]), rank))
    return owner


def _stratified(count: int, random: np.random.Generator) -> np.ndarray:
    """A random order of 0..count in rounds, each of which takes one from every stretch of about √count neighbours."""
    stretches = 2 * max(round(count**0.5 / 2), 1)
    stretch = np.arange(count) * stretches // max(count, 1)
    within = np.arange(count) - np.searchsorted(stretch, stretch)
    by_stretch = np.lexsort((_mirrored(stretch, within, random), stretch))
    rounds = np.empty(count, np.int64)
    rounds[by_stretch] = within
    return np.argsort(rounds + _mirrored(rounds, stretch, random))


def _mirrored(row: np.ndarray, column: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Numbers in 0..1 of a table whose odd rows are one minus the row before: random orders without a common drift."""
    table = random.random((row.max(initial=0) // 2 + 1, column.max(initial=0) + 1))[row // 2, column]
    return np.where(row % 2, 1 - table, table)
