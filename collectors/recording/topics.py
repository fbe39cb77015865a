"""The channels of a take's journal: a topic per column, one for what is said about rows, one per camera and sensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collectors.recording import messages
from collectors.recording.tick import Setup, row_features
from dataengine.episode import Feature

MARKS = "/collect"  # flags and ages of a row, in one message
SENSOR = "/collect/sensor/"
TIME = "time"  # [s] of the loop's clock: what a row is about, when a sample was taken
SECONDS = Feature("float64", (1,), unit="s")


@dataclass(frozen=True)
class Topic:
    """A channel. features: what its messages hold by key; none: pictures. key: of the column, camera or sensor."""

    name: str
    key: str
    features: Mapping[str, Feature]

    @property
    def schema(self) -> tuple[str, str, bytes]:
        """Name, encoding and text of the schema."""
        if not self.features:
            return messages.VIDEO, "protobuf", messages.video_schema()
        return self.name.strip("/").replace("/", "."), "jsonschema", messages.json_schema(self.features)

    @property
    def encoding(self) -> str:
        return "json" if self.features else "protobuf"


def columns_of(setup: Setup) -> dict[str, Topic]:
    """By column, those that have a topic of their own, and `MARKS`, which comes last: with it a row is whole."""
    rows = row_features(setup)
    marks = {key: feature for key, feature in rows.items() if _is_mark(key)}
    own = {key: Topic(_name(key), key, {key: feature}) for key, feature in rows.items() if key not in marks}
    return {**own, MARKS: Topic(MARKS, MARKS, {**marks, TIME: SECONDS})}


def cameras_of(setup: Setup) -> dict[str, Topic]:
    return {key: Topic(_name(key), key, {}) for key in setup.cameras}


def sensors_of(setup: Setup) -> dict[str, Topic]:
    """By name."""
    return {n: Topic(f"{SENSOR}{n}", n, {n: feature, TIME: SECONDS}) for n, feature in setup.sensors.items()}


def all_of(setup: Setup) -> list[Topic]:
    return [*columns_of(setup).values(), *cameras_of(setup).values(), *sensors_of(setup).values()]


def _name(key: str) -> str:
    return "/" + key.replace(".", "/")


def _is_mark(key: str) -> bool:
    return key == "intervention" or (key.startswith("collect.") and key != "collect.executed_action")
