"""Apply a mapping: which features it gives, and the columns and clips of one episode.

`features_of` needs only what a plan knows; `assemble` turns raw columns into exactly these features.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np

from converters import rotations
from converters.clips import lies_across, mapped
from converters.mapping import FeatureRule, Part, SourceMapping, unit_factor
from converters.raw import Camera, Column, RawEpisode
from dataengine import guard
from dataengine.episode import CAPTURE_TIME, POSITION_COLUMNS, Clip, Feature, Role
from dataengine.errors import ConfigError, EpisodeError

_ROLES: dict[str, Role] = {
    "observation.state": "state",
    "observation.environment_state": "environment",
    "next.reward": "reward",
    "next.done": "done",
    "next.success": "done",
    CAPTURE_TIME: "time",
}


def features_of(
    mapping: SourceMapping, columns: Mapping[str, Column], cameras: Mapping[str, Camera]
) -> dict[str, Feature]:
    """The features a mapping makes of these columns and cameras; `ConfigError` where it cannot."""
    found = {key: _table_feature(key, rule, columns, mapping) for key, rule in mapping.features.items()}
    for key, rule in mapping.cameras.items():
        where = f"mapping: cameras: {key}"
        if not key.startswith("observation.images."):
            raise ConfigError(f"{where}: a camera is called observation.images.<name>")
        guard.safe_name(key)
        if key in found:
            raise ConfigError(f"{where}: is also a feature of the table")
        camera = _pick(cameras, rule.source, where, "camera")
        channels = 1 if rule.kind == "depth" else 3
        found[key] = Feature(
            rule.dtype,
            (*(camera.size[::-1] if lies_across(rule) else camera.size), channels),
            ("height", "width", "channels"),
            "depth" if rule.kind == "depth" else "image",
            "m" if rule.kind == "depth" else None,
        )
    return found


def assemble(
    raw: RawEpisode, mapping: SourceMapping, features: Mapping[str, Feature], name: str
) -> tuple[dict[str, np.ndarray], dict[str, Clip]]:
    """Columns and clips of one episode by feature key; `EpisodeError` names what does not fit."""
    frames = {}
    for key, rule in mapping.features.items():
        values = [_values(part, raw, features, key, name) for part in _parts(key, rule, mapping)]
        frames[key] = _joined(values, features[key], rule, name, key)
    clips = {}
    for key, camera in mapping.cameras.items():
        if camera.source not in raw.clips:
            raise EpisodeError(name, f"the camera {camera.source!r} is missing", feature=key)
        clips[key] = mapped(raw.clips[camera.source], camera)
    return frames, clips


def _table_feature(key: str, rule: FeatureRule, columns: Mapping[str, Column], mapping: SourceMapping) -> Feature:
    where = f"mapping: features: {key}"
    guard.safe_name(key)
    if key in POSITION_COLUMNS:
        raise ConfigError(f"{where}: is derived by the store; true capture times are called {CAPTURE_TIME}")
    parts = _parts(key, rule, mapping)
    sources = [_pick(columns, part.name, where, "column") for part in parts]
    if key.startswith("observation.images."):
        raise ConfigError(f"{where}: pictures stand under `cameras`")
    dtype = _dtype(rule, parts, sources, key, where)
    names: list[str] = []
    units: list[str | None] = []
    turned: list[dict[str, Any]] = []
    for part, source, stem in zip(parts, sources, _stems(parts), strict=True):
        size = _size(part, source, where)
        if part.rotation and size != (want := len(rotations.CONVENTIONS[part.rotation])):
            raise ConfigError(f"{where}: {part.column} has {size} values, {part.rotation} has {want}")
        convention = part.to_rotation or part.rotation
        size = len(rotations.CONVENTIONS[convention]) if convention else size
        if convention:
            turned.append({"start": len(names), "stop": len(names) + size, "convention": convention})
        own = _own_names(part, source, stem, size, convention)
        if len(own) != size:
            raise ConfigError(f"{where}: {part.column} has {size} values but {len(own)} names")
        names += own
        units += _own_units(part, source, size, where)
    if not names:
        raise ConfigError(f"{where}: has no values")
    if rule.names is not None and len(rule.names) != len(names):
        raise ConfigError(f"{where}: has {len(names)} values but {len(rule.names)} names")
    names = list(rule.names or names)
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"{where}: the name {twice[0]!r} stands twice")
    unit = rule.unit if rule.unit is not None else _one_unit(units)
    if isinstance(unit, tuple) and len(unit) != len(names):
        raise ConfigError(f"{where}: has {len(names)} values but {len(unit)} units")
    if unit is not None and dtype == "string":
        raise ConfigError(f"{where}: text has no unit")
    info = dict(rule.info) | ({"rotations": turned} if turned else {})
    info |= {"control": rule.control} if rule.control else {}
    role = cast(Role, rule.role) if rule.role else _role(key)
    if _keeps_shape(parts, sources):
        return Feature(dtype, sources[0].shape, None, role, unit, info=info)
    return Feature(dtype, (len(names),), tuple(names), role, unit, info=info)


def _parts(key: str, rule: FeatureRule, mapping: SourceMapping) -> tuple[Part, ...]:
    """A derived feature that names no columns takes those of the state."""
    if rule.parts:
        return rule.parts
    state = mapping.features.get("observation.state")
    if state is None or not state.parts:
        raise ConfigError(f"mapping: features: {key}: `derive` needs `from`, since there is no observation.state")
    return state.parts


def _values(part: Part, raw: RawEpisode, features: Mapping[str, Feature], key: str, name: str) -> np.ndarray:
    """`(T, n)` values of one part, or `(T, *shape)` where a single part keeps its shape."""
    if part.name not in raw.columns:
        raise EpisodeError(name, f"the column {part.name!r} is missing", feature=key)
    values = np.asarray(raw.columns[part.name])
    if values.dtype.kind in "OUST" or (values.ndim > 2 and len(features[key].shape) > 1):
        return values
    values = values.reshape(len(values), -1)
    if part.span is not None:
        values = values[:, slice(*part.span)]
    if part.to_rotation:
        if values.shape[1] != len(rotations.CONVENTIONS[str(part.rotation)]):
            raise EpisodeError(name, f"{part.column} has {values.shape[1]} values", feature=key)
        try:
            values = rotations.convert(values, str(part.rotation), part.to_rotation)
        except ConfigError as error:
            raise EpisodeError(name, str(error), feature=key) from error
    if part.to_unit:
        values = values * unit_factor(str(part.unit), part.to_unit, key)
    if (part.scale, part.offset) != (1.0, 0.0):
        values = values * part.scale + part.offset
    return values


def _joined(values: list[np.ndarray], feature: Feature, rule: FeatureRule, name: str, key: str) -> np.ndarray:
    if len(lengths := {len(v) for v in values}) > 1:
        raise EpisodeError(name, f"its columns have {sorted(lengths)} rows", feature=key)
    whole = values[0] if len(values) == 1 else np.concatenate(values, axis=1)
    if rule.derive == "next_pose":
        whole = np.concatenate([whole[1:], whole[-1:]])
    shape = (len(whole),) if feature.shape == (1,) else (len(whole), *feature.shape)
    if whole.size != np.prod(shape):
        raise EpisodeError(name, f"has shape {whole.shape}, expected {shape}", feature=key)
    if feature.dtype == "string":
        return whole.reshape(shape)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows becomes Inf, which Episode.check refuses
        return np.ascontiguousarray(whole.reshape(shape), feature.dtype)


def _dtype(rule: FeatureRule, parts: tuple[Part, ...], sources: list[Column], key: str, where: str) -> str:
    texts = [s for s in sources if s.dtype == "string"]
    if texts:
        if len(sources) > 1 or rule.dtype not in (None, "string") or parts[0].span or parts[0].rotation:
            raise ConfigError(f"{where}: {texts[0].name} is text and can only stand alone and as it is")
        return "string"
    if rule.dtype is not None:
        try:
            if np.dtype(rule.dtype).kind in "biuf":
                return str(np.dtype(rule.dtype))
        except TypeError:
            pass
        raise ConfigError(f"{where}: dtype: {rule.dtype!r} is no number type; try float32, int64 or bool")
    if key in ("next.done", "next.success"):
        return "bool"
    if key.startswith("observation.") or key.startswith("action") or key == "next.reward":
        return "float32"  # what policies are trained in
    if any(p.to_rotation or p.to_unit or (p.scale, p.offset) != (1.0, 0.0) for p in parts):
        return "float64"
    return str(np.result_type(*(np.dtype(s.dtype) for s in sources)))


def _size(part: Part, source: Column, where: str) -> int:
    if part.span is None:
        return source.size
    start, stop = part.span
    if not 0 <= start < stop <= source.size:
        raise ConfigError(f"{where}: {part.column}: the column has values 0:{source.size}")
    return stop - start


def _own_names(part: Part, source: Column, stem: str, size: int, convention: str | None) -> list[str]:
    if part.names is not None:
        return list(part.names)
    if part.to_rotation and convention:
        return [f"{stem}.{n}" for n in rotations.CONVENTIONS[convention]]
    if source.names is not None:
        return list(source.names[slice(*(part.span or (0, source.size)))])
    if convention:
        return [f"{stem}.{n}" for n in rotations.CONVENTIONS[convention]]
    start = part.span[0] if part.span else 0
    return [stem] if source.size == 1 else [f"{stem}.{start + i}" for i in range(size)]


def _own_units(part: Part, source: Column, size: int, where: str) -> list[str | None]:
    if part.to_unit:
        unit_factor(str(part.unit), part.to_unit, where)
        return [part.to_unit] * size
    if part.to_rotation:
        return ["rad" if part.to_rotation in ("axis_angle", "euler_xyz") else "1"] * size
    unit = part.unit
    if unit is None and source.unit is not None:
        unit = source.unit if isinstance(source.unit, str) else source.unit[slice(*(part.span or (0, source.size)))]
    if unit is None or isinstance(unit, str):
        return [unit] * size
    if len(unit) != size:
        raise ConfigError(f"{where}: {part.column} has {size} values but {len(unit)} units")
    return list(unit)


def _one_unit(units: list[str | None]) -> str | tuple[str, ...] | None:
    """One unit where all agree; where only some are known, the unknown ones are ""."""
    return units[0] if len(set(units)) == 1 else tuple(unit or "" for unit in units)


def _stems(parts: tuple[Part, ...]) -> list[str]:
    """What the values of each part are called: the last piece of its column's name, or the whole if that is taken."""
    short = [part.name.rsplit("/", 1)[-1] for part in parts]
    clash = len({part.name for part in parts}) > len(set(short))
    return [part.name.replace("/", ".") for part in parts] if clash else short


def _keeps_shape(parts: tuple[Part, ...], sources: list[Column]) -> bool:
    part = parts[0]
    return len(parts) == 1 and len(sources[0].shape) > 1 and part.span is None and part.rotation is None


def _role(key: str) -> Role:
    if key in _ROLES:
        return _ROLES[key]
    if key.startswith("action"):
        return "action"
    if key.startswith("observation."):
        return "state"
    return "label" if key.startswith("label.") else "other"


def _pick[T](known: Mapping[str, T], name: str, where: str, what: str) -> T:
    if name in known:
        return known[name]
    near: Iterable[str] = difflib.get_close_matches(name, known, n=2)
    raise ConfigError(
        f"{where}: the source has no {what} {name!r}"
        + (f"; did you mean {' or '.join(map(repr, near))}?" if near else "")
        + f" It has: {', '.join(sorted(known)) or 'none'}"
    )
