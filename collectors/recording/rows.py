"""Rows out of ticks: what is written down of one instant, and everything that is odd about it, said in the row.

A dataset says `timestamp = frame / fps`, and policies that predict some steps ahead take rows for steps of one length.
So ticks of the clock that the loop missed are filled where they are few: the robot then held the last action it was
given, which is what the rows say, with the last observation, older. They are flagged `collect.filled`, and their
`collect.timestamp` is that of what they show, so that a check of the clock sees the gap. Where more is missing – the
world may have become another one – nothing is made up: one row says how many ticks are missing before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collectors.recording.tick import ACTION, Setup, Tick
from dataengine.episode import CAPTURE_TIME, Feature
from dataengine.errors import EpisodeError
from dataengine.robot import Sample
from dataengine.store.schema import is_depth

FILLED_SECONDS = 0.1  # the longest gap that is filled; at least one tick
AHEAD_SECONDS = 0.1  # a sample from further in the future has another clock
LEAP_SECONDS = 1.0  # by more than this beyond the ticks it owns up to, a loop's clock has jumped
_LONGEST = 1e9  # [s] what an age is cut to: a wrong clock must not become Inf


@dataclass(frozen=True)
class Row:
    """at: [s] the instant it is about. values: `row_features` by key. pictures: by camera, None: the one before again.
    captured: [s] by observation, when what it shows was captured."""

    at: float
    values: Mapping[str, np.ndarray]
    pictures: Mapping[str, np.ndarray | None]
    captured: Mapping[str, float]


@dataclass
class Rows:
    """Makes the rows of one episode, tick by tick."""

    identity: str
    setup: Setup
    count: int = 0
    _first: float = 0.0
    _last: Row | None = None
    _due: float = 0.0
    _seen: dict[str, Sample] = field(default_factory=dict)

    def of(self, tick: Tick, full: Callable[[str], bool]) -> list[Row]:
        """The tick's row, after those that fill ticks missed before it. full: whether a camera takes no picture now.

        Everything is copied. Raises `EpisodeError` naming the feature that is missing or does not fit; nothing of the
        tick is taken then.
        """
        observation, values = self._fitting(tick)
        filled = self._filled(tick)
        first = self._last is None
        if first:
            self._first = tick.time
        jump = self._jumped(tick, observation)
        pictures: dict[str, np.ndarray | None] = {}
        for key, short in self.setup.short.items():
            sample, before = observation[key], self._seen.get(key)
            repeated = before is not None and _same(sample, before)
            dropped = not repeated and not first and full(key)
            pictures[key] = None if repeated or dropped else sample.value
            values |= _about(f"collect.{short}", tick.time - (before if dropped and before else sample).time)
            values |= {f"collect.{short}.repeated": _flag(repeated), f"collect.{short}.dropped": _flag(dropped)}
            if not dropped:
                self._seen[key] = sample
        for key in self.setup.senses:
            self._seen[key] = observation[key]
        if self.setup.senses:
            values |= _about("collect.state", tick.time - min(observation[key].time for key in self.setup.senses))
        values |= {
            CAPTURE_TIME: np.asarray(tick.time - self._first, np.float64),
            "collect.late": _seconds(tick.time - tick.due),
            "collect.missed": np.asarray(tick.missed, np.int64),
            "collect.filled": _flag(False),
            "collect.clock_jump": _flag(jump),
            "collect.actor": np.asarray(self.setup.actors.index(tick.actor), np.int64),
            "intervention": _flag(tick.intervention),
        }
        self._last = Row(tick.time, values, pictures, {key: self._seen[key].time for key in observation})
        self._due = tick.due
        self.count += len(filled) + 1
        return [*filled, self._last]

    def _filled(self, tick: Tick) -> list[Row]:
        """Rows for the ticks that were missed before this one, where these are few."""
        last, period = self._last, 1 / self.setup.fps
        if last is None or not 0 < tick.missed <= max(round(FILLED_SECONDS * self.setup.fps), 1):
            return []
        rows = []
        for back in range(tick.missed, 0, -1):
            at = max(tick.due - back * period, last.at)
            values = dict(last.values)
            values |= {
                "collect.filled": _flag(True),
                "collect.late": _seconds(0),
                "collect.missed": np.asarray(0, np.int64),
            }
            values["collect.clock_jump"] = _flag(False)
            for key, short in self.setup.short.items():
                values |= _about(f"collect.{short}", at - last.captured[key])
                values |= {f"collect.{short}.repeated": _flag(True), f"collect.{short}.dropped": _flag(False)}
            if self.setup.senses:
                values |= _about("collect.state", at - min(last.captured[key] for key in self.setup.senses))
            for key, feature in self.setup.columns.items():
                if feature.role == "reward":  # counts once
                    values[key] = np.zeros_like(values[key])
            rows.append(Row(at, values, dict.fromkeys(self.setup.short), last.captured))
        return rows

    def _jumped(self, tick: Tick, observation: Mapping[str, Sample]) -> bool:
        """Whether a clock ran backwards, stood still under a changing picture, or is ahead of the loop's."""
        odd = False
        if self._last is not None:
            step = tick.time - self._last.at
            odd = step < 0 or step > (tick.missed + 1) / self.setup.fps + LEAP_SECONDS
        for key, sample in observation.items():
            before = self._seen.get(key)
            odd |= sample.time > tick.time + AHEAD_SECONDS
            if before is not None:
                odd |= sample.time < before.time
                odd |= key in self.setup.short and sample.time == before.time and not _same(sample, before)
        return bool(odd)

    def _fitting(self, tick: Tick) -> tuple[dict[str, Sample], dict[str, np.ndarray]]:
        setup = self.setup
        wanted = {key: feature for key, feature in setup.features.items() if key != ACTION}
        self._named(tick.observation, wanted, "observation")
        self._named(tick.columns, setup.columns, "columns")
        if tick.actor not in setup.actors:
            raise self._error(f"is {tick.actor!r}, one of {', '.join(setup.actors)} is known", "collect.actor")
        if not (np.isfinite(tick.time) and np.isfinite(tick.due) and tick.missed >= 0):
            raise self._error("a tick has finite times, and misses none or more before it", CAPTURE_TIME)
        seen: dict[str, Sample] = {}
        for key, feature in wanted.items():
            sample = tick.observation[key]
            if not np.isfinite(sample.time):
                raise self._error(f"was captured at {sample.time}", key)
            before = self._seen.get(key)
            if before is not None and feature.is_camera and _same(sample, before):
                seen[key] = before
            else:
                seen[key] = Sample(self._value(sample.value, key, feature), sample.time)
        action = setup.features[ACTION]
        values = {key: seen[key].value for key in setup.senses}
        values[ACTION] = self._value(tick.action, ACTION, action)
        values["collect.executed_action"] = self._value(tick.sent, "collect.executed_action", action)
        values |= {key: self._value(tick.columns[key], key, feature) for key, feature in setup.columns.items()}
        return seen, values

    def _named(self, given: Mapping[str, Any], wanted: Mapping[str, Feature], what: str) -> None:
        if wrong := sorted(wanted.keys() ^ given.keys()):
            raise self._error(f"{what} has or lacks {', '.join(wrong)}")

    def _value(self, value: Any, key: str, feature: Feature) -> np.ndarray:
        """A copy `(*shape)` of the feature's dtype, `()` for `(1,)`; floats may come in another width."""
        array = np.asarray(value)
        if feature.shape == (1,) and array.shape == (1,):
            array = array[0]
        want = () if feature.shape == (1,) else feature.shape
        if feature.dtype == "string":
            fits = array.shape == want and array.dtype.kind == "U"
            dtype: Any = array.dtype
        else:
            depth = feature.is_camera and is_depth(feature)
            dtype = np.dtype(("float32" if depth else "uint8") if feature.is_camera else feature.dtype)
            fits = array.shape == want and np.can_cast(array.dtype, dtype, "same_kind")
        if not fits:
            raise self._error(f"is {array.dtype} of shape {array.shape}, expected {dtype} of {want}", key)
        with np.errstate(over="ignore"):  # Inf is found below
            copy = np.array(array, dtype, order="C")
        if copy.dtype.kind == "f" and not feature.is_camera and not np.isfinite(copy).all():
            raise self._error("holds NaN or Inf", key)
        return copy

    def _error(self, reason: str, feature: str | None = None) -> EpisodeError:
        return EpisodeError(self.identity, reason, feature=feature, frame=self.count)


def _same(sample: Sample, before: Sample) -> bool:
    """Whether a camera gives its last picture again. A driver whose clock stands still is asked for its picture."""
    if sample.time != before.time:
        return False
    return np.array_equal(sample.value, before.value, equal_nan=before.value.dtype.kind == "f")


def _flag(value: bool) -> np.ndarray:
    return np.asarray(value, np.bool_)


def _seconds(value: float) -> np.ndarray:
    return np.asarray(min(max(value, -_LONGEST), _LONGEST), np.float32)


def _about(column: str, age: float) -> dict[str, np.ndarray]:
    return {f"{column}.age": _seconds(age)}
