"""What a LeRobot dataset of any version proposes: its features under their own names, its quirks said.

LeRobot's keys are our keys, so a proposal mostly repeats info.json; what differs is renamed and said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from converters.groot import ANNOTATION, Group, name_elements
from converters.lerobot_info import Info
from converters.lerobot_rows import open_parquet, to_array
from converters.raw import Camera, Column
from dataengine.episode import CAPTURE_TIME, POSITION_COLUMNS, Feature
from dataengine.errors import EpisodeError, SourceError
from dataengine.source import Assumption, EpisodeRef, Plan

# What other writers call the two columns every policy needs.
_SYNONYMS = {"state": "observation.state", "actions": "action"}
_CAMERA = "observation.images."
_CLOCK_TOLERANCE = 1e-4
_INDEX = Feature("int64", (1,))


@dataclass
class Proposal:
    """Columns, cameras and mapping of a dataset, gathered step by step."""

    columns: dict[str, Column] = field(default_factory=dict)
    cameras: dict[str, Camera] = field(default_factory=dict)
    mapping: dict[str, Any] = field(default_factory=dict)
    assumptions: list[Assumption] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def propose(
    info: Info, cameras: Mapping[str, Camera], groups: Mapping[str, tuple[Group, ...]], *, own_clock: bool
) -> Proposal:
    """The proposal for a dataset. cameras: those that exist, by their key in info.json, with the size of their
    pictures. groups: of modality.json. own_clock: timestamps are not frame / fps and are kept as capture time."""
    found = Proposal(notes=list(info.notes))
    features: dict[str, Any] = {}
    for source, feature in info.columns.items():
        if source.startswith(ANNOTATION):
            continue
        key = _table_key(source, found, taken=(*info.columns, *features))
        if key is None:
            continue
        names, remark = name_elements(feature, groups.get(source, ()))
        if remark:
            found.notes.append(remark)
        found.columns[source] = _column(source, feature, names, found.notes)
        if feature.dtype == "float64" and key.startswith(("observation.", "action", "next.reward")):
            found.notes.append(f"{source} is float64 in the table and float32 here, what policies are trained in")
        rule: dict[str, Any] = {"from": [{"column": source}]}
        own = dict(feature.info)
        if parts := groups.get(source):
            own["groups"] = {g.name: {**g.info, "start": g.start, "stop": g.stop} for g in parts}
        if own:
            rule["info"] = own
        features[key] = rule
        if key != source:
            why = f"{source!r} is what this dataset calls it" if source in _SYNONYMS else f"from the key {source!r}"
            found.assumptions.append(Assumption(f"features/{key}", rule, why))
    if own_clock:
        found.columns["timestamp"] = Column("timestamp", "float64", (), unit="s")
        features[CAPTURE_TIME] = {"from": [{"column": "timestamp"}], "dtype": "float64"}
        found.notes.append(
            f"timestamps are not frame / {info.fps:g}: they are kept as {CAPTURE_TIME}, frames count at {info.fps:g} Hz"
        )
    found.cameras = dict(cameras)
    keys = _camera_keys(cameras)
    for source, camera in cameras.items():
        if camera.turn:
            why = f"its video asks players to turn it by {camera.turn}° clockwise; LeRobot's readers never do"
            found.assumptions.append(Assumption(f"cameras/{keys[source]}/flip", "none", why))
    found.mapping = {
        "fps": info.fps,
        "embodiment": None if info.embodiment in (None, "", "unknown") else info.embodiment,
        "task": None,
        "licence": info.licence,
        "features": features,
        "cameras": {key: _camera_rule(source, cameras[source], info) for source, key in keys.items()},
    }
    return found


def without_problems_of_unused_cameras(plan: Plan) -> Plan:
    """A plan whose episodes lack only files of cameras that the mapping takes.

    A survey cannot know the mapping: it leaves missing files of cameras in `extra["missing"]`, by camera.
    Raises `SourceError` when no episode is left.
    """
    taken = {rule["from"]: key for key, rule in plan.mapping.get("cameras", {}).items()}
    episodes = []
    for ref in plan.episodes:
        lacks = {taken[camera]: what for camera, what in ref.extra.get("missing", {}).items() if camera in taken}
        extra = {k: v for k, v in ref.extra.items() if k != "missing"}
        if lacks and ref.problem is None:
            ref = replace(ref, problem="; ".join(f"{key}: {what}" for key, what in lacks.items()))
        episodes.append((replace(ref, extra=extra), lacks))
    if episodes and all(ref.problem is not None for ref, _ in episodes):
        cameras = sorted({key for _, lacks in episodes for key in lacks})
        hint = f"the mapping `cameras: {{{', '.join(f'{c}: null' for c in cameras)}}}` reads the table without them"
        first = episodes[0][0]
        raise SourceError(
            plan.path,
            f"none of {len(episodes)} episodes can be read; {first.name}: {first.problem}",
            hint=hint if cameras else "",
        )
    return replace(plan, episodes=tuple(ref for ref, _ in episodes))


def surplus_notes(refs: Iterable[EpisodeRef]) -> list[str]:
    """Which cameras show more frames than episodes have rows."""
    counts: dict[str, list[int]] = {}
    for ref in (ref for ref in refs if ref.problem is None):
        for camera, count in ref.extra["surplus"].items():
            counts.setdefault(camera, []).append(count)
    return [
        f"{camera} has up to {max(found)} frames more than rows in {len(found)} episodes: left out at their end"
        for camera, found in counts.items()
    ]


def clock_differs(timestamps: np.ndarray, fps: float) -> bool:
    """Whether `(T,)` timestamps in [s] are something else than frame / fps, beyond what float32 can hold."""
    want = np.arange(len(timestamps)) / fps
    allowed = np.maximum(_CLOCK_TOLERANCE, np.spacing(want.astype(np.float32)).astype(np.float64))
    return bool((~(np.abs(timestamps - want) <= allowed)).any())


def without_absent(info: Info, tables: Iterable[Path]) -> Info:
    """The info without columns that no table has. One that only some lack is the trouble of their episodes."""
    absent = set(info.columns)
    for table in tables:
        absent -= {*open_parquet(table).schema_arrow.names}
        if not absent:
            return info
    features = {key: feature for key, feature in info.features.items() if key not in absent}
    skipped = (f"{key} (declared in info.json, in no table)" for key in sorted(absent))
    return replace(info, features=features, skipped=(*info.skipped, *skipped))


def undeclared(table_names: Iterable[str], info: Info) -> tuple[str, ...]:
    """Columns of the table that info.json does not declare."""
    known = {*info.features, *POSITION_COLUMNS}
    return tuple(
        f"{name} (in the table, not in info.json)" for name in table_names if name not in known and name[:1] != "."
    )


def frame_tasks(
    table: pa.Table, tasks: Mapping[int, str], ref: EpisodeRef
) -> tuple[tuple[str, ...], np.ndarray | None]:
    """An episode's tasks in order of their first frame, and each frame's place among them if they change.

    The frames' own task_index decides: lists of episodes may hold more (GR00T's annotations, "valid").
    Raises: `EpisodeError` for an index that no task has.
    """
    if "task_index" not in table.column_names or not tasks:
        return ref.tasks, None
    indices = to_array(table, "task_index", _INDEX, ref.name)
    if unknown := set(np.unique(indices).tolist()) - set(tasks):
        raise EpisodeError(
            ref.name, f"points at task {min(unknown)}, which the list of tasks lacks", feature="task_index"
        )
    texts = [tasks[int(i)] for i in indices[np.sort(np.unique(indices, return_index=True)[1])]]
    known = tuple(dict.fromkeys(texts))
    if len(known) < 2:
        return known, None
    return known, np.vectorize({i: known.index(text) for i, text in tasks.items() if text in known}.__getitem__)(
        indices
    )


def total_notes(info: Info, episodes: tuple[EpisodeRef, ...]) -> list[str]:
    """Where the totals and splits of info.json are not what is there."""
    real = {"episodes": len(episodes), "frames": sum(ref.length for ref in episodes)}
    notes = [
        f"info.json says total_{name} = {info.totals[name]}, there are {count}"
        for name, count in real.items()
        if name in info.totals and info.totals[name] != count
    ]
    for name, text in info.splits.items():
        stop = text.rsplit(":", 1)[-1]
        if stop.isdecimal() and int(stop) > len(episodes):
            notes.append(f"info.json says the split {name} is {text}, there are {len(episodes)} episodes")
    return notes


def _table_key(source: str, found: Proposal, taken: Iterable[str]) -> str | None:
    """The key a column gets here: its own, unless LeRobot or this engine cannot use that one."""
    if source in _SYNONYMS and _SYNONYMS[source] not in taken:
        return _SYNONYMS[source]
    key = re.sub(r"[^\w.\-]", "_", source.replace("/", ".")).lstrip(".") or "column"
    if key.startswith(_CAMERA):
        found.notes.append(f"{source}: a column of numbers named like a camera is left out")
        return None
    return key if key == source else _free(key, set(taken))


def _camera_keys(cameras: Mapping[str, Camera]) -> dict[str, str]:
    """`observation.images.<name>` by camera; other writers have `observation.image`, `image` or `wrist_image`."""
    keys = {source: source for source in cameras if re.fullmatch(re.escape(_CAMERA) + r"[\w\-][\w.\-]*", source)}
    for source in cameras:
        if source not in keys:
            stem = source.removeprefix(_CAMERA).removeprefix("observation.").replace("/", ".")
            keys[source] = _free(_CAMERA + (re.sub(r"[^\w.\-]", "_", stem).lstrip(".") or "camera"), set(keys.values()))
    return keys


def _free(key: str, taken: set[str]) -> str:
    """The key, or its first numbered form that nothing else has."""
    unique, n = key, 2
    while unique in taken:
        unique, n = f"{key}_{n}", n + 1
    return unique


def _camera_rule(source: str, camera: Camera, info: Info) -> dict[str, Any]:
    rule: dict[str, Any] = {"from": source, "kind": camera.kind}
    feature = info.features[source]
    if camera.turn:
        rule["flip"] = "none"
    if camera.kind == "depth" and feature.dtype == "image":
        rule["scale"] = 1.0 if feature.info.get("depth_unit") == "m" else 0.001
    return rule


def _column(source: str, feature: Feature, names: tuple[str, ...] | None, notes: list[str]) -> Column:
    if names is not None and len(set(names)) < len(names):
        notes.append(f"{source}: some names stand twice; the later ones are numbered")
        names = _numbered(names)
    shape = () if feature.shape == (1,) else feature.shape
    return Column(source, feature.dtype, shape, names)


def _numbered(names: tuple[str, ...]) -> tuple[str, ...]:
    result: list[str] = []
    for name in names:
        result.append(_free(name, set(result)))
    return tuple(result)
