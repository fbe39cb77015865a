"""GR00T's addition to LeRobot v2: `meta/modality.json`, and `annotation.*` columns that index tasks.jsonl.

modality.json cuts the state and action vectors into named groups:
`{"state": {"left_arm": {"start": 0, "end": 7, "original_key": "observation.state"}}, "action": …,
"video": {"ego_view": {"original_key": "observation.images.ego_view"}}, "annotation": {"human.validity": {}}}`
(Isaac-GR00T, getting_started/LeRobot_compatible_data_schema.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature, Label
from dataengine.errors import SourceError
from dataengine.guard import read_json, safe_join

ANNOTATION = "annotation."
_DEFAULT_KEY = {"state": "observation.state", "action": "action"}
_VALIDITY = ("valid", "invalid")


@dataclass(frozen=True)
class Group:
    """Elements `start` to `stop` (exclusive) of a vector, e.g. the left arm. info: what else the file says
    (`absolute`, `rotation_type`, `range`, `dtype`)."""

    name: str
    start: int
    stop: int
    info: Mapping[str, Any] = field(default_factory=dict)


def read_modality(root: Path) -> dict[str, tuple[Group, ...]]:
    """Groups by feature key, in order of their place; empty when the dataset has no modality.json."""
    place = safe_join(root, "meta/modality.json")
    if not place.exists():
        return {}
    data = read_json(place)
    groups: dict[str, list[Group]] = {}
    for section, default in _DEFAULT_KEY.items():
        entries = data.get(section, {}) if isinstance(data, dict) else None
        if not isinstance(entries, dict):
            raise SourceError(place, f"{section!r} must hold named groups with start and end")
        for name, entry in entries.items():
            start, stop = (entry.get("start"), entry.get("end")) if isinstance(entry, dict) else (None, None)
            if type(start) is not int or type(stop) is not int or not 0 <= start < stop:
                raise SourceError(place, f"{section}.{name} needs whole numbers 0 <= start < end, not {start}, {stop}")
            info = {k: v for k, v in entry.items() if k not in ("start", "end", "original_key")}
            groups.setdefault(str(entry.get("original_key", default)), []).append(Group(name, start, stop, info))
    return {key: tuple(sorted(found, key=lambda g: g.start)) for key, found in groups.items()}


def name_elements(feature: Feature, groups: tuple[Group, ...]) -> tuple[tuple[str, ...] | None, str | None]:
    """Names `left_arm.0` … for a vector, and a remark when the groups do not fit it.

    Names a person wrote stay: only absent or merely counted ones (`motor_0`, `motor_1`) are replaced.
    """
    if not groups or (feature.names is not None and not _counted(feature.names)):
        return feature.names, None
    names: list[str | None] = [None] * feature.size
    for group in groups:
        if group.stop > feature.size:
            return feature.names, f"modality.json: {group.name} ends at {group.stop} of {feature.size} values"
        for i in range(group.start, group.stop):
            if names[i] is not None:
                return feature.names, f"modality.json: {group.name} overlaps another group at {i}"
            names[i] = group.name if group.stop - group.start == 1 else f"{group.name}.{i - group.start}"
    old = feature.names or tuple(f"motor_{i}" for i in range(feature.size))
    return tuple(new or before for new, before in zip(names, old, strict=True)), None


def is_validity(key: str, texts: tuple[str, ...]) -> bool:
    """Whether an annotation column says if the episode is valid, and not what is done in it."""
    return "valid" in key.rsplit(".", 1)[-1].lower() or (bool(texts) and all(t.lower() in _VALIDITY for t in texts))


def without_validity(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Tasks without the words that validity annotations keep in the same list."""
    return tuple(text for text in texts if text.lower() not in _VALIDITY)


def annotation_label(key: str, indices: np.ndarray, tasks: Mapping[int, str]) -> Label:
    """Spans of equal text from a column of task indices `(T,)`: `start`, `stop` (exclusive), `text`.

    A validity annotation has `valid` (bool) beside its text. Raises: `KeyError` for an index without a task.
    """
    starts = np.concatenate([[0], np.flatnonzero(np.diff(indices)) + 1])
    stops = np.concatenate([starts[1:], [len(indices)]])
    texts = [tasks[int(i)] for i in indices[starts]]
    columns: dict[str, Any] = {"start": starts, "stop": stops, "text": pa.array(texts, pa.string())}
    if is_validity(key, tuple(texts)):
        columns["valid"] = pa.array([text.lower() == "valid" for text in texts])
    return Label("span", pa.table(columns), {"name": "source", "column": key})


def _counted(names: tuple[str, ...]) -> bool:
    stems = {name.rstrip("0123456789") for name in names}
    return len(stems) == 1 and all(name.rstrip("0123456789") != name for name in names)
