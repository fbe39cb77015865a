"""The table of frames: rows there, in order, on the clock, finite, of known tasks; and what is said of them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.errors import DataEngineError
from dataengine.guard import safe_join
from dataengine.store import layout, schema, stats
from dataengine.store.problems import Problem, names, numbers
from dataengine.store.rows import read_rows
from dataengine.store.store import Store
from dataengine.store.verify_files import FAILS, UNREADABLE, Files, absent, parquet_instead

TOLERANCE = 1e-4  # [s], LeRobot's


class Moments:
    """Count, mean, spread and bounds of `D` numbers over all episodes (Chan, Golub & LeVeque 1983, eq. 2.1b).

    inside: `(D,)` how many lie between the quantiles that the dataset states.
    """

    def __init__(self, bounds: tuple[np.ndarray, np.ndarray] | None) -> None:
        self.count, self.mean, self.m2 = 0, np.zeros(0), np.zeros(0)
        self.low, self.high, self.inside, self.bounds = np.zeros(0), np.zeros(0), np.zeros(0), bounds
        self.frames = 0

    def add(self, values: np.ndarray, frames: int) -> None:
        """`(N, D)` more values, of `frames` frames."""
        if not len(values):
            return
        mean, m2 = values.mean(0), values.var(0) * len(values)
        if not self.count:
            self.mean, self.m2, self.low, self.high = mean, m2, values.min(0), values.max(0)
            self.inside = np.zeros(values.shape[1])
        else:
            total, delta = self.count + len(values), mean - self.mean
            self.mean = self.mean + delta * (len(values) / total)
            self.m2 = self.m2 + m2 + delta**2 * (self.count * len(values) / total)
            self.low, self.high = np.minimum(self.low, values.min(0)), np.maximum(self.high, values.max(0))
        if self.bounds is not None:
            self.inside += ((values >= self.bounds[0]) & (values <= self.bounds[1])).sum(0)
        self.count += len(values)
        self.frames += frames


class Rows:
    """Looks at episodes one after the other; `statistics` says whether stats.json is theirs."""

    def __init__(self, store: Store, found: Files) -> None:
        self.store, self.found, self.table = store, found, store.table_of_episodes
        self.whole = True  # every row could be read, so that statistics can be compared
        self._looked: set[str] = set()
        try:
            self.given = store.stats()
        except (DataEngineError, AttributeError, TypeError, ValueError):
            self.given = {}
        self.keys = [key for key, f in store.features.items() if not f.is_camera and f.dtype != "string"]
        self._moments = {key: Moments(self._bounds(key)) for key in self.keys}

    def check(self, index: int) -> Iterator[Problem]:
        """One episode: its file when it is the first in it, then its rows."""
        relative, row = self.table.data(index)
        count = int(self.table.length[index])
        try:
            path = safe_join(self.store.root, relative)
            if not path.is_file():
                self.whole = False
                self.found.seen.add(relative)
                self.found.bad.add(relative)
                yield Problem("missing", relative, f"the data file {absent(path)}", index, FAILS)
                return
            if relative not in self._looked:
                self._looked.add(relative)
                yield from self.file(relative, index)
            table = read_rows(path, row, count)
            for look in (self._order, self._tasks, self._values):
                yield from look(table, relative, index)
        except UNREADABLE as error:
            self.whole = False
            yield Problem("damaged", relative, str(error).removeprefix(f"{self.store.root / relative} "), index)

    def file(self, relative: str, index: int) -> Iterator[Problem]:
        """What concerns a data file as a whole."""
        self.found.seen.add(relative)
        if expected := self.table.value("sha256/data", index):
            yield from self.found.check(relative, expected, lambda: self._instead(relative))
        yield from self.head(relative, index)

    def head(self, relative: str, index: int) -> Iterator[Problem]:
        """What its footer says, without its body."""
        path = safe_join(self.store.root, relative)
        have, want = pq.read_metadata(path).num_rows, self.table.rows_of_file(index)
        if have != want:
            read = "LeRobot reads every later row at the wrong place"
            yield Problem("count", relative, f"it has {have} rows, its episodes {want}", read=read)
        features, columns = self.store.info["features"], pq.read_schema(path).names
        if strange := set(columns) - features.keys():
            yield Problem("values", relative, f"has the columns {names(strange)}, unknown to info.json", read=FAILS)
        needed = {k for k, entry in features.items() if isinstance(entry, dict) and entry.get("dtype") != "video"}
        if lost := needed - set(columns) - {*self.store.languages}:
            self.whole = False
            yield Problem("damaged", relative, f"lacks the columns {names(lost)} of info.json", read=FAILS)

    def _instead(self, relative: str) -> str:
        """What is read out of a damaged data file, and of which episodes."""
        said, damaged = parquet_instead(self.store.root / relative)
        spans = {span for found in damaged.values() for span in found}
        hit = set()
        for index in range(len(self.table)):
            path, row = self.table.data(index)
            stop = row + int(self.table.length[index])
            if path == relative and any(low < stop and row < high for low, high in spans):
                hit.add(index)
        return f"{said} (episodes {numbers(hit)})" if hit else said

    def _order(self, table: pa.Table, relative: str, index: int) -> Iterator[Problem]:
        frames = np.arange(table.num_rows)
        wanted = {"episode_index": np.full(len(frames), index), "frame_index": frames}
        wanted["index"] = frames + int(self.table.start[index])
        for name, want in wanted.items():
            have = table.column(name).to_numpy() if name in table.column_names else want
            if not np.array_equal(have, want):
                at = int(np.argmax(have != want))
                read = "LeRobot reads another frame here" if name != "index" else "samplers of LeRobot go astray"
                yield Problem(
                    "order", relative, f"{name} is {have[at]} at frame {at}, expected {want[at]}", index, read
                )
        if "timestamp" in table.column_names:
            off = np.abs(table.column("timestamp").to_numpy() - frames / self.store.fps)
            if not off.max(initial=0) <= TOLERANCE:
                at = int(np.nanargmax(off)) if np.isfinite(off).any() else 0
                video = any(f.dtype == "video" for f in self.store.features.values())
                read = "LeRobot looks for pictures at these times: another frame, or an error" if video else ""
                told = f"timestamp is {off[at]:.4g} s off frame / fps at frame {at}"
                yield Problem("order", relative, told, index, read, True)

    def _tasks(self, table: pa.Table, relative: str, index: int) -> Iterator[Problem]:
        if "task_index" not in table.column_names:
            return
        known = self.store.tasks
        used = np.unique(table.column("task_index").to_numpy())
        if len(used) and not 0 <= used[0] <= used[-1] < len(known):
            told = f"task_index points outside the {len(known)} tasks"
            yield Problem("values", relative, told, index, "LeRobot fails at these frames")
            return
        spoken = self.table.value("tasks", index)
        if spoken and (other := {known[i] for i in used.tolist()} - set(spoken)):
            told = f"its rows are of the task {names(other)}, meta/episodes says {names(spoken)}"
            yield Problem("values", relative, told, index, "LeRobot gives the task of the rows", True)

    def _values(self, table: pa.Table, relative: str, index: int) -> Iterator[Problem]:
        for key, feature in self.store.features.items():
            if feature.is_camera or key not in table.column_names:
                continue
            try:
                values = schema.to_numpy(table.column(key), feature, repr(key))
            except DataEngineError as error:
                self.whole = False
                yield Problem("values", relative, str(error), index)
                continue
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                at = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(1)))
                read = "LeRobot reads it as a value, and the loss becomes NaN"
                yield Problem("values", relative, f"{key!r} holds NaN or Inf at frame {at}", index, read)
            elif key in self._moments:
                self._moments[key].add(stats.column_values(values, feature), len(values))

    # -- statistics -----------------------------------------------------------------------------------------

    def _bounds(self, key: str) -> tuple[np.ndarray, np.ndarray] | None:
        found = [np.asarray(self.given.get(key, {}).get(name, ())).reshape(-1) for name in ("q01", "q99")]
        fits = all(one.size == self.store.features[key].shape[-1] and one.dtype.kind in "fiu" for one in found)
        return (found[0], found[1]) if fits else None

    def statistics(self) -> Iterator[Problem]:
        """stats.json against all rows. Only where `whole`."""
        for key in self.store.cameras:
            if key not in self.given:
                told = f"camera {key!r} has none; training with ImageNet statistics fails"
                yield Problem("statistics", layout.STATS, told, read="LeRobot raises KeyError")
            elif self.store.features[key].shape[2] != 1 and (why := _no_picture(self.given[key])):
                read = "LeRobot's pictures are 0..1 and would be normalised wrongly"
                yield Problem("statistics", layout.STATS, f"those of camera {key!r} {why}", read=read)
        for key, seen in self._moments.items():
            if key not in self.given:
                read = "training fails or does not normalise it"
                yield Problem("statistics", layout.STATS, f"feature {key!r} has none", read=read)
            elif seen.count:
                yield from self._compare(key, seen, self.given[key])

    def _compare(self, key: str, seen: Moments, given: dict[str, Any]) -> Iterator[Problem]:
        scale = np.maximum(np.maximum(np.abs(seen.low), np.abs(seen.high)), 1e-6)
        std = np.sqrt(seen.m2 / seen.count)
        read = "training would normalise by other numbers"
        for name, want in {"min": seen.low, "max": seen.high, "mean": seen.mean, "std": std}.items():
            have = np.asarray(given.get(name, ()), object).reshape(-1)
            try:
                have = have.astype(float)
                fits = have.size == want.size and bool((np.abs(have - want) <= 1e-3 * scale).all())
            except (TypeError, ValueError):
                fits = False
            if not fits:
                told = f"{name} of {key!r} is not that of its {seen.count} values"
                yield Problem("statistics", layout.STATS, told, read=read)
        count = np.asarray(given.get("count", seen.frames)).reshape(-1)
        if count.size != 1 or count[0] != seen.frames:
            told = f"count of {key!r} is {names([str(c) for c in count.tolist()])}, there are {seen.frames} frames"
            yield Problem("statistics", layout.STATS, told, read="merging with other datasets would weigh it wrongly")

    def quantile_notes(self) -> Iterator[str]:
        """Where the stated q01 to q99 hold far less than 98 % of the values, as means of quantiles do."""
        for key, seen in self._moments.items():
            if seen.bounds is not None and seen.count >= 100 and (share := (seen.inside / seen.count).min()) < 0.9:
                yield (
                    f"q01 to q99 hold {share:.0%} of a component of {key!r}, not 98 % (LeRobot averages them over "
                    "episodes); policies that normalise by quantiles clip the rest; a store made of it has true ones"
                )


def _no_picture(given: dict[str, Any]) -> str:
    values = [np.asarray(given.get(name, ())).reshape(-1) for name in ("min", "max", "mean", "std")]
    if any(v.size not in (1, 3) or v.dtype.kind not in "fiu" or not np.isfinite(v).all() for v in values):
        return "lack min, max, mean or std of three channels"
    return "are not between 0 and 1" if values[0].min() < 0 or values[1].max() > 1 + 1e-6 else ""
