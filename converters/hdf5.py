"""Pictures and columns of an HDF5 file, read block by block with few bytes held at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from converters.clips import RawClip, blocks
from converters.pictures import decode, picture_size
from converters.raw import Camera, Column
from dataengine import guard
from dataengine.errors import EpisodeError, SourceError, UnsafeSource
from dataengine.guard import open_hdf5
from dataengine.source import Assumption, EpisodeRef, Plan

if TYPE_CHECKING:
    import h5py

# What labs call the text of an episode, which they add to a layout.
INSTRUCTIONS = ("instruction", "language_instruction", "language_raw", "task_description", "task")
SUFFIXES = (".hdf5", ".h5", ".hdf")
# Rows are read in blocks of whole chunks, up to this many bytes.
_BLOCK = 2 << 20
# Pixels a side from which on a single plane is a picture; less may be a matrix.
SMALLEST = 8
# Columns of one episode are read whole; nothing a robot records comes near.
_MAX_COLUMN = 4 << 30


@dataclass(frozen=True)
class Hdf5Clip(RawClip):
    """Rows `start` to `start + length` of a dataset of pictures.

    dataset: `(T, H, W, C)`, `(T, C, H, W)` or `(T, H, W)` of any number type, given as they lie; with `encoded`
    `(T, n)` or `(T,)` of JPEG or PNG bytes, given as `cv2.imdecode` gives them. sha256: of the file.
    """

    path: str
    dataset: str
    start: int
    length: int
    height: int
    width: int
    fps: float
    sha256: str
    kind: Literal["rgb", "depth"] = "rgb"
    encoded: bool = False

    @classmethod
    def of(cls, path: Path, dataset: h5py.Dataset, camera: Camera, plan: Plan, ref: EpisodeRef, **more: Any) -> Self:
        """A whole dataset of a file that holds this episode."""
        size = (camera.height, camera.width)
        return cls(str(path), dataset.name, 0, len(dataset), *size, plan.fps, ref.extra["sha256"], camera.kind, **more)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        first, last, _ = slice(start, stop).indices(self.length)
        if first >= last:
            return
        with open_hdf5(self.path) as file:
            dataset = file[self.dataset]
            step = _block_rows(dataset)
            for at, until in blocks(self.start + first, self.start + last, step):
                for row, values in enumerate(dataset[at:until], at):
                    yield self._picture(values, row) if self.encoded else values

    def slice(self, start: int, stop: int) -> Hdf5Clip:
        return replace(self, start=self.start + start, length=stop - start)

    @property
    def fingerprint(self) -> str:
        place = f"{self.sha256}\0{self.dataset}\0{self.start}\0{self.length}\0{self.encoded}"
        return hashlib.sha256(place.encode()).hexdigest()

    def _picture(self, data: np.ndarray, row: int) -> np.ndarray:
        try:
            picture = decode(np.frombuffer(data, np.uint8))
        except ValueError as error:
            raise EpisodeError(self.dataset, str(error), frame=row) from error
        if picture.shape[:2] != (self.height, self.width):
            size = f"{picture.shape[0]}×{picture.shape[1]}"
            raise EpisodeError(self.dataset, f"is {size}, not {self.height}×{self.width}", frame=row)
        return picture


def _block_rows(dataset: h5py.Dataset) -> int:
    row = max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:], dtype=np.int64)))
    chunk = dataset.chunks[0] if dataset.chunks else 1
    return max(1, _BLOCK // (row * chunk)) * chunk if row * chunk <= 8 * _BLOCK else max(1, _BLOCK // row)


def datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """Every dataset below a group by its path there, in order of name."""
    import h5py

    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:  # None: declared without any value
            found[name] = item

    group.visititems(visit)
    return found


def column_of(name: str, dataset: h5py.Dataset) -> Column | None:
    """A table column, or None for what is no table of numbers or bools."""
    if dataset.ndim < 1 or dataset.dtype.kind not in "biuf":
        return None
    return Column(name, str(dataset.dtype), dataset.shape[1:])


def camera_of(name: str, dataset: h5py.Dataset) -> Camera | None:
    """A camera that holds raw pictures, or None.

    Four dimensions with 1, 3 or 4 channels last (or 3 first), or three with `depth` in the name or its folder's.
    """
    shape, kind = dataset.shape, dataset.dtype.kind
    if dataset.dtype.kind not in "uf" or min(shape, default=0) < 1:
        return None
    depth = any("depth" in part.lower() for part in name.split("/")[-2:])
    if len(shape) == 3 and depth:
        return Camera(name, shape[1], shape[2], "depth")
    if len(shape) != 4 or (min(shape[1:3]) < 4 and min(shape[2:]) < 4):
        return None
    if shape[3] == 1 and depth:
        return Camera(name, shape[1], shape[2], "depth")
    if shape[3] in (1, 3, 4) and (kind == "f" or dataset.dtype == np.uint8):
        return Camera(name, shape[1], shape[2])
    if shape[1] == 1 and depth and min(shape[2:]) >= SMALLEST:
        return Camera(name, shape[2], shape[3], "depth")
    if (shape[1] == 3 or (shape[1] == 1 and min(shape[2:]) >= SMALLEST)) and (kind == "f" or dataset.dtype == np.uint8):
        return Camera(name, shape[2], shape[3])
    return None


def camera_rule(name: str, dataset: h5py.Dataset) -> dict[str, Any]:
    """What a mapping says of a camera as it lies: its kind, layout and the scale of its numbers."""
    camera = camera_of(name, dataset)
    if camera is None:
        raise ValueError(f"{name} holds no pictures")
    rule: dict[str, Any] = {"from": name, "kind": camera.kind, "flip": "none"}
    if dataset.ndim == 4 and dataset.shape[3] not in (1, 3, 4):
        rule["layout"] = "chw"
    if camera.kind == "depth":
        return rule | {"scale": 0.001 if dataset.dtype.kind == "u" else 1.0}
    if dataset.dtype.kind == "f":
        rule["scale"] = 1.0 if brightest(dataset) > 1.0 else 255.0
    return rule | {"colour": "rgb"}


def brightest(pictures: Any) -> float:
    """The largest value of a few pictures, `(T, …)`: tells 0..1 from 0..255. The first alone is often black."""
    found: list[float] = []
    problem: Exception | None = None
    for place in sorted({0, pictures.shape[0] // 2, pictures.shape[0] - 1}):
        try:
            found.append(float(np.max(np.asarray(pictures[place]))))
        except Exception as error:  # every codec has exceptions of its own; the others may be whole
            problem = error
    if problem is not None and not found:
        raise problem
    return max(found)


def scale_assumption(key: str, rule: Mapping[str, Any]) -> list[Assumption]:
    """What has to be assumed of a camera's numbers, [] where bytes are bytes."""
    if "scale" not in rule:
        return []
    if rule["kind"] == "depth":
        why = "no file says the unit of its depth; whole numbers are taken for mm, others for m"
    else:
        why = "no file says the range of its pictures; those that reach 1 at most are taken for 0 to 1"
    return [Assumption(f"cameras/{key}/scale", rule["scale"], why)]


def instruction(path: Path, item: Any) -> tuple[str, str] | None:
    """The text of an episode with the name it stands under: a dataset or attribute of a group, one text long."""
    import h5py

    for name in INSTRUCTIONS:
        found = item.get(name)
        if isinstance(found, h5py.Dataset) and found.size == 1 and found.dtype.kind in "SO":
            text = np.asarray(found[()]).reshape(-1)[0]
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        else:
            text = read_attribute(path, item, name) if isinstance(item.attrs.get(name), str | bytes) else None
        if isinstance(text, str) and text.strip():
            return name, text.strip()
    return None


def other_attributes(item: Any, known: Collection[str]) -> list[str]:
    """Attributes that nothing takes."""
    return [f"attribute {name}" for name in item.attrs if name not in known and name not in INSTRUCTIONS]


def rate_of_clocks(clocks: Sequence[np.ndarray]) -> float | None:
    """The rate in Hz that rising clocks `(T,)` in [s] show, whole where it is nearly so; None for what is no clock."""
    steps = [np.diff(np.asarray(clock, np.float64)) for clock in clocks if len(clock) > 1]
    if not steps or not ((joined := np.concatenate(steps)) > 0).all() or joined.max() > 10:
        return None
    rate = 1.0 / float(np.median(joined))
    return float(np.round(rate, 3 if rate < 10 else 1)) if abs(rate - round(rate)) > 0.02 else float(round(rate))


def encoded_camera(name: str, dataset: h5py.Dataset, path: Path) -> Camera | None:
    """A camera that holds a JPEG or PNG a row, by the header of its first; None for anything else."""
    import h5py

    padded = dataset.ndim == 2 and dataset.dtype == np.uint8
    if not padded and not (dataset.ndim == 1 and h5py.check_vlen_dtype(dataset.dtype) == np.uint8):
        return None
    if len(dataset) == 0:
        return None
    try:
        height, width = picture_size(np.asarray(dataset[0])[: 1 << 16].tobytes())
    except ValueError as error:
        raise SourceError(path, f"dataset {name!r}, frame 0: {error}") from error
    return Camera(name, height, width)


def read_columns(path: Path, group: h5py.Group, names: set[str], length: int, episode: str) -> dict[str, np.ndarray]:
    """These columns of a group, whole. Raises `EpisodeError` for a length that is not the episode's."""
    found: Mapping[str, h5py.Dataset] = {name: group[name] for name in sorted(names) if name in group}
    arrays = {}
    for name, dataset in found.items():
        guard.check_allocation(path, name, dataset.dtype.itemsize * (dataset.size or 0), _MAX_COLUMN)
        if len(dataset) != length:
            raise EpisodeError(episode, f"has {len(dataset)} rows, the episode {length}", feature=name)
        arrays[name] = dataset[()]
    return arrays


def read_attribute(path: Path, item: Any, name: str) -> str | None:
    """A text attribute, or None. Raises `UnsafeSource` above 64 MiB."""
    if name not in item.attrs:
        return None
    value = item.attrs[name]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else guard.whole_text(str(value))
    if len(text) > 64 << 20:
        raise UnsafeSource(path, f"attribute {name!r} holds {len(text):,} characters")
    return text
