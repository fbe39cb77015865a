"""What a session gives the recorder: how its robot is built, and one tick of its clock after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dataengine.episode import CAPTURE_TIME, Feature
from dataengine.errors import ConfigError
from dataengine.guard import safe_name
from dataengine.robot import Sample
from dataengine.store import schema
from dataengine.video import DEFAULT, Codec

ACTION = "action"
MOST_SENSORS_BYTES = 1 << 16  # of one sample of another sensor; what is larger is a camera


@dataclass(frozen=True)
class Tick:
    """One tick of the session's clock.

    due, time: [s] of `time.monotonic()`, when it should have been and when it was. observation: by feature key, cameras
    included. action: `(A,)` what the actor wanted. sent: `(A,)` what the robot was really told. actor: who acted, one
    of `Setup.actors`. intervention: a person overrides a policy or expert. missed: ticks of the clock before this one
    that could not be kept. columns: the values of `Setup.columns`.
    """

    due: float
    time: float
    observation: Mapping[str, Sample]
    action: np.ndarray
    sent: np.ndarray
    actor: str
    intervention: bool = False
    missed: int = 0
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """What is the same for all takes of a session.

    fps: of the dataset. features: the robot's – `observation.*`, cameras and `action`. columns: further ones that every
    tick gives (`next.reward`, …). sensors: by name, what comes at rates of its own. actors: who may act. operator: the
    person. robot: facts for the journal and the lineage (name, hash of its configuration), as JSON holds them.
    """

    fps: float
    features: Mapping[str, Feature]
    columns: Mapping[str, Feature] = field(default_factory=dict)
    sensors: Mapping[str, Feature] = field(default_factory=dict)
    actors: tuple[str, ...] = ("person",)
    embodiment: str | None = None
    operator: str | None = None
    licence: str | None = None
    codec: Codec = DEFAULT
    robot: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ConfigError(f"fps is {self.fps}; it must be a positive number")
        if ACTION not in self.features:
            raise ConfigError(f"the robot has no feature {ACTION!r}; it has {', '.join(self.features)}")
        for key, feature in {**self.features, **self.columns}.items():
            schema.check_feature(key, feature)
        for key, feature in self.features.items():
            if key != ACTION and not key.startswith("observation."):
                raise ConfigError(f"{key!r} is no feature of a robot: those are {ACTION} and observation.*")
            if feature.dtype == "image":
                raise ConfigError(f"camera {key!r} is kept as images; a recorder writes videos")
        for key, feature in self.columns.items():
            ours = key in ("collect", "intervention") or key.startswith("collect.")
            if ours or key.startswith(("observation.", "action")) or feature.is_camera:
                raise ConfigError(f"column {key!r}: name further columns next.* or otherwise, and give numbers or text")
        for name, feature in self.sensors.items():
            safe_name(name)
            schema.check_feature(name, feature)
            wide = feature.dtype != "string" and feature.size * np.dtype(_plain(feature)).itemsize > MOST_SENSORS_BYTES
            if feature.is_camera or feature.dtype == "string" or wide or "." in name:
                raise ConfigError(f"sensor {name!r}: a sensor gives a few numbers and has no dot in its name")
        if not self.actors or len(set(self.actors)) != len(self.actors):
            raise ConfigError(f"actors are at least one name, each once, not {self.actors}")
        if len(set(self.short.values())) != len(self.cameras):
            raise ConfigError(f"cameras have the same short name: {self.short}")

    @cached_property
    def cameras(self) -> list[str]:
        return [key for key, feature in self.features.items() if feature.is_camera]

    @cached_property
    def senses(self) -> list[str]:
        """Observations that are no pictures."""
        return [key for key, f in self.features.items() if key.startswith("observation.") and not f.is_camera]

    @cached_property
    def short(self) -> dict[str, str]:
        """What cameras are called in columns about them; `state` and `sensor` are called otherwise there."""
        names = {key: key.removeprefix("observation.").removeprefix("images.") for key in self.cameras}
        return {k: f"camera_{n}" if n.partition(".")[0] in ("state", "sensor") else n for k, n in names.items()}

    def to_json(self) -> dict[str, Any]:
        features = {name: _features_to_json(getattr(self, name)) for name in ("features", "columns", "sensors")}
        plain = {name: getattr(self, name) for name in ("fps", "embodiment", "operator", "licence")}
        return {
            **plain,
            **features,
            "actors": list(self.actors),
            "codec": asdict(self.codec),
            "robot": dict(self.robot),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Setup:
        """Raises `ConfigError`, `StoreError`, `KeyError`, `TypeError`, `ValueError` for what `to_json` did not make."""
        features: dict[str, Any] = {
            name: {key: schema.from_info(key, entry, entry) for key, entry in data[name].items()}
            for name in ("features", "columns", "sensors")
        }
        plain = {name: data[name] for name in ("fps", "embodiment", "operator", "licence")}
        actors, codec = tuple(map(str, data["actors"])), Codec(**data["codec"])
        return cls(**plain, **features, actors=actors, codec=codec, robot=dict(data["robot"]))


def mark_features(setup: Setup) -> dict[str, Feature]:
    """The columns that say how a row came about. None is called `observation.*` or `action*`, which LeRobot would take
    for inputs and outputs of policies."""
    action = setup.features[ACTION]
    told = Feature(action.dtype, action.shape, action.names, "other", action.unit, info=action.info)
    flag, seconds = Feature("bool", (1,)), Feature("float32", (1,), unit="s")
    found = {
        CAPTURE_TIME: Feature("float64", (1,), role="time", unit="s"),
        "collect.late": seconds,
        "collect.missed": Feature("int64", (1,)),
        "collect.filled": flag,
        "collect.clock_jump": flag,
        "collect.actor": Feature("int64", (1,), info={"actors": list(setup.actors)}),
        "collect.executed_action": told,
        "intervention": flag,
    }
    if setup.senses:
        found["collect.state.age"] = seconds
    for short in setup.short.values():
        found |= {f"collect.{short}.age": seconds, f"collect.{short}.repeated": flag, f"collect.{short}.dropped": flag}
    return found


def sensor_features(setup: Setup) -> dict[str, Feature]:
    """What rows say of sensors with rates of their own: the newest value before them, and its age; -1: none yet."""
    found: dict[str, Feature] = {}
    for name, feature in setup.sensors.items():
        found[f"collect.sensor.{name}"] = Feature(feature.dtype, feature.shape, feature.names, unit=feature.unit)
        found[f"collect.sensor.{name}.age"] = Feature("float32", (1,), unit="s")
    return found


def row_features(setup: Setup) -> dict[str, Feature]:
    """What a row holds beside pictures, in the order in which it is written down."""
    numbers = {key: feature for key, feature in setup.features.items() if not feature.is_camera}
    return {**numbers, **setup.columns, **mark_features(setup)}


def dataset_features(setup: Setup) -> dict[str, Feature]:
    """All features of a store that is recorded into."""
    return {**setup.features, **setup.columns, **mark_features(setup), **sensor_features(setup)}


def _plain(feature: Feature) -> str:
    return "uint8" if feature.is_camera else feature.dtype


def _features_to_json(features: Mapping[str, Feature]) -> dict[str, Any]:
    return {key: {**schema.to_info(feature), **schema.to_details(feature)} for key, feature in features.items()}
