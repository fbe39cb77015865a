"""How a source's columns and cameras become an episode's features: the mapping, read from YAML or a dict.

    fps: 20.0
    embodiment: Panda
    task: Lift the cube              # for every episode; null: what the source says, "" where it says none
    licence: null
    complete: false                  # true: nothing of the proposal is added to `features` and `cameras`
    features:
      observation.state:
        from:                        # parts are joined in this order
          - {column: obs/robot0_eef_pos, unit: m, names: [eef_pos.x, eef_pos.y, eef_pos.z]}
          - {column: obs/robot0_eef_quat, rotation: quaternion_xyzw, to_rotation: rotation_6d}
          - qpos[0:7]                # a range of a column's values
        dtype: float32
      action: {derive: next_pose}    # row t is the state of row t + 1; the last is repeated
      sim.state: null                # leave out
    cameras:
      observation.images.front: {from: obs/agentview_image, flip: vertical, colour: bgr}

Each format proposes a complete mapping; what the user gives is laid over it (`overlay`). A key that does not
exist is refused with its nearest neighbours.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from converters.rotations import CONVENTIONS
from dataengine.errors import ConfigError

Flip = Literal["none", "vertical", "horizontal", "rot90", "rot180", "rot270"]
Colour = Literal["rgb", "bgr"]
Derive = Literal["next_pose"]
Control = Literal["absolute", "delta", "velocity"]

# How many of the left unit one right unit is: value in `to` = value in `from` * FACTORS[from] / FACTORS[to].
FACTORS = {
    "length": {"m": 1.0, "cm": 0.01, "mm": 0.001},
    "angle": {"rad": 1.0, "deg": 0.017453292519943295},
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "linear velocity": {"m/s": 1.0, "cm/s": 0.01, "mm/s": 0.001},
    "angular velocity": {"rad/s": 1.0, "deg/s": 0.017453292519943295},
}

_COLUMN = re.compile(r"(?P<name>.+?)(?:\[(?P<start>\d+):(?P<stop>\d+)\])?")


@dataclass(frozen=True)
class Part:
    """A source column, or the values `start` to `stop` of one, on its way into a feature.

    unit: what the numbers are; to_unit: what they shall be. rotation, to_rotation: likewise, see
    `rotations.CONVENTIONS`. Then `value * scale + offset`.
    """

    column: str
    names: tuple[str, ...] | None = None
    unit: str | tuple[str, ...] | None = None
    to_unit: str | None = None
    rotation: str | None = None
    to_rotation: str | None = None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def name(self) -> str:
        """The column without its range."""
        match = _COLUMN.fullmatch(self.column)
        return match["name"] if match else self.column

    @property
    def span(self) -> tuple[int, int] | None:
        match = _COLUMN.fullmatch(self.column)
        return (int(match["start"]), int(match["stop"])) if match and match["start"] is not None else None


@dataclass(frozen=True)
class FeatureRule:
    """One feature of the table. names and unit, where given, are for the joined vector."""

    parts: tuple[Part, ...] = ()
    derive: Derive | None = None
    dtype: str | None = None
    names: tuple[str, ...] | None = None
    unit: str | tuple[str, ...] | None = None
    role: str | None = None
    control: Control | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CameraRule:
    """One camera. flip: what makes it upright (turns clockwise). colour: the order the source's channels are in.

    scale: what a stored value is multiplied with to reach 0..255 (colour) or metres (depth). layout: "chw"
    where channels stand first. dtype: "image" keeps pictures one by one in the table instead of a video.
    """

    source: str
    kind: Literal["rgb", "depth"] = "rgb"
    flip: Flip = "none"
    colour: Colour = "rgb"
    scale: float = 1.0
    layout: Literal["hwc", "chw"] = "hwc"
    dtype: Literal["video", "image"] = "video"

    @property
    def plain(self) -> bool:
        """Whether pictures stay as they lie."""
        return (self.flip, self.colour, self.scale, self.layout) == ("none", "rgb", 1.0, "hwc")


@dataclass(frozen=True)
class SourceMapping:
    """The whole mapping of a source, checked."""

    fps: float
    features: Mapping[str, FeatureRule]
    cameras: Mapping[str, CameraRule] = field(default_factory=dict)
    embodiment: str | None = None
    task: str | None = None
    licence: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SourceMapping:
        """Raise `ConfigError` naming the place of anything that is not known or of the wrong kind."""
        _known(data, {"fps", "features", "cameras", "embodiment", "task", "licence", "complete", "format"}, "mapping")
        fps = data.get("fps")
        if not isinstance(fps, int | float) or isinstance(fps, bool) or not 0 < fps < 1e5:
            raise ConfigError(f"mapping: fps: {fps!r} is not a rate in Hz; the source does not say it, so give one")
        for key in ("embodiment", "task", "licence"):
            if not isinstance(data.get(key), str | None):
                raise ConfigError(f"mapping: {key}: {data[key]!r} is not text")
        features = {k: _feature(k, v) for k, v in _section(data, "features").items() if v is not None}
        cameras = {k: _camera(k, v) for k, v in _section(data, "cameras").items() if v is not None}
        return cls(float(fps), features, cameras, data.get("embodiment"), data.get("task"), data.get("licence"))

    def columns(self) -> set[str]:
        """Names of all source columns that some feature takes."""
        return {part.name for rule in self.features.values() for part in rule.parts}


def overlay(proposal: Mapping[str, Any], user: Mapping[str, Any] | None) -> dict[str, Any]:
    """The proposal with the user's word laid over it.

    Single values replace. Features and cameras are merged key by key: null leaves one out, `from` or `derive`
    replaces the whole rule, anything else changes only what it names. `complete: true` starts from nothing.
    """
    merged = {k: (dict(v) if isinstance(v, Mapping) else v) for k, v in proposal.items()}
    merged.setdefault("features", {})
    merged.setdefault("cameras", {})
    user = user or {}
    if not isinstance(user, Mapping):
        raise ConfigError(f"a mapping is a set of keys such as fps, features and cameras, not {user!r}")
    if user.get("complete", False) not in (True, False):
        raise ConfigError("mapping: complete: is true or false")
    for section in ("features", "cameras"):
        given = _section(user, section)
        base = {} if user.get("complete") else merged[section]
        for key, rule in given.items():
            old = base.get(key)
            whole = not isinstance(rule, Mapping) or not old or {"from", "derive"} & set(rule)
            if isinstance(rule, Mapping) and not old and not {"from", "derive"} & set(rule):
                raise ConfigError(f"mapping: {section}: {key!r} is not proposed, so it needs `from`" + _near(key, base))
            base = {**base, key: rule if whole else {**old, **rule}}  # type: ignore[dict-item]
        merged[section] = {k: v for k, v in base.items() if v is not None}
    return merged | {k: v for k, v in user.items() if k not in ("features", "cameras", "complete")}


def unit_factor(unit: str, to: str, where: str) -> float:
    """What values in `unit` are multiplied with to be in `to`."""
    for units in FACTORS.values():
        if unit in units and to in units:
            return units[unit] / units[to]
    known = "; ".join(f"{kind}: {', '.join(units)}" for kind, units in FACTORS.items())
    raise ConfigError(f"{where}: no way from unit {unit!r} to {to!r}. Known: {known}")


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = data.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping) or not all(isinstance(key, str) for key in section):
        raise ConfigError(f"mapping: {name}: expected feature keys with a rule each, got {section!r}")
    return section


def _feature(key: str, rule: Any) -> FeatureRule:
    where = f"mapping: features: {key}"
    if isinstance(rule, str | list):
        rule = {"from": rule}
    if not isinstance(rule, Mapping):
        raise ConfigError(f"{where}: expected `from` or `derive`, got {rule!r}")
    _known(rule, ({f.name for f in dataclasses.fields(FeatureRule)} - {"parts"}) | {"from"}, where)
    given = rule.get("from", [])
    parts = tuple(_part(p, where) for p in (given if isinstance(given, list | tuple) else [given]))
    derive = _choice(rule.get("derive"), get_args(Derive), f"{where}: derive", optional=True)
    if not parts and derive is None:
        raise ConfigError(f"{where}: takes nothing; name its columns under `from`")
    control = _choice(rule.get("control"), get_args(Control), f"{where}: control", optional=True)
    return FeatureRule(
        parts, derive, rule.get("dtype"), _names(rule, where), _unit(rule, where), rule.get("role"), control,
        rule.get("info") or {},
    )  # fmt: skip


def _part(part: Any, where: str) -> Part:
    if isinstance(part, str):
        return Part(part)
    if not isinstance(part, Mapping) or not isinstance(part.get("column"), str):
        raise ConfigError(f"{where}: from: expected a column name or {{column: …}}, got {part!r}")
    where = f"{where}: {part['column']}"
    _known(part, {f.name for f in dataclasses.fields(Part)}, where)
    for name in ("scale", "offset"):
        if isinstance(part.get(name, 0.0), bool) or not isinstance(part.get(name, 0.0), int | float):
            raise ConfigError(f"{where}: {name}: {part[name]!r} is not a number")
    for name in ("rotation", "to_rotation"):
        _choice(part.get(name), tuple(CONVENTIONS), f"{where}: {name}", optional=True)
    if part.get("to_rotation") and not part.get("rotation"):
        raise ConfigError(f"{where}: to_rotation needs `rotation`, the convention the numbers are in")
    if part.get("to_unit") and not isinstance(part.get("unit"), str):
        raise ConfigError(f"{where}: to_unit needs `unit`, the one unit the numbers are in")
    rest = {k: v for k, v in part.items() if k not in ("names", "unit")}
    return Part(**rest, names=_names(part, where), unit=_unit(part, where))


def _camera(key: str, rule: Any) -> CameraRule:
    where = f"mapping: cameras: {key}"
    if isinstance(rule, str):
        rule = {"from": rule}
    if not isinstance(rule, Mapping) or not isinstance(rule.get("from"), str):
        raise ConfigError(f"{where}: expected {{from: a camera of the source, …}}, got {rule!r}")
    _known(rule, {"from", "kind", "flip", "colour", "scale", "layout", "dtype"}, where)
    if isinstance(rule.get("scale", 1.0), bool) or not isinstance(rule.get("scale", 1.0), int | float):
        raise ConfigError(f"{where}: scale: {rule['scale']!r} is not a number")
    return CameraRule(
        source=rule["from"],
        kind=_choice(rule.get("kind", "rgb"), ("rgb", "depth"), f"{where}: kind"),
        flip=_choice(rule.get("flip", "none"), get_args(Flip), f"{where}: flip"),
        colour=_choice(rule.get("colour", "rgb"), get_args(Colour), f"{where}: colour"),
        scale=float(rule.get("scale", 1.0)),
        layout=_choice(rule.get("layout", "hwc"), ("hwc", "chw"), f"{where}: layout"),
        dtype=_choice(rule.get("dtype", "video"), ("video", "image"), f"{where}: dtype"),
    )


def _names(rule: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    names = rule.get("names")
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(n, str) for n in names):
        raise ConfigError(f"{where}: names: expected a list of texts, got {names!r}")
    return tuple(names)


def _unit(rule: Mapping[str, Any], where: str) -> str | tuple[str, ...] | None:
    unit = rule.get("unit")
    return unit if isinstance(unit, str | None) else _names({"names": unit}, f"{where}: unit")


def _choice(value: Any, choices: tuple[str, ...], where: str, *, optional: bool = False) -> Any:
    if (value is None and optional) or value in choices:
        return value
    raise ConfigError(f"{where}: {value!r} is not one of {', '.join(choices)}" + _near(value, choices))


def _known(data: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{_near(key, known)}. Known: {', '.join(sorted(known))}")


def _near(word: Any, choices: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(word), list(choices), n=2)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
