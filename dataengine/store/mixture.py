"""Several stores as one stream: how often each is drawn from, and what its features are called.

Every store gives its own shuffled `FrameStream`, again and again; a batch takes from each as many samples as its weight
says. Which rows of a batch come from where follows from the seed alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.store.mixture_names import agreed, common, names_of
from dataengine.store.store import Store
from dataengine.store.stream import FrameStream
from dataengine.store.stream_segment import Memory

_CHUNK = 32  # samples made together where they are given one by one
_PASSES = 1 << 20  # epochs of a store within one of the mixture, at most


class Mixture:
    """`for batch in mixture:` one epoch: `frames` samples of all shards together; the next loop is the next epoch.

    stores: by name; some may be remote. weights: shares of the samples by name, of any sum. temperature: instead, a
    store's share is its number of frames to the power of 1 / temperature – 1 (the default) draws every frame equally
    often, more lifts small stores up to equal shares (Arivazhagan et al. 2019, arXiv:1907.05019; π0 takes the power
    0.43, arXiv:2410.24164). mapping: by store, what its features are called here; the others keep their names.
    columns, delta_timestamps [s]: in the names of here; by default all features, which every store must then have, of
    the same shape, dtype and unit. Rates may differ where every window is a whole number of frames of each.
    episodes: by store. labels: names of side tables of all of them. frames: of an epoch, by default all there are;
    within it, a store gives each of its frames once before it gives one again. buffer_bytes: of all stores together,
    in equal parts. rank, world: shards of equal length, disjoint in each pass over a store (one with fewer pieces than
    there are shards is read by each of them as a whole). The rest is as for `FrameStream`.

    Items are those of `FrameStream`, and `dataset_index`: int64, the place in `names`; `index`, `episode_index` and
    `task_index` count within the store. Raises `ConfigError` saying what does not fit; while it runs as `FrameStream`.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        weights: Mapping[str, float] | None = None,
        temperature: float | None = None,
        mapping: Mapping[str, Mapping[str, str]] | None = None,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        batch: int | None = None,
        episodes: Mapping[str, Sequence[int]] | None = None,
        columns: Sequence[str] | None = None,
        labels: Sequence[str] = (),
        frames: int | None = None,
        buffer_bytes: int = 256 << 20,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        threads: int | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        for given, what in ((weights, "weights"), (mapping, "mapping"), (episodes, "episodes")):
            if strange := sorted(set(given or ()) - set(stores)):
                raise ConfigError(f"{what} names {', '.join(strange)}; the stores are {', '.join(stores)}")
        self.names, self.batch, self._size = tuple(stores), batch, batch or _CHUNK
        self.seed, self.rank, self.world = seed, rank, world
        self._called = {name: names_of(name, store, (mapping or {}).get(name, {})) for name, store in stores.items()}
        keys = common(self._called, columns)
        self._streams: dict[str, FrameStream] = {}
        for name, store in stores.items():
            own = {called: key for key, called in self._called[name].items()}
            options: dict[str, Any] = {
                "delta_timestamps": {own.get(key, key): deltas for key, deltas in (delta_timestamps or {}).items()},
                "batch": self._size,
                "episodes": (episodes or {}).get(name),
                "columns": [own[key] for key in keys],
                "labels": labels,
                "buffer_bytes": buffer_bytes // len(stores),
                "threads": threads,
            }
            try:
                self._streams[name] = _stream(store, _seed(seed, name), rank, world, options)
            except ConfigError as error:
                raise ConfigError(f"store {name!r}: {error}") from error
        self.features = self._agreed()
        if unknown := sorted(set(delta_timestamps or ()) - set(self.features)):
            raise ConfigError(f"delta_timestamps name {', '.join(unknown)}; there are {', '.join(self.features)}")
        sizes = {name: int(stream._lengths.sum()) for name, stream in self._streams.items()}
        self.weights = _shares(sizes, weights, temperature)
        self.frames = sum(sizes.values()) if frames is None else frames
        if self.frames < world:
            raise ConfigError(f"an epoch of {self.frames} frames is less than one for each of {world} shards")
        self._memory = Memory()
        self.set_epoch(epoch)
        if state is not None:
            self.resume(state)

    def __len__(self) -> int:
        """Items of a whole epoch of this shard; the same for all shards."""
        return math.ceil(self.frames // self.world / (self.batch or 1))

    # -- where it stands ----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain, and enough for a mixture of the same parameters to go on with the next item."""
        stores = {name: {"stream": stream, "taken": taken} for name, (stream, taken) in self._places.items()}
        return {"plan": self._fingerprint, "epoch": self.epoch, "given": self._given, "stores": stores}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken. Raises `ConfigError` if that was another order, or no state at all."""
        try:
            plan, epoch, given = str(state["plan"]), int(state["epoch"]), int(state["given"])
            places = {n: (dict(state["stores"][n]["stream"]), int(state["stores"][n]["taken"])) for n in self.names}
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this is not the state of a mixture: {state!r}") from error
        if plan != self._fingerprint:
            raise ConfigError("this state is of a mixture with other stores, weights, frames, batch, seed or shard")
        for name, (place, _) in places.items():
            self._streams[name].resume(place)
        self.epoch, self._given, self._places = epoch, given, places

    def set_epoch(self, epoch: int) -> None:
        """Begin this epoch with the next loop."""
        self.epoch, self._given = epoch, 0
        for stream in self._streams.values():
            stream.set_epoch(epoch * _PASSES)
        # Of each store the state before the chunk that is being given, and how many of its samples have left.
        self._places = {name: (stream.state(), 0) for name, stream in self._streams.items()}

    @property
    def _fingerprint(self) -> str:
        whole = (self.weights, self.frames, self._size, self.seed, self.rank, self.world)
        return hashlib.sha256(repr(whole).encode()).hexdigest()[:16]

    # -- giving -------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for name, (place, _) in self._places.items():
            self._streams[name].resume(place)
        with ExitStack() as stack:
            chunks = {name: stack.enter_context(closing(self._chunks(name))) for name in self.names}
            held: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
            total = self.frames // self.world
            end = -(-total // self._size)
            for number in range(self._given // self._size if self._given < total else end, end):
                rows = self._drawn(number, min(self._size, total - number * self._size))
                places = dict(self._places)
                batch = self._made(rows, chunks, held, places)
                if self.batch is None:
                    for row in range(self._given - number * self._size, len(rows)):
                        self._given = number * self._size + row + 1
                        if row + 1 == len(rows):
                            self._places = places
                        yield {key: column[row] for key, column in batch.items()}
                else:
                    self._given, self._places = number * self._size + len(rows), places
                    yield batch
        self.set_epoch(self.epoch + 1)

    def _drawn(self, number: int, count: int) -> np.ndarray:
        """`(count,)` int64: the store of every row of a batch, each as often as its weight says, up to one more."""
        random = np.random.default_rng([self.seed, self.epoch, self.world, self.rank, number])
        even = (np.arange(count) + random.random()) / count
        edges = np.cumsum(list(self.weights.values()))
        return random.permutation(np.searchsorted(edges[:-1], even, "right"))

    def _chunks(self, name: str) -> Generator[tuple[dict[str, Any], dict[str, Any]]]:
        """Batches of one store without end, each with the state before it."""
        stream = self._streams[name]
        while True:
            before = stream.state()
            for chunk in stream:
                after = stream.state()
                yield before, chunk
                before = after

    def _made(
        self,
        rows: np.ndarray,
        chunks: Mapping[str, Iterator[tuple[dict[str, Any], dict[str, Any]]]],
        held: dict[str, tuple[dict[str, Any], dict[str, Any]]],
        places: dict[str, tuple[dict[str, Any], int]],
    ) -> dict[str, Any]:
        """A batch. held: the chunk of every store that is being given; places: moved on by what is taken."""
        parts: list[tuple[np.ndarray, dict[str, Any]]] = []
        for number, name in enumerate(self.names):
            mine = np.flatnonzero(rows == number)
            while len(mine):
                if name not in held:
                    held[name] = next(chunks[name])
                    if held[name][0] != places[name][0]:
                        places[name] = (held[name][0], 0)
                before, chunk = held[name]
                taken = places[name][1]
                count = min(len(chunk["task"]) - taken, len(mine))
                part = {key: column[taken : taken + count] for key, column in chunk.items()}
                parts.append((mine[:count], self._renamed(name, part)))
                places[name], mine = (before, taken + count), mine[count:]
                if taken + count == len(chunk["task"]):
                    del held[name]
        batch = {key: self._joined(key, [(r, part[key]) for r, part in parts], len(rows)) for key in parts[0][1]}
        return {**batch, "dataset_index": rows}

    def _renamed(self, name: str, part: Mapping[str, Any]) -> dict[str, Any]:
        called = self._called[name]
        pads = {f"{key}_is_pad": f"{new}_is_pad" for key, new in called.items()}
        return {called.get(key) or pads.get(key) or key: column for key, column in part.items()}

    def _joined(self, key: str, parts: list[tuple[np.ndarray, Any]], count: int) -> Any:
        if key == "task":
            tasks = [""] * count
            for rows, texts in parts:
                for row, text in zip(rows.tolist(), texts, strict=True):
                    tasks[row] = text
            return tasks
        kind = np.result_type(*(column for _, column in parts))
        shape = (count, *parts[0][1].shape[1:])
        pictures = key in self.features and self.features[key].is_camera
        column = self._memory.empty(shape, kind) if pictures else np.empty(shape, kind)
        for rows, values in parts:
            column[rows] = values
        return column

    def _agreed(self) -> dict[str, Feature]:
        """Features by the names of here. Raises `ConfigError` where they are not the same in all stores."""
        given: dict[str, dict[str, Feature]] = {}
        for name, stream in self._streams.items():
            chosen, own = stream._chosen, {**stream.store.features, **stream._chosen.labels.features}
            keys = [*chosen.keys, *chosen.cameras, *chosen.labels.features]
            given[name] = {self._called[name].get(key, key): own[key] for key in keys}
        return agreed(given)


def _stream(store: Store, seed: int, rank: int, world: int, options: Mapping[str, Any]) -> FrameStream:
    """One store's stream. Raises `ConfigError` when it has nothing to give."""
    stream = FrameStream(store, seed=seed, rank=rank, world=world, **options)
    if not stream._lengths.sum():
        raise ConfigError("has no frames to give")
    if len(stream._cuts[0]) >= world:
        return stream
    return FrameStream(store, seed=_seed(seed, str(rank)), **options)


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:6])


def _shares(
    sizes: Mapping[str, int], weights: Mapping[str, float] | None, temperature: float | None
) -> dict[str, float]:
    """By store, of sum 1."""
    if weights is not None and temperature is not None:
        raise ConfigError("give weights or temperature, not both")
    if weights is not None:
        if wrong := [name for name in sizes if not 0 < weights.get(name, 0) < math.inf]:
            raise ConfigError(f"weights are positive numbers for every store; that of {', '.join(wrong)} is not")
        raw = {name: float(weights[name]) for name in sizes}
    else:
        power = 1.0 if temperature is None else temperature
        if not power > 0:
            raise ConfigError(f"temperature is {temperature}; it is a positive number")
        raw = {name: (size / max(sizes.values())) ** (1 / power) for name, size in sizes.items()}
    return {name: value / sum(raw.values()) for name, value in raw.items()}
