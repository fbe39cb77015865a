"""A store as a `torch` dataset, with the keys, shapes and dtypes of LeRobotDataset 0.6.

Cameras are `([W,] C, H, W)` float32 in 0..1, or uint8 on request, depth float32 in millimetres; other floats are
float32, whole numbers int64; `task` and text are `str`. A batch has one axis more, and lists of `str`.

In `lerobot_train` either class may stand for what `make_train_eval_datasets` gives: `FrameDataset` as it is,
`StreamDataset` (with `batch=None`) where the configuration says `streaming`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.store.mixture import Mixture
from dataengine.store.reader import FrameReader
from dataengine.store.schema import is_depth
from dataengine.store.store import Store
from dataengine.store.stream import FrameStream

_WORKERS = 1024


class _LeRobotLike:
    """What LeRobot's training loop asks a dataset for beside its items."""

    store: Store
    episodes: list[int] | None  # None: all, as LeRobot has it

    @cached_property
    def meta(self) -> Any:
        """`LeRobotDatasetMetadata` of the store; imports lerobot."""
        from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata

        return LeRobotDatasetMetadata(f"local/{self.store.root.name}", root=self.store.root)

    @property
    def fps(self) -> float:
        return self.store.fps

    @property
    def features(self) -> dict[str, Any]:
        """As in `info.json`."""
        return dict(self.store.info["features"])

    @property
    def num_frames(self) -> int:
        lengths = self.store.table_of_episodes.length
        return int((lengths if self.episodes is None else lengths[self.episodes]).sum()) if len(self.store) else 0

    @property
    def num_episodes(self) -> int:
        return len(self.store) if self.episodes is None else len(self.episodes)

    @property
    def absolute_to_relative_idx(self) -> dict[int, int] | None:
        """Places of the chosen frames by their global number, None where all are chosen."""
        if self.episodes is None:
            return None
        table = self.store.table_of_episodes
        frames = [range(int(table.start[i]), int(table.stop[i])) for i in self.episodes]
        return {frame: place for place, frame in enumerate(frame for span in frames for frame in span)}


class FrameDataset(_LeRobotLike, Dataset):
    """`FrameReader` as a map-style dataset: any frame by number, for evaluation and small tables."""

    def __init__(
        self,
        store: Store,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        episodes: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        return_uint8: bool = False,
        labels: Sequence[str] = (),
    ) -> None:
        self.store, self.return_uint8 = store, return_uint8
        self.episodes = None if episodes is None else list(episodes)
        self._reader = FrameReader(store, delta_timestamps, episodes, columns, labels)

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return as_tensors(self._reader[index], self.store.features, self.return_uint8)


class _Divided(IterableDataset):
    """A stream that the workers of a loader divide, and so do the ranks of `torch.distributed`."""

    return_uint8: bool

    def _divide(self, rank: int | None, world: int | None, epoch: int, threads: int | None, buffer_bytes: int) -> None:
        spread = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if spread else 0
        self.world = world if world is not None else torch.distributed.get_world_size() if spread else 1
        self._threads, self._buffer = threads, buffer_bytes
        # The epoch each worker comes to next; shared, since a loader may start new processes for every epoch.
        self._epochs = torch.full((_WORKERS,), epoch, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        self._epochs.fill_(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        if workers > _WORKERS:
            raise ConfigError(f"{workers} workers are more than {_WORKERS}")
        stream = self._stream(number, workers)
        self._epochs[number] += 1
        features = self._features()
        for item in stream:
            yield as_tensors(item, features, self.return_uint8)

    def _stream(self, number: int, workers: int) -> FrameStream | Mixture:
        return self._made(
            buffer_bytes=self._buffer // workers,
            epoch=int(self._epochs[number]),
            rank=self.rank * workers + number,
            world=self.world * workers,
            threads=self._threads if self._threads or workers == 1 else 1,
        )

    def _made(self, **shard: Any) -> FrameStream | Mixture:
        raise NotImplementedError

    def _features(self) -> Mapping[str, Feature]:
        raise NotImplementedError


class StreamDataset(_LeRobotLike, _Divided):
    """`FrameStream` as an iterable dataset; use it as `DataLoader(dataset, batch_size=None, num_workers=…)`.

    batch: samples of one item, None: single samples, for a loader that makes batches itself. rank, world: by default
    those of `torch.distributed`; the workers of a loader divide the share of their rank, the threads and the buffer.
    The rest is as for `FrameStream`. Every loop over a loader is an epoch; `set_epoch` says which comes next.
    """

    def __init__(
        self,
        store: Store,
        delta_timestamps: Mapping[str, Sequence[float]] | None = None,
        batch: int | None = 32,
        episodes: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        buffer_bytes: int = 256 << 20,
        seed: int = 0,
        epoch: int = 0,
        rank: int | None = None,
        world: int | None = None,
        threads: int | None = None,
        return_uint8: bool = False,
        labels: Sequence[str] = (),
    ) -> None:
        self.store, self.return_uint8 = store, return_uint8
        self.episodes = None if episodes is None else list(episodes)
        self._options: dict[str, Any] = {
            "delta_timestamps": delta_timestamps,
            "batch": batch,
            "episodes": episodes,
            "columns": columns,
            "labels": labels,
            "seed": seed,
        }
        self._divide(rank, world, epoch, threads, buffer_bytes)
        self._stream(0, 1)  # what is wrong with the parameters is said here, not in a worker

    def _made(self, **shard: Any) -> FrameStream:
        return FrameStream(self.store, **self._options, **shard)

    def _features(self) -> Mapping[str, Feature]:
        return self.store.features


class MixtureDataset(_Divided):
    """`Mixture` as an iterable dataset, as `StreamDataset` is of `FrameStream`; `dataset_index` says which store.

    options: as for `Mixture`, `batch` by default 32. `features`, `weights`: those of the mixture.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        *,
        batch: int | None = 32,
        buffer_bytes: int = 256 << 20,
        epoch: int = 0,
        rank: int | None = None,
        world: int | None = None,
        threads: int | None = None,
        return_uint8: bool = False,
        **options: Any,
    ) -> None:
        self.stores, self.return_uint8 = dict(stores), return_uint8
        self._options = {**options, "batch": batch}
        self._divide(rank, world, epoch, threads, buffer_bytes)
        mixture = self._made(rank=self.rank, world=self.world, buffer_bytes=buffer_bytes, epoch=epoch)
        self.features, self.weights, self.num_frames = mixture.features, mixture.weights, mixture.frames

    def _made(self, **shard: Any) -> Mixture:
        return Mixture(self.stores, **self._options, **shard)

    def _features(self) -> Mapping[str, Feature]:
        return self.features


def as_tensors(item: Mapping[str, Any], features: Mapping[str, Feature], return_uint8: bool = False) -> dict[str, Any]:
    """An item or a batch of numpy arrays as LeRobot gives it."""
    return {key: _tensor(value, features.get(key), return_uint8) for key, value in item.items()}


def _tensor(value: Any, feature: Feature | None, return_uint8: bool) -> Any:
    if isinstance(value, str | list):
        return str(value) if isinstance(value, str) else value
    array = np.asarray(value)
    if array.dtype.kind == "U":
        return array.tolist()
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    if feature is not None and feature.is_camera:
        tensor = tensor.movedim(-1, -3)
        if is_depth(feature):
            return tensor.mul(1000).round_()
        return tensor if return_uint8 else tensor.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    kinds = {"f": torch.float32, "i": torch.int64, "u": torch.int64}
    return tensor.to(kinds.get(array.dtype.kind, tensor.dtype))
