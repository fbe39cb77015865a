"""What flows through the engine: an `Episode` – one attempt at one task.

A typed table of frames, the camera clips beside it, and what has been said about it. Immutable: every
change gives a new episode that shares what did not change.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from dataengine.errors import ConfigError, EpisodeError

Role = Literal["state", "environment", "action", "image", "depth", "reward", "done", "time", "label", "other"]
LabelKind = Literal["frame", "span", "event", "episode"]

# LeRobot's own columns: the store derives them from an episode's place, so an episode never carries them.
POSITION_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")

# True capture time of every frame in [s], float64, kept where a source's clock is not exactly frame / fps.
CAPTURE_TIME = "collect.timestamp"


@dataclass(frozen=True)
class Feature:
    """One column of frames, or one camera.

    dtype: a numpy name, "string", "video" or "image". shape: per frame; `(1,)` is a scalar column, a
    camera is `(H, W, C)`. names: one per element (cameras: height, width, channels). unit: one for all
    elements or one each; None means the source does not say. rate: Hz, when it is not the dataset's.
    info: what LeRobot keeps under `info` (codec of a video), and conventions such as
    `{"rotation": "quaternion_xyzw"}`.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None = None
    role: Role = "other"
    unit: str | tuple[str, ...] | None = None
    rate: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_camera(self) -> bool:
        return self.dtype in ("video", "image")

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def control(self) -> str | None:
        """What an action means – absolute, delta or velocity – where the source says it."""
        said = self.info.get("control", self.info.get("kind"))
        return said if isinstance(said, str) else None


class Clip(ABC):
    """The pictures of one camera over one episode, decoded when asked for.

    Colour frames are `(H, W, 3)` uint8 RGB, depth frames `(H, W, 1)` float32 in metres. Subclasses are
    picklable and cheap to make: they hold a place to read from, never pixels of a whole file.
    """

    length: int
    height: int
    width: int
    fps: float
    kind: Literal["rgb", "depth"]

    @abstractmethod
    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Decode frames `start` to `stop` (exclusive) in order, each once, in constant memory."""

    @abstractmethod
    def slice(self, start: int, stop: int) -> Clip:
        """The same clip cut to frames `start` to `stop` (exclusive), without decoding."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes when the pictures change; cheap, so it may hash the source, not the pixels."""

    def frame(self, index: int) -> np.ndarray:
        """One frame, `0 <= index < length`."""
        return next(self.frames(index, index + 1))


class ClipOf(Clip):
    """A clip that shows `source` otherwise: what a subclass does not say of itself is its source's."""

    source: Clip

    @property
    def length(self) -> int:  # type: ignore[override]
        return self.source.length

    @property
    def height(self) -> int:  # type: ignore[override]
        return self.source.height

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.source.width

    @property
    def fps(self) -> float:  # type: ignore[override]
        return self.source.fps

    @property
    def kind(self) -> Literal["rgb", "depth"]:  # type: ignore[override]
        return self.source.kind


@dataclass(frozen=True)
class ArrayClip(Clip):
    """Frames that are already in memory: `(T, H, W, 3)` uint8 RGB, or `(T, H, W, 1)` float32 metres."""

    array: np.ndarray
    fps: float

    def __post_init__(self) -> None:
        a = self.array
        if a.ndim != 4 or (a.shape[3], a.dtype) not in ((3, np.dtype(np.uint8)), (1, np.dtype(np.float32))):
            raise ConfigError(f"a clip is (T, H, W, 3) uint8 or (T, H, W, 1) float32, not {a.shape} {a.dtype}")

    @property
    def length(self) -> int:  # type: ignore[override]
        return len(self.array)

    @property
    def height(self) -> int:  # type: ignore[override]
        return self.array.shape[1]

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.array.shape[2]

    @property
    def kind(self) -> Literal["rgb", "depth"]:  # type: ignore[override]
        return "rgb" if self.array.shape[3] == 3 else "depth"

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        return iter(self.array[start:stop])

    def slice(self, start: int, stop: int) -> ArrayClip:
        return ArrayClip(self.array[start:stop], self.fps)

    @cached_property
    def fingerprint(self) -> str:
        return hash_array(self.array)


@dataclass(frozen=True)
class Label:
    """What somebody says about an episode, as a table.

    kind "frame": one row per frame, in order. "span": `start`, `stop` frame numbers (stop exclusive) and
    values. "event": `frame` and values. "episode": rows about the whole. source: who said it
    (name, version, parameters).
    """

    kind: LabelKind
    table: pa.Table
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One thing that was done to an episode, and what had to be assumed to do it."""

    name: str
    version: str
    params: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Meta:
    """What is known about an episode as a whole; None and empty mean: the source does not say.

    source: format, file name (never an absolute path), sha256, the episode's name or offset in it.
    """

    tasks: tuple[str, ...] = ()
    success: bool | None = None
    operator: str | None = None
    embodiment: str | None = None
    licence: str | None = None
    quality: float | None = None
    split: str | None = None
    parent: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    lineage: tuple[Step, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Episode:
    """One attempt at one task.

    id: given once at ingest (`episode_id`), never an index. features: every column of `frames` and every
    clip, by key. frames: `(T, *shape)` arrays, `(T,)` where the shape is `(1,)`. frame_tasks: `(T,)` int64
    positions in `meta.tasks`, when the task changes on the way.
    """

    id: str
    fps: float
    features: Mapping[str, Feature]
    frames: Mapping[str, np.ndarray]
    clips: Mapping[str, Clip] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)
    meta: Meta = field(default_factory=Meta)
    frame_tasks: np.ndarray | None = None

    @property
    def length(self) -> int:
        for column in self.frames.values():
            return len(column)
        for clip in self.clips.values():
            return clip.length
        return 0

    def __len__(self) -> int:
        return self.length

    @property
    def times(self) -> np.ndarray:
        """`(T,)` float64 seconds: true capture times where known, else frame / fps."""
        captured = self.frames.get(CAPTURE_TIME)
        return np.arange(self.length) / self.fps if captured is None else np.asarray(captured, np.float64)

    def keys_of(self, role: Role) -> list[str]:
        return [key for key, feature in self.features.items() if feature.role == role]

    def check(self) -> Episode:
        """Raise `EpisodeError` unless columns, clips and features agree; gives the episode back."""
        if self.length == 0:
            raise EpisodeError(self.id, "it has no frames")
        if missing := set(self.features) ^ (set(self.frames) | set(self.clips)):
            raise EpisodeError(self.id, f"features and columns differ in {sorted(missing)}")
        for key, column in self.frames.items():
            self._check_column(key, column)
        for key, clip in self.clips.items():
            if clip.length != self.length:
                raise EpisodeError(
                    self.id, f"the clip has {clip.length} frames, the table {self.length} rows", feature=key
                )
            if (clip.height, clip.width) != self.features[key].shape[:2]:
                raise EpisodeError(
                    self.id, f"pictures are {clip.height}×{clip.width}, not {self.features[key].shape}", feature=key
                )
        if self.frame_tasks is not None and (
            len(self.frame_tasks) != self.length
            or self.frame_tasks.min() < 0
            or self.frame_tasks.max() >= len(self.meta.tasks)
        ):
            raise EpisodeError(self.id, "frame_tasks does not point into the episode's tasks for every frame")
        return self

    def _check_column(self, key: str, column: np.ndarray) -> None:
        feature = self.features[key]
        if key in POSITION_COLUMNS:
            raise EpisodeError(self.id, "is derived by the store and cannot be given", feature=key)
        want = (self.length,) if feature.shape == (1,) else (self.length, *feature.shape)
        if column.shape != want:
            raise EpisodeError(self.id, f"has shape {column.shape}, expected {want}", feature=key)
        if feature.dtype == "string":
            return
        if str(column.dtype) != feature.dtype:
            raise EpisodeError(self.id, f"is {column.dtype}, expected {feature.dtype}", feature=key)
        if column.dtype.kind == "f" and not (finite := np.isfinite(column).reshape(self.length, -1).all(1)).all():
            bad = int(np.argmin(finite))
            raise EpisodeError(self.id, "holds NaN or Inf", feature=key, frame=bad)

    def with_columns(self, features: Mapping[str, Feature], columns: Mapping[str, np.ndarray]) -> Episode:
        """Add or replace columns of the table."""
        return replace(self, features={**self.features, **features}, frames={**self.frames, **columns})

    def with_label(self, name: str, label: Label) -> Episode:
        return replace(self, labels={**self.labels, name: label})

    def with_meta(self, **changes: Any) -> Episode:
        return replace(self, meta=replace(self.meta, **changes))

    def with_step(self, step: Step) -> Episode:
        return self.with_meta(lineage=(*self.meta.lineage, step))

    def select(self, keys: list[str]) -> Episode:
        """Only these features."""
        return replace(
            self,
            features={k: self.features[k] for k in keys},
            frames={k: v for k, v in self.frames.items() if k in keys},
            clips={k: v for k, v in self.clips.items() if k in keys},
        )

    def map(self, key: str, function: Callable[[np.ndarray], np.ndarray]) -> Episode:
        """Replace one column by a function of the whole column."""
        return replace(self, frames={**self.frames, key: function(self.frames[key])})

    def slice(self, start: int, stop: int) -> Episode:
        """Frames `start` to `stop` (exclusive) as a variant with its own id and this one as its parent."""
        if not 0 <= start < stop <= self.length:
            raise EpisodeError(self.id, f"cannot be cut to {start}:{stop}; it has {self.length} frames")
        if (start, stop) == (0, self.length):
            return self
        return replace(
            self,
            id=derived_id(self.id, f"slice:{start}:{stop}"),
            frames={k: v[start:stop] for k, v in self.frames.items()},
            clips={k: c.slice(start, stop) for k, c in self.clips.items()},
            labels={k: _slice_label(label, start, stop) for k, label in self.labels.items()},
            frame_tasks=None if self.frame_tasks is None else self.frame_tasks[start:stop],
            meta=replace(
                self.meta,
                parent=self.id,
                lineage=(*self.meta.lineage, Step("slice", "1", {"start": start, "stop": stop})),
            ),
        )

    def hashes(self) -> dict[str, str]:
        """Content hash of every column, clip and label, by key; labels as `label:<name>`."""
        found = {key: hash_array(column) for key, column in self.frames.items()}
        found |= {key: clip.fingerprint for key, clip in self.clips.items()}
        found |= {f"label:{name}": hash_table(label.table) for name, label in self.labels.items()}
        if self.frame_tasks is not None:
            found["frame_tasks"] = hash_array(self.frame_tasks)
        return found


def episode_id(source_hash: str, place: str | int) -> str:
    """The stable id of an episode: what file it came from (sha256) and where in it."""
    return hashlib.sha256(f"{source_hash}\0{place}".encode()).hexdigest()[:20]


def derived_id(parent: str, change: str) -> str:
    return episode_id(parent, change)


def hash_array(array: np.ndarray) -> str:
    """sha256 over dtype, shape and values; independent of memory layout."""
    digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    if array.dtype.kind in "OUT":
        digest.update(json.dumps(array.tolist(), ensure_ascii=False).encode())
    else:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hash_table(table: pa.Table) -> str:
    """sha256 over column names, types and values of a small table."""
    rows = json.dumps(table.to_pylist(), sort_keys=True, default=_jsonable, ensure_ascii=False)
    return hashlib.sha256(f"{table.schema.remove_metadata()}\0{rows}".encode()).hexdigest()


def meta_to_json(meta: Meta) -> dict[str, Any]:
    return asdict(meta)


def meta_from_json(data: Mapping[str, Any]) -> Meta:
    steps = tuple(
        Step(s["name"], s["version"], s.get("params", {}), tuple(s.get("assumed", ()))) for s in data.get("lineage", ())
    )
    return Meta(**{**data, "tasks": tuple(data.get("tasks", ())), "lineage": steps})


def _slice_label(label: Label, start: int, stop: int) -> Label:
    table = label.table
    if label.kind == "frame":
        return replace(label, table=table.slice(start, stop - start))
    if label.kind == "event":
        at = table.column("frame").to_numpy()
        table = table.filter(pa.array((at >= start) & (at < stop)))
        return replace(label, table=_set(table, "frame", table.column("frame").to_numpy() - start))
    if label.kind == "span":
        begin, end = table.column("start").to_numpy(), table.column("stop").to_numpy()
        keep = (end > start) & (begin < stop)
        table = table.filter(pa.array(keep))
        table = _set(table, "start", np.clip(begin[keep], start, stop) - start)
        return replace(label, table=_set(table, "stop", np.clip(end[keep], start, stop) - start))
    return label


def _set(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))


def _jsonable(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
