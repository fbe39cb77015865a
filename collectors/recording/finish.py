"""The episode that a take becomes: columns, aligned sensors, and all that is odd summed up. The same after a crash."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from collectors.recording.tick import Setup, dataset_features
from dataengine.episode import Clip, Episode, Feature, Label, Meta, Step
from dataengine.store import schema

VERSION = "1"
LATE_PERIODS = 0.5  # a tick later than this is counted


@dataclass(frozen=True)
class Head:
    """What is known of a take when it begins. began: wall clock, ISO 8601."""

    identity: str
    task: str
    began: str
    setup: Setup
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        plain = {"identity": self.identity, "task": self.task, "began": self.began, "extra": dict(self.extra)}
        return {**plain, "setup": self.setup.to_json(), "version": VERSION}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Head:
        """Raises what `Setup.from_json` raises."""
        identity, task, began = (str(data[name]) for name in ("identity", "task", "began"))
        return cls(identity, task, began, Setup.from_json(data["setup"]), dict(data["extra"]))


@dataclass(frozen=True)
class Judgement:
    """What is said of a take at its end. incomplete: why it ended before its time."""

    success: bool | None = None
    note: str = ""
    flagged: bool = False
    task: str | None = None
    incomplete: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Label] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(replace(self, labels={}))


class Series:
    """Samples of one sensor at its own rate: 8 bytes and their values each."""

    def __init__(self, feature: Feature) -> None:
        self.feature, self._times, self._values = feature, array("d"), bytearray()

    def add(self, time: float, value: np.ndarray) -> None:
        self._times.append(time)
        self._values += value.tobytes()

    def __len__(self) -> int:
        return len(self._times)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """`(N,)` float64 seconds in ascending order, and `(N, *shape)`."""
        shape = () if self.feature.shape == (1,) else self.feature.shape
        count = len(self._times)
        values = np.frombuffer(bytes(self._values), self.feature.dtype)[: count * self.feature.size]
        times = np.array(self._times[:count])
        order = np.argsort(times, kind="stable")
        return times[order], values.reshape(count, *shape)[order]


def made(
    head: Head,
    at: np.ndarray,
    columns: Mapping[str, np.ndarray],
    clips: Mapping[str, Clip],
    sensors: Mapping[str, Series],
    judged: Judgement,
) -> Episode:
    """The episode. at: `(T,)` float64, the instant of every row [s]. columns: `row_features`, `(T, *shape)`."""
    setup, found, labels = head.setup, dict(columns), dict(judged.labels)
    for name, series in sensors.items():
        found |= _aligned(name, series, at)
        if len(series):
            labels[f"sensor.{name}"] = _label(series, at)
    extra = {**head.extra, **judged.extra, "collect": marks(setup, columns)}
    extra |= {"note": judged.note} if judged.note else {}
    extra |= {"flagged": True} if judged.flagged else {}
    extra |= {"incomplete": True, "reason": judged.incomplete} if judged.incomplete else {}
    meta = Meta(
        tasks=(head.task if judged.task is None else judged.task,),
        success=judged.success,
        operator=setup.operator,
        embodiment=setup.embodiment,
        licence=setup.licence,
        source={"format": "recording", "name": head.identity, "began": head.began},
        lineage=(Step("collect.record", VERSION, {"fps": setup.fps, "robot": dict(setup.robot)}),),
        extra=extra,
    )
    features = dataset_features(setup)
    return Episode(
        head.identity, setup.fps, features, {k: found[k] for k in features if k in found}, clips, labels, meta
    )


def marks(setup: Setup, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What is odd in an episode, counted: for people, and to choose by."""
    missed, filled = columns["collect.missed"], columns["collect.filled"]
    actors = np.bincount(columns["collect.actor"], minlength=len(setup.actors)).tolist()
    cameras = setup.short.values()
    return {
        "rows": len(missed),
        "late": int((columns["collect.late"] > LATE_PERIODS / setup.fps).sum()),
        "missed": int(missed.sum()),
        "filled": int(filled.sum()),
        "gaps": int(((missed > 0) & ~np.append(False, filled[:-1])).sum()),
        "clock_jumps": int(columns["collect.clock_jump"].sum()),
        "repeated": {name: int(columns[f"collect.{name}.repeated"].sum()) for name in cameras},
        "dropped": {name: int(columns[f"collect.{name}.dropped"].sum()) for name in cameras},
        "interventions": int(columns["intervention"].sum()),
        "actors": {name: count for name, count in zip(setup.actors, actors, strict=False) if count},
    }


def _aligned(name: str, series: Series, at: np.ndarray) -> dict[str, np.ndarray]:
    """For every row the newest sample at or before it: nothing of a row may come from its future."""
    times, values = series.arrays()
    newest = np.searchsorted(times, at, "right") - 1
    known = newest >= 0
    column = np.zeros((len(at), *values.shape[1:]), values.dtype)
    ages = np.full(len(at), -1, np.float32)
    column[known] = values[newest[known]]
    ages[known] = (at[known] - times[newest[known]]).astype(np.float32)
    return {f"collect.sensor.{name}": column, f"collect.sensor.{name}.age": ages}


def _label(series: Series, at: np.ndarray) -> Label:
    """All samples. frame: the row they fall into. time: [s] since the first row."""
    times, values = series.arrays()
    frames = np.clip(np.searchsorted(at, times, "right") - 1, 0, len(at) - 1)
    table = {"frame": pa.array(frames), "time": pa.array(times - at[0])}
    table["value"] = schema.to_arrow(values, series.feature)
    return Label("event", pa.table(table), {"name": "collect.record", "version": VERSION})
