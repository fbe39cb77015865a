"""What `meta/info.json` of a LeRobot dataset says, checked: rate, features, path templates, licence.

Shared by v2.x and v3.0. The file is untrusted: every value is checked before use, and path templates are
filled in here field by field, never by `str.format`, whose attribute access would run on the text's behalf.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from converters.scrub import scrub
from dataengine.episode import POSITION_COLUMNS, Feature
from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import parse_yaml, read_json, safe_join

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::0?([0-9]{1,2})d)?\}")
_NUMERIC = {"bool"} | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_NUMERIC |= {"float16", "float32", "float64"}
_MAX_ELEMENTS = 1 << 24
_CARD_BYTES = 1 << 16
_ENTRIES = {"codebase_version", "robot_type", "fps", "features", "data_path", "video_path", "image_path", "license"}
_ENTRIES |= {"splits", "chunks_size", "files_size_in_mb", "data_files_size_in_mb", "video_files_size_in_mb"}
_ENTRIES |= {f"total_{what}" for what in ("episodes", "frames", "tasks", "videos", "chunks")}
# Of a feature; what else stands there is kept as its info. `fps` repeats that of the dataset.
_FEATURE_ENTRIES = {"dtype", "shape", "names", "info", "video_info", "fps"}
_MAX_OTHER = 1 << 14  # characters of an entry kept with every episode


@dataclass(frozen=True)
class Info:
    """A checked info.json. features: all but the position columns, with LeRobot's own dtype names
    ("video", "image", "language", "string" or a numpy name). skipped: declared columns of a kind we do not
    know, with the reason. totals: what the file claims to hold, which is often wrong. others: entries of the file
    that mean nothing to LeRobot's format (a project's own, `tools`), free of absolute paths."""

    root: Path
    version: str
    fps: float
    features: Mapping[str, Feature]
    data_path: str
    video_path: str | None
    chunks_size: int
    embodiment: str | None
    licence: str | None
    totals: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def cameras(self) -> dict[str, Feature]:
        return {key: feature for key, feature in self.features.items() if feature.is_camera}

    @property
    def columns(self) -> dict[str, Feature]:
        """Features that become columns of the table: neither cameras nor language."""
        return {k: f for k, f in self.features.items() if not f.is_camera and f.dtype != "language"}

    def split_of(self, index: int) -> str | None:
        """The split an episode belongs to by `splits: {name: "start:stop"}`; a single one tells nothing."""
        if len(self.splits) < 2:
            return None
        for name, text in self.splits.items():
            if (span := re.fullmatch(r"(\d{1,12}):(\d{1,12})", text)) and int(span[1]) <= index < int(span[2]):
                return name
        return None


def version_of(path: Path) -> str | None:
    """`codebase_version` of a dataset folder, None when it is not one. Never raises."""
    try:
        info = read_json(path / "meta" / "info.json")
        version = info.get("codebase_version") if isinstance(info, dict) else None
        return version if isinstance(version, str) and isinstance(info.get("features"), dict) else None
    except (SourceError, OSError):
        return None


def read_info(root: Path) -> Info:
    """Read and check `meta/info.json`; `SourceError` says which entry is wrong and what it should be."""
    place = safe_join(root, "meta/info.json")
    raw = read_json(place)
    if not isinstance(raw, dict):
        raise SourceError(place, "must be a JSON object")
    fps = raw.get("fps")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not math.isfinite(fps) or not 0 < fps <= 100_000:
        raise SourceError(place, f"fps is {fps!r}, expected a number above 0")
    declared = raw.get("features")
    if not isinstance(declared, dict) or not declared:
        raise SourceError(place, "has no features")
    notes: list[str] = []
    features, skipped = _features(place, declared, notes)
    others = {k: scrub(v) for k, v in raw.items() if k not in _ENTRIES}
    long = [k for k, v in others.items() if len(json.dumps(v)) > _MAX_OTHER]
    if kept := [k for k in others if k not in long]:
        notes.append(f"info.json also holds {', '.join(kept)}: kept with the facts of each episode")
    return Info(
        root=root,
        version=str(raw.get("codebase_version")),
        fps=float(fps),
        features=features,
        data_path=_text(place, raw, "data_path", required=True) or "",
        video_path=_text(place, raw, "video_path"),
        chunks_size=_chunks_size(place, raw),
        embodiment=_text(place, raw, "robot_type"),
        licence=licence_of(root) or (raw["license"] if isinstance(raw.get("license"), str) else None),
        totals={k: raw[f"total_{k}"] for k in ("episodes", "frames") if isinstance(raw.get(f"total_{k}"), int)},
        splits={k: v for k, v in (raw.get("splits") or {}).items() if isinstance(v, str)}
        if isinstance(raw.get("splits"), dict)
        else {},
        others={k: v for k, v in others.items() if k not in long},
        skipped=(*skipped, *(f"{key} (in info.json, too long to be kept with each episode)" for key in long)),
        notes=tuple(notes),
    )


def fill_template(place: Path, template: str, fields: Mapping[str, int | str]) -> str:
    """`template` with `{name}` and `{name:03d}` replaced by the given fields.

    Raises: `UnsafeSource` on any other use of braces (an unknown field, attribute or index access), and for a name
    that leaves the folder: what a link of one file does is that file's trouble, this is everyone's.
    """
    rest = _FIELD.sub("", template)
    if "{" in rest or "}" in rest:
        raise UnsafeSource(place, f"path template {template!r} is not made of plain fields like {{episode_index:06d}}")

    def put(match: re.Match[str]) -> str:
        name, width = match[1], match[2]
        if name not in fields:
            known = ", ".join(sorted(fields))
            raise UnsafeSource(place, f"path template {template!r} asks for {name!r}; known fields are {known}")
        value = fields[name]
        return str(value) if width is None else f"{int(value):0{int(width)}d}"

    filled = _FIELD.sub(put, template)
    if ".." in PurePosixPath(filled).parts or PurePosixPath(filled).is_absolute():
        raise UnsafeSource(place, f"path template {template!r} gives {filled!r}, which leaves the folder")
    return filled


def licence_of(root: Path) -> str | None:
    """The licence named in the front matter of the dataset's README.md, lower case."""
    card = root / "README.md"
    if not card.is_file():  # a pipe would be waited for
        return None
    try:
        with card.open("rb") as file:
            text = file.read(_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    try:
        data = parse_yaml(front[1], card) if front else None
    except SourceError:
        return None
    found = data.get("license") if isinstance(data, dict) else None
    return found.strip().lower() or None if isinstance(found, str) else None


def _features(place: Path, declared: Mapping[str, Any], notes: list[str]) -> tuple[dict[str, Feature], tuple[str, ...]]:
    features: dict[str, Feature] = {}
    skipped: list[str] = []
    for key, raw in declared.items():
        if key in POSITION_COLUMNS:
            continue
        if not isinstance(raw, dict):
            raise SourceError(place, f"feature {key!r} must be an object with dtype and shape")
        dtype = raw.get("dtype")
        if dtype in ("video", "image", "language", "string") or dtype in _NUMERIC:
            features[key] = _feature(place, key, raw, notes)
        else:
            skipped.append(f"{key} (dtype {dtype!r})")
    return features, tuple(skipped)


def _feature(place: Path, key: str, raw: Mapping[str, Any], notes: list[str]) -> Feature:
    dtype, shape = raw["dtype"], raw.get("shape")
    if dtype == "language":
        return Feature("language", (1,), role="label")
    if shape == [] and dtype not in ("video", "image"):  # a scalar, which LeRobot itself writes as [1]
        shape = [1]
    if (
        not isinstance(shape, list)
        or not all(type(n) is int and n > 0 for n in shape)
        or not 0 < math.prod(shape or [0]) <= _MAX_ELEMENTS
    ):
        raise SourceError(place, f"feature {key!r} has shape {shape!r}, expected a list of lengths above 0")
    names = flatten_names(raw.get("names"))
    info = {**_object(raw.get("video_info")), **_object(raw.get("info"))}
    if dtype in ("video", "image"):
        if dtype == "video" and ("/" in key or "\\" in key or key in ("", ".", "..")):
            raise UnsafeSource(place, f"camera {key!r} is no name of a folder, and its videos would stand in one")
        depth = bool(info.get("is_depth_map") or info.get("video.is_depth_map"))
        order = _picture_axes(tuple(shape), names)
        if order is None:
            raise SourceError(place, f"camera {key!r} has shape {shape}, expected (height, width, channels)")
        picture = tuple(shape[i] for i in order)
        return Feature(dtype, picture, ("height", "width", "channels"), "depth" if depth else "other", info=info)
    if names is not None and len(names) != math.prod(shape):
        notes.append(f"{key}: {len(names)} names for {math.prod(shape)} values; the names are left out")
        names = None
    info |= {k: v for k, v in raw.items() if k not in _FEATURE_ENTRIES}
    return Feature(dtype, tuple(shape), names, info=scrub(info))


def flatten_names(names: Any) -> tuple[str, ...] | None:
    """Element names in one tuple, whatever a writer made of them.

    A list, a list in a list, `{"motors": [...]}`, several such groups, or `{name: position}`.
    """
    if isinstance(names, dict):
        if names and all(type(v) is int for v in names.values()):
            return tuple(sorted(names, key=lambda name: names[name]))
        names = list(names.values())
    flat = list(_leaves(names)) if isinstance(names, list) else []
    return tuple(flat) or None


def _leaves(names: list[Any], depth: int = 0) -> Iterator[str]:
    for name in names:
        if isinstance(name, list) and depth < 8:
            yield from _leaves(name, depth + 1)
        else:
            yield str(name)


def _picture_axes(shape: tuple[int, ...], names: tuple[str, ...] | None) -> tuple[int, int, int] | None:
    """Where height, width and channels stand in a camera's shape; old writers put channels first."""
    if len(shape) != 3:
        return None
    if names is not None and len(names) == 3 and names[0].startswith("channel"):
        return (1, 2, 0)
    if names is None and shape[0] in (1, 3) and shape[2] not in (1, 3):
        return (1, 2, 0)
    return (0, 1, 2)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(place: Path, raw: Mapping[str, Any], key: str, *, required: bool = False) -> str | None:
    value = raw.get(key)
    if (value is None and not required) or (isinstance(value, str) and 0 < len(value) < 1000):
        return value
    raise SourceError(place, f"{key} is {value!r}, expected a text")


def _chunks_size(place: Path, raw: Mapping[str, Any]) -> int:
    size = raw.get("chunks_size", 1000)
    if type(size) is not int or not 0 < size <= np.iinfo(np.int64).max:
        raise SourceError(place, f"chunks_size is {size!r}, expected a whole number above 0")
    return size
