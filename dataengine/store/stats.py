"""Statistics that merge: of an episode, of a camera, of a whole store, without reading anything twice.

Count, minimum, maximum, mean and standard deviation merge exactly (Chan, Golub & LeVeque 1983, eq. 2.1b).
Quantiles come from a histogram that merges exactly too, so the quantiles of a store are those of all its
frames – never a mean of its episodes' quantiles, outside of which most frames can lie.

- Pictures: 256 grey levels per channel; everything about them is exact for the frames and pixels seen.
- Numbers: logarithmic bins of the distance from a fixed centre, the column's first value (after DDSketch,
  Masson, Rim & Lee 2019, with a centre so that a joint moving little around 3 rad is resolved as well as one
  moving around 0). A quantile is wrong by at most `ALPHA` times its distance from the centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature
from dataengine.errors import StoreError
from dataengine.store import files
from dataengine.store.schema import from_info

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
NAMES = ("min", "max", "mean", "std", "count", *QUANTILES)
ALPHA = 0.001
_SMALLEST = 1e-12
_LOG_GAMMA = np.log1p(ALPHA) - np.log1p(-ALPHA)
_ELEMENT = 1 << 20  # from the bins of one element of a vector to those of the next; there are 351,000
_AT_ONCE = 1 << 19  # numbers that are counted together; sorting and counting needs ten times their memory
_LARGEST = 1e140  # beyond, sums of squares overflow: statistics of such values are those of the bound

SCHEMA = pa.schema(
    [
        ("feature", pa.string()),
        ("dim", pa.int32()),
        ("grey", pa.bool_()),
        ("frames", pa.int64()),
        *((name, pa.float64()) for name in ("centre", "values", "mean", "m2", "min", "max")),
        ("bins", pa.list_(pa.int32())),
        ("counts", pa.list_(pa.int64())),
    ]
)


@dataclass
class Sketch:
    """Running statistics of `D` numbers (elements of a vector, channels of a camera).

    grey: values are grey levels 0..255, reported as 0..1. centre: `(D,)`, fixed before the first update.
    frames: what LeRobot calls count. values: how many of each element. keys, counts: the bins that occur and how
    often, of all elements in one: `keys_of` ascending.
    """

    grey: bool
    centre: np.ndarray
    frames: int = 0
    values: float = 0.0
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0))
    m2: np.ndarray = field(default_factory=lambda: np.zeros(0))
    low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def dims(self) -> int:
        return len(self.centre)

    def add(self, values: np.ndarray, frames: int) -> None:
        """`(N, D)` values of `frames` more frames."""
        self._add_sorted(_sorted(values), frames)

    def _add_sorted(self, x: np.ndarray, frames: int) -> None:
        mean = x.mean(1)
        keys = keys_of(list(_bins(x - self.centre[:, None])))
        m2 = ((x - mean[:, None]) ** 2).sum(1)
        counted = _counted(keys, np.ones(len(keys), np.int64))
        self._merge(frames, x.shape[1], mean, m2, x[:, 0].copy(), x[:, -1].copy(), *counted)

    def add_histogram(self, histogram: np.ndarray, frames: int) -> None:
        """`(D, 256)` counts of grey levels of `frames` more frames."""
        level, total = np.arange(256.0), histogram.sum(1)
        mean = histogram @ level / total
        m2 = (histogram * (level - mean[:, None]) ** 2).sum(1)
        seen = [np.flatnonzero(row) for row in histogram]
        low, high = np.array([s[0] for s in seen], float), np.array([s[-1] for s in seen], float)
        self._merge(frames, float(total[0]), mean, m2, low, high, keys_of(seen), histogram[histogram > 0])

    def merge(self, other: Sketch) -> None:
        """Take in what another sketch saw. Raises `ValueError` if it counts around another centre."""
        if self.grey != other.grey or not np.array_equal(self.centre, other.centre):
            raise ValueError("sketches with different centres cannot be merged")
        if other.frames:
            self._merge(
                other.frames, other.values, other.mean, other.m2, other.low, other.high, other.keys, other.counts
            )

    def _merge(
        self,
        frames: int,
        values: float,
        mean: np.ndarray,
        m2: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        keys: np.ndarray,
        counts: np.ndarray,
    ) -> None:
        if not self.frames:
            self.mean, self.m2, self.low, self.high, self.keys, self.counts = mean, m2, low, high, keys, counts
        else:
            total = self.values + values
            delta = mean - self.mean
            self.mean = self.mean + delta * (values / total)
            self.m2 = self.m2 + m2 + delta**2 * (self.values * values / total)
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            both = np.concatenate([self.keys, keys])
            order = np.argsort(both, kind="stable")  # merges two sorted runs in one go
            self.keys, self.counts = _counted(both[order], np.concatenate([self.counts, counts])[order])
        self.frames += frames
        self.values += values

    def histograms(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Bins, ascending, and counts of every element."""
        ends = self._ends()[:-1]
        bins = [keys - d * _ELEMENT for d, keys in enumerate(np.split(self.keys, ends))]
        return list(zip(bins, np.split(self.counts, ends), strict=True))

    def _ends(self) -> np.ndarray:
        """`(D,)`: where in `keys` each element's end."""
        return np.searchsorted(self.keys, (np.arange(self.dims) + 0.5) * _ELEMENT)

    def _elements(self, part: slice, frames: int) -> Sketch:
        """Of some elements alone."""
        ends = [0, *self._ends()]
        own = slice(ends[part.start], ends[part.stop])
        numbers = (self.mean[part], self.m2[part], self.low[part], self.high[part])
        histogram = self.keys[own] - part.start * _ELEMENT, self.counts[own]
        return Sketch(self.grey, self.centre[part], frames, self.values, *numbers, *histogram)

    def quantiles(self, shares: Sequence[float]) -> np.ndarray:
        """`(Q, D)`: the values whose places among all values, in order, are nearest to the given shares."""
        places = (np.asarray(shares) * (self.values - 1) + 0.5).astype(np.int64)
        element = np.arange(self.dims)  # each has as many values, and they stand one element after the other
        at = np.searchsorted(np.cumsum(self.counts), places[:, None] + element * int(self.values), side="right")
        bins = self.keys[np.minimum(at, self._ends() - 1)] - element * _ELEMENT
        return np.clip(bins if self.grey else self.centre + _middle(bins), self.low, self.high)

    def summary(self) -> dict[str, np.ndarray]:
        """LeRobot's ten statistics: `(D,)` each, `(D, 1, 1)` in 0..1 for pictures, count `(1,)`."""
        std = np.sqrt(self.m2 / self.values)
        found = {"min": self.low, "max": self.high, "mean": self.mean, "std": std}
        found |= dict(zip(QUANTILES, self.quantiles(list(QUANTILES.values())), strict=True))
        if self.grey:
            found = {name: value / 255.0 for name, value in found.items()}
        return {**found, "count": np.array([self.frames])}


def _sorted(values: np.ndarray) -> np.ndarray:
    """`(D, N)` of `(N, D)`, each element's values side by side and in order, as their bins then are."""
    return np.sort(np.ascontiguousarray(np.asarray(values, np.float64).T), axis=1)


def _bins(distance: np.ndarray) -> np.ndarray:
    size = np.abs(distance)
    np.maximum(size, _SMALLEST, out=size)  # in place: of a long video's columns every copy is megabytes
    size /= _SMALLEST
    np.log(size, out=size)
    size /= _LOG_GAMMA
    index = np.ceil(size, out=size).astype(np.int64)
    return np.negative(index, out=index, where=distance < 0)


def keys_of(bins: Sequence[np.ndarray]) -> np.ndarray:
    """The bins of every element as numbers that tell the elements apart: bin + element * `_ELEMENT`."""
    return np.concatenate([b + d * _ELEMENT for d, b in enumerate(bins)]).astype(np.int64)


def _counted(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys that occur, of ascending ones, and the sum of their weights."""
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(weights, first)


def _middle(bins: np.ndarray) -> np.ndarray:
    """The distance in the middle, in relative terms, of each bin; the smallest bin is 0."""
    size = _SMALLEST * np.exp(np.abs(bins) * _LOG_GAMMA) * (1 - ALPHA)
    return np.where(bins == 0, 0.0, np.sign(bins) * size)


def column_values(column: np.ndarray, feature: Feature) -> np.ndarray:
    """`(N, D)` numbers of a `(T, *shape)` column; two dimensions and more count by their last, as in LeRobot."""
    values = np.array(column, np.float64).reshape(-1, feature.shape[-1])
    return np.clip(values, -_LARGEST, _LARGEST, out=values)


def sketch_column(column: np.ndarray, feature: Feature, centre: np.ndarray | None = None) -> Sketch:
    values = column_values(column, feature)
    sketch = Sketch(False, values[0] if centre is None else centre)
    sketch.add(values, len(column))
    return sketch


def take_in(sketches: dict[str, Sketch], key: str, column: np.ndarray, feature: Feature) -> None:
    """Add a column to what a store knows of it."""
    known = sketches.get(key)
    merge_in(sketches, key, sketch_column(column, feature, known.centre if known else None))


def merge_in(sketches: dict[str, Sketch], key: str, sketch: Sketch) -> None:
    """Add a sketch, which stays as it is, to what a store knows."""
    if key in sketches:
        sketches[key].merge(sketch)
    else:
        sketches[key] = replace(sketch)


def summarise_column(column: np.ndarray, feature: Feature) -> dict[str, np.ndarray]:
    """The ten statistics of one episode's column, quantiles exact."""
    return _summary(_sorted(column_values(column, feature)), len(column))


def _summary(x: np.ndarray, frames: int) -> dict[str, np.ndarray]:
    """Of `_sorted` values."""
    found = {"min": x[:, 0], "max": x[:, -1], "mean": x.mean(1), "std": x.std(1), "count": np.array([frames])}
    return found | dict(zip(QUANTILES, np.quantile(x, list(QUANTILES.values()), axis=1), strict=True))


class Counted(NamedTuple):
    """What a column adds to what a store knows of it, and the ten statistics of its own, quantiles exact."""

    sketch: Sketch
    summary: dict[str, np.ndarray]

    def fits(self, known: Sketch | None) -> bool:
        """Whether the sketch can be merged into what is known."""
        return known is None or np.array_equal(known.centre, self.sketch.centre)


def count(
    columns: Mapping[str, np.ndarray], features: Mapping[str, Feature], known: Mapping[str, Sketch]
) -> dict[str, Counted]:
    """`sketch_column` and `summarise_column` of several columns, many elements at a time: calls cost more than numbers.

    known: what the sketches will be merged into, and so count around the centres of.
    """
    found: dict[str, Counted] = {}
    for keys in _together(columns, features):
        beside = {key: column_values(columns[key], features[key]) for key in keys}
        centres = [known[key].centre if key in known else v[0] for key, v in beside.items()]
        whole = np.concatenate(list(beside.values()), axis=1) if len(beside) > 1 else beside[keys[0]]
        all_of_them, summary = _counted_beside(whole, np.concatenate(centres))
        end = 0
        for key, v in beside.items():
            part, frames = slice(end, end := end + v.shape[1]), len(columns[key])
            own = {name: value[part] for name, value in summary.items()} | {"count": np.array([frames])}
            found[key] = Counted(all_of_them._elements(part, frames), own)
    return found


def _counted_beside(values: np.ndarray, centre: np.ndarray) -> tuple[Sketch, dict[str, np.ndarray]]:
    """Sketch and summary of `(N, D)` values, as many elements at a time as `_AT_ONCE` allows."""
    step = max(1, _AT_ONCE // len(values))
    sketches, summaries = [], []
    for at in range(0, values.shape[1], step):
        x = _sorted(values[:, at : at + step])
        sketches.append(Sketch(False, centre[at : at + step]))
        sketches[-1]._add_sorted(x, 0)
        summaries.append(_summary(x, 0))
    if len(sketches) == 1:
        return sketches[0], summaries[0]
    names = ("mean", "m2", "low", "high", "counts")
    joined = {name: np.concatenate([getattr(sketch, name) for sketch in sketches]) for name in names}
    joined["keys"] = np.concatenate([sketch.keys + n * step * _ELEMENT for n, sketch in enumerate(sketches)])
    whole = Sketch(False, centre, values=sketches[0].values, **joined)
    return whole, {name: np.concatenate([summary[name] for summary in summaries]) for name in summaries[0]}


def _together(columns: Mapping[str, np.ndarray], features: Mapping[str, Feature]) -> Iterator[list[str]]:
    """Columns of one height, at most `_AT_ONCE` numbers of them, unless one alone has more."""
    heights = {key: column.size // features[key].shape[-1] for key, column in columns.items()}
    for height in dict.fromkeys(heights.values()):
        group: list[str] = []
        for key in (key for key, own in heights.items() if own == height):
            if group and sum(columns[k].size for k in (*group, key)) > _AT_ONCE:
                yield group
                group = []
            group.append(key)
        yield group


def to_table(sketches: Mapping[str, Sketch]) -> pa.Table:
    """A row per feature and element; what a store keeps so that the next episode can be merged in."""
    seen = {key: s for key, s in sketches.items() if s.frames}
    if not seen:
        return SCHEMA.empty_table()
    each, dims = seen.values(), [s.dims for s in seen.values()]
    histograms = [histogram for s in each for histogram in s.histograms()]
    ends = np.cumsum([0, *(len(bins) for bins, _ in histograms)], dtype=np.int32)
    columns = {
        "feature": np.repeat(np.array(list(seen), object), dims),
        "dim": np.concatenate([np.arange(d) for d in dims]),
        "grey": np.repeat([s.grey for s in each], dims),
        "frames": np.repeat([s.frames for s in each], dims),
        "centre": np.concatenate([s.centre for s in each]),
        "values": np.repeat([s.values for s in each], dims),
        "mean": np.concatenate([s.mean for s in each]),
        "m2": np.concatenate([s.m2 for s in each]),
        "min": np.concatenate([s.low for s in each]),
        "max": np.concatenate([s.high for s in each]),
        "bins": pa.ListArray.from_arrays(ends, np.concatenate([bins for bins, _ in histograms]).astype(np.int32)),
        "counts": pa.ListArray.from_arrays(ends, np.concatenate([counts for _, counts in histograms])),
    }
    return pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names})


def save(path: Path, sketches: Mapping[str, Sketch]) -> None:
    """Replace a store's file of sketches."""
    files.replace_arrow(path, to_table(sketches))


def load(path: Path) -> dict[str, Sketch]:
    """What `save` wrote; Parquet where an older engine did. Raises `StoreError`."""
    return from_table(files.read_arrow(path) if path.suffix == ".arrow" else files.read_table(path))


def from_table(table: pa.Table) -> dict[str, Sketch]:
    if missing := set(SCHEMA.names) - set(table.column_names):
        raise StoreError(f"the statistics file lacks the columns {', '.join(sorted(missing))}")
    found: dict[str, Sketch] = {}
    keys = np.array(table.column("feature").to_pylist(), dtype=object)
    for key in dict.fromkeys(keys.tolist()):
        rows = table.filter(pa.array(keys == key)).to_pydict()
        vector = {name: np.array(rows[name], float) for name in ("centre", "mean", "m2", "min", "max")}
        found[key] = Sketch(
            rows["grey"][0],
            vector["centre"],
            rows["frames"][0],
            rows["values"][0],
            vector["mean"],
            vector["m2"],
            vector["min"],
            vector["max"],
            keys_of([np.array(bins, np.int64) for bins in rows["bins"]]),
            np.concatenate([np.array(counts, np.int64) for counts in rows["counts"]]),
        )
    return found


def shaped(summary: Mapping[str, np.ndarray], feature: Feature) -> dict[str, Any]:
    """Statistics as LeRobot nests them: pictures `(C, 1, 1)`, everything else a flat list."""
    return {
        name: (value.reshape(-1, 1, 1) if feature.is_camera and name != "count" else value).tolist()
        for name, value in summary.items()
    }


def as_json(sketches: Mapping[str, Sketch], info: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in stats.json, for the features of an info.json."""
    features = {key: from_info(key, entry) for key, entry in info["features"].items() if key in sketches}
    return {key: shaped(sketches[key].summary(), feature) for key, feature in features.items()}
