"""A dry run in words: what converting a source would give, what it would cost, what had to be assumed.

`describe` is for programs, `render` for people, `mapping_yaml` the mapping to edit and give back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dataengine import guard
from dataengine.detect import find_converter, plan_with
from dataengine.episode import Feature
from dataengine.errors import ConfigError, RateUnknown
from dataengine.lines import one_line
from dataengine.source import Assumption, Plan

# One core of a small server, measured on twelve real sets of small size and right for each of them within a factor of
# two: starting; an episode's tables, statistics and files; each of its cameras; reading and encoding (h264)
# a million colour pixels, and depth without loss. Copying packets costs what opening a file does.
_SECONDS_TO_START = 5.0
_SECONDS_PER_EPISODE, _SECONDS_PER_CLIP = 0.05, 0.03
_SECONDS_PER_MEGAPIXEL = {"image": 0.035, "depth": 0.080}
# Of simulated depth; a noisy sensor's takes several times as much.
_BYTES_PER_PIXEL = {"image": 0.03, "depth": 0.2}
_BYTES_OF_STORE, _BYTES_PER_EPISODE, _BYTES_PER_ROW = 80_000, 10_000, 36
_SHOWN = 12


def look(
    path: Path, mapping: Mapping[str, Any] | None = None, format: str | None = None
) -> tuple[Plan, Mapping[str, int]]:
    """A plan to show, and the bytes of video that a store would copy, by camera."""
    converter = find_converter(path, format)
    plan = plan_to_show(converter, path, mapping)
    return plan, converter.copied(plan) if hasattr(converter, "copied") else {}


def plan_to_show(converter: Any, path: Path, mapping: Mapping[str, Any] | None = None) -> Plan:
    """A plan made without reading files to their end; an unknown rate is NaN in it and null in its mapping."""
    try:
        return plan_with(converter, path, mapping, hashed=False)
    except RateUnknown:
        plan = plan_with(converter, path, {**(mapping or {}), "fps": 1.0}, hashed=False)
    open_question = Assumption("fps", None, "the source does not say its rate: give the frames per second")
    rest = (a for a in plan.assumptions if a.key != "fps")
    return replace(plan, fps=math.nan, mapping={**plan.mapping, "fps": None}, assumptions=(open_question, *rest))


def describe(plan: Plan, *, copied: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Everything a plan knows, JSON-able. copied: bytes of video taken over as it is, by camera.

    Seconds are of one core; they and the bytes of the result are estimates, right within a factor of two.
    """
    good = [ref for ref in plan.episodes if ref.problem is None]
    seconds, written = _estimate(plan, len(good), copied or {})
    return {
        "format": plan.format,
        "source": Path(plan.path).name,
        "episodes": len(good),
        "quarantined": [{"episode": r.name, "reason": r.problem} for r in plan.episodes if r.problem is not None],
        "frames": plan.frames,
        "fps": None if math.isnan(plan.fps) else plan.fps,
        "seconds_of_data": None if math.isnan(plan.fps) else round(plan.frames / plan.fps, 3),
        "embodiment": plan.embodiment,
        "licence": plan.licence,
        "tasks": sorted({t for r in good for t in _tasks(plan, r.tasks)}),
        "bytes_stored": sum(ref.bytes for ref in good),
        "bytes_estimated": int(written),
        "seconds_estimated": round(seconds, 1),
        "features": {key: _feature(feature) for key, feature in plan.features.items()},
        "assumptions": [{"key": a.key, "value": a.value, "why": a.why} for a in plan.assumptions],
        "unused": list(plan.unused),
        "notes": list(plan.notes),
    }


def _estimate(plan: Plan, episodes: int, copied: Mapping[str, int]) -> tuple[float, float]:
    """Seconds of one core, and bytes of the store."""
    seconds = _SECONDS_TO_START + _SECONDS_PER_EPISODE * episodes
    written = (
        float(sum(copied.values())) + _BYTES_OF_STORE + _BYTES_PER_EPISODE * episodes + _BYTES_PER_ROW * plan.frames
    )
    for key, feature in plan.features.items():
        if not feature.is_camera:
            written += plan.frames * feature.size * _itemsize(feature)
            continue
        seconds += _SECONDS_PER_CLIP * episodes
        if key not in copied:
            pixels = float(plan.frames * feature.shape[0] * feature.shape[1])
            seconds += pixels / 1e6 * _SECONDS_PER_MEGAPIXEL[str(feature.role)]
            written += pixels * _BYTES_PER_PIXEL[str(feature.role)]
    return seconds, written


def render(plan: Plan, *, copied: Mapping[str, int] | None = None) -> str:
    """`describe` as lines of text."""
    d = describe(plan, copied=copied)
    rate = f"at {d['fps']:g} Hz ({_duration(d['seconds_of_data'])})" if d["fps"] else "at a rate that is not said"
    lines = [
        f"{d['source']}: {d['format']}, {d['episodes']} episodes, {d['frames']} frames {rate}",
        f"  robot {d['embodiment'] or 'not said'}; licence {d['licence'] or 'not said'}; "
        f"tasks: {'; '.join(repr(t) for t in d['tasks'][:4] if t) or 'not said'}{' …' if len(d['tasks']) > 4 else ''}",
        f"  {_bytes(d['bytes_stored'])} in, about {_bytes(d['bytes_estimated'])} out, "
        f"about {_duration(d['seconds_estimated'])} on one core",
        "",
        "features",
    ]
    width = max((len(key) for key in plan.features), default=0)
    lines += [f"  {key:<{width}}  {_line(feature)}" for key, feature in plan.features.items()]
    for title, entries in (
        ("assumed (settle it in the mapping)", [str(a) for a in plan.assumptions]),
        ("quarantined", [f"{q['episode']}: {q['reason']}" for q in d["quarantined"]]),
        ("unused", d["unused"]),
        ("notes", d["notes"]),
    ):
        if entries:
            lines += ["", title, *(f"  {one_line(entry)}" for entry in entries[:_SHOWN])]
            lines += [f"  … and {len(entries) - _SHOWN} more"] if len(entries) > _SHOWN else []
    return "\n".join(lines)


SAID = ("fps", "embodiment", "task", "licence")
_RULES = [
    "# unit + to_unit convert; rotation + to_rotation likewise (quaternion_xyzw, quaternion_wxyz, axis_angle,",
    "# euler_xyz, rotation_6d, matrix); scale and offset come after. flip: none, vertical, horizontal, or",
    "# clockwise rot90, rot180, rot270. colour: rgb or bgr. A range of a column: name[0:3].",
    "# `derive: next_pose`: the row that follows.",
]


def mapping_yaml(plan: Plan) -> str:
    """The complete mapping, with a comment on everything assumed. Given back unchanged it gives the same plan."""
    mapping = json.loads(json.dumps(plan.mapping))
    notes: dict[str, list[Assumption]] = {}
    for assumption in plan.assumptions:
        notes.setdefault("/".join(assumption.key.split("/")[:2]), []).append(assumption)
    ruled = "features" in mapping or "cameras" in mapping  # else the format has settings of its own
    lines = [f"# How {one_line(Path(plan.path).name)} becomes a dataset. Edit it and give it back with --mapping."]
    lines += _RULES if ruled else []
    lines.append(f"format: {plan.format}")
    lines += ["complete: true  # what stands below is all there is; false: the proposal is added"] if ruled else []
    for key in (key for key in SAID if ruled or key in mapping):
        lines += _comments(notes.get(key, ()), "")
        lines.append(yaml.safe_dump({key: mapping.get(key)}, allow_unicode=True).rstrip("\n"))
    if not ruled:
        for key in sorted(mapping.keys() - {"format", *SAID}):
            lines += _comments(notes.get(key, ()), "")
            lines.append(yaml.safe_dump({key: mapping[key]}, allow_unicode=True).rstrip("\n"))
    for section in ("features", "cameras") if ruled else ():
        rules = mapping.get(section) or {}
        lines.append(f"{section}:" if rules else f"{section}: {{}}")
        for key, rule in rules.items():
            lines += _comments(notes.get(f"{section}/{key}", ()), "  ")
            lines += [f"  {line}" for line in _dump({key: rule}).split("\n")]
    if plan.unused:
        lines += ["", "# In the source and taken by nothing:", *(f"#   {one_line(name)}" for name in plan.unused)]
    return "\n".join(lines) + "\n"


def write_mapping(plan: Plan, path: Path) -> None:
    """Write `mapping_yaml`; never over a file that somebody may have edited."""
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(mapping_yaml(plan))
    except FileExistsError as error:
        raise ConfigError(f"{path} exists; give another name, or remove it") from error


def read_mapping(path: Path) -> dict[str, Any]:
    """A mapping file. Raises `SourceError` naming the line that is no YAML, `ConfigError` for what is no mapping."""
    mapping = guard.read_yaml(path)
    if not isinstance(mapping, dict):
        raise ConfigError(f"{path} holds no mapping: keys such as fps, features and cameras are expected at its top")
    return mapping


def _comments(assumptions: tuple[Assumption, ...] | list[Assumption], indent: str) -> list[str]:
    found = []
    for a in assumptions:
        inner = "/".join(a.key.split("/")[2:])
        mark = "FILL IN" if a.key == "fps" and a.value is None else "ASSUMED"
        found.append(f"{indent}# {mark}{f' ({inner})' if inner else ''}: {one_line(a.why)}")
    return found


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=None, sort_keys=False, allow_unicode=True, width=110).rstrip("\n")


def _tasks(plan: Plan, own: tuple[str, ...]) -> tuple[str, ...]:
    task = plan.mapping.get("task")
    return (task,) if task is not None else own


def _feature(feature: Feature) -> dict[str, Any]:
    found: Mapping[str, Any] = {
        "dtype": feature.dtype,
        "shape": list(feature.shape),
        "names": list(feature.names) if feature.names else None,
        "unit": list(feature.unit) if isinstance(feature.unit, tuple) else feature.unit,
        "role": feature.role,
        "info": dict(feature.info) or None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _line(feature: Feature) -> str:
    shape = "×".join(map(str, feature.shape))
    if feature.is_camera:
        return f"{feature.role:<11} {shape}"
    units = dict.fromkeys((feature.unit,) if isinstance(feature.unit, str) else feature.unit or ())
    names = ", ".join((feature.names or ())[:4]) + (", …" if len(feature.names or ()) > 4 else "")
    unit = ", ".join(u or "?" for u in units) if units else "unit not said"
    return f"{feature.role:<11} {feature.dtype} {shape} [{unit}] {names}".rstrip()


def _itemsize(feature: Feature) -> int:
    digits = "".join(c for c in feature.dtype if c.isdigit())
    return int(digits) // 8 if digits else 1 if feature.dtype == "bool" else 16


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"
