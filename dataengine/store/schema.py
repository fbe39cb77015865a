"""A `Feature` three times: in info.json, as an Arrow column, as numpy.

LeRobot 0.6.1's rules: shape `(1,)` is a scalar column, `(n,)` a fixed-size list, two to five dimensions the
`datasets` ArrayND (nested lists underneath), a picture in the table struct<bytes, path>, a video no column.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from dataengine.episode import CAPTURE_TIME, POSITION_COLUMNS, Feature, Role
from dataengine.errors import ConfigError, StoreError
from dataengine.store.language import LANGUAGE_COLUMNS, column_type, huggingface_type
from dataengine.video import DepthCoding

NUMBERS = tuple(np.dtype(c).name for c in "?bhiqBHIQefd")
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LANGUAGE_INFO = {"dtype": "language", "shape": [1], "names": None}
CAMERA_NAMES = ("height", "width", "channels")
POSITION = {
    key: Feature("float32" if key == "timestamp" else "int64", (1,), role="time" if key == "timestamp" else "other")
    for key in POSITION_COLUMNS
}


def check_feature(key: str, feature: Feature) -> None:
    """Raise `ConfigError` if LeRobot could not hold this feature."""
    if key in POSITION or key in LANGUAGE_COLUMNS:
        raise ConfigError(f"feature {key!r} is a column of the format itself and cannot be declared")
    if not key or "/" in key or "\\" in key or key.startswith(".") or any(ord(c) < 32 for c in key):
        raise ConfigError(f"feature key {key!r} cannot be a file or column name; use letters, digits, '.', '_', '-'")
    if feature.dtype not in (*NUMBERS, "string", "video", "image"):
        raise ConfigError(
            f"feature {key!r} has dtype {feature.dtype!r}; known: {', '.join(NUMBERS)}, string, video, image"
        )
    shape = feature.shape
    if not 1 <= len(shape) <= 5 or min(shape) < 1:
        raise ConfigError(f"feature {key!r} has shape {shape}; needed are one to five dimensions of at least 1")
    if feature.is_camera and (len(shape) != 3 or shape[2] not in (1, 3)):
        raise ConfigError(f"camera {key!r} has shape {shape}; needed is (height, width, 3), or 1 for depth")
    if feature.dtype == "string" and shape != (1,):  # LeRobot opens more, and fails at the first item
        raise ConfigError(f"feature {key!r} of strings has shape {shape}; needed is (1,)")


def is_depth(feature: Feature) -> bool:
    """Whether a camera gives metres: LeRobot marks it in `info`; ours have one channel and role depth."""
    info = feature.info or {}
    marked = info.get("is_depth_map", info.get("video.is_depth_map"))
    return bool(feature.is_camera and (feature.shape[2] == 1 if marked is None else marked))


def as_stored(feature: Feature) -> Feature:
    """A feature as a new store declares it: its codec is not known yet, its depth coding is settled."""
    if not feature.is_camera:
        return feature
    info = {key: value for key, value in feature.info.items() if not key.startswith("video.") and key != "has_audio"}
    if feature.dtype == "video" and is_depth(feature):
        info |= (DepthCoding.from_info({**feature.info, "is_depth_map": True}) or DepthCoding()).to_info()
        if "depth_unit" not in feature.info:
            info["depth_unit"] = "m"
    # LeRobot's policies take the last axis for channels only if it is called so.
    named = feature.names is not None and len(feature.names) == 3 and feature.names[2] in ("channel", "channels")
    return replace(feature, names=feature.names if named else CAMERA_NAMES, info=info)


def to_info(feature: Feature) -> dict[str, Any]:
    """The entry of `info.json["features"]`."""
    names = feature.names or (CAMERA_NAMES if feature.is_camera else None)
    entry: dict[str, Any] = {
        "dtype": feature.dtype,
        "shape": list(feature.shape),
        "names": list(names) if names else None,
    }
    if feature.info:
        entry["info"] = dict(feature.info)
    return entry


def to_details(feature: Feature) -> dict[str, Any]:
    """What features.json adds: LeRobot's info.json has no place for it."""
    return {"role": feature.role, "unit": feature.unit, "rate": feature.rate}


def from_info(key: str, entry: Mapping[str, Any], ours: Mapping[str, Any] | None = None) -> Feature:
    """A feature from info.json and, where the store is ours, what features.json adds (role, unit, rate).

    Raises `StoreError` for an entry that is none; names are flattened where others nest them in a dict.
    """
    try:
        dtype, shape = str(entry["dtype"]), tuple(int(n) for n in entry["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"meta/info.json: feature {key!r} lacks a dtype and a shape of integers: {entry!r}") from error
    info = entry.get("info") or entry.get("video_info") or {}
    feature = Feature(
        dtype, shape, _names(entry.get("names"), shape, dtype), info=info if isinstance(info, dict) else {}
    )
    ours = ours or {}
    unit = ours.get("unit")
    return Feature(
        dtype,
        shape,
        feature.names,
        role=ours.get("role") or role_of(key, feature),
        unit=tuple(unit) if isinstance(unit, list) else unit,
        rate=ours.get("rate"),
        info=feature.info,
    )


def _names(names: Any, shape: tuple[int, ...], dtype: str) -> tuple[str, ...] | None:
    if isinstance(names, Mapping):
        names = [n for v in names.values() for n in (v if isinstance(v, list) else [v])]
    if not isinstance(names, list | tuple) or not names:
        return None
    if dtype in ("video", "image"):
        return tuple(map(str, names))
    return tuple(map(str, names)) if len(names) == int(np.prod(shape)) else None


def role_of(key: str, feature: Feature) -> Role:
    """What a column is, by LeRobot's naming, when nobody says."""
    if feature.is_camera:
        return "depth" if is_depth(feature) else "image"
    if key.startswith("observation."):
        return "environment" if key == "observation.environment_state" else "state"
    if key.startswith("action"):
        return "action"
    known: dict[str, Role] = {
        "next.reward": "reward",
        "next.done": "done",
        "next.success": "done",
        CAPTURE_TIME: "time",
    }
    return known.get(key, "label" if key.startswith("label.") else "other")


def data_schema(features: Mapping[str, Feature], languages: Iterable[str] = ()) -> pa.Schema:
    """The Arrow schema of a data file, position columns last, with the `huggingface` metadata."""
    fields, hf = [], {}
    for key, feature in (*features.items(), *POSITION.items()):
        if feature.dtype == "video" or (key in POSITION and key in features):
            continue
        fields.append(pa.field(key, arrow_type(feature)))
        hf[key] = _huggingface(feature)
    for key in languages:
        fields.append(pa.field(key, column_type(key)))
        hf[key] = huggingface_type(key)
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": hf}})})


def arrow_type(feature: Feature) -> pa.DataType:
    if feature.dtype == "image":
        return IMAGE_TYPE
    kind = pa.string() if feature.dtype == "string" else pa.from_numpy_dtype(np.dtype(feature.dtype))
    if feature.shape == (1,):
        return kind
    if len(feature.shape) == 1:
        return pa.list_(kind, feature.shape[0])
    for _ in feature.shape:
        kind = pa.list_(kind)
    return kind


def _huggingface(feature: Feature) -> dict[str, Any]:
    if feature.dtype == "image":
        return {"_type": "Image"}
    value = {"dtype": feature.dtype, "_type": "Value"}
    if feature.shape == (1,):
        return value
    if len(feature.shape) == 1:
        return {"feature": value, "length": feature.shape[0], "_type": "List"}
    return {"shape": list(feature.shape), "dtype": feature.dtype, "_type": f"Array{len(feature.shape)}D"}


def to_arrow(column: np.ndarray, feature: Feature) -> pa.Array:
    """A `(T, *shape)` column as Arrow; `(T,)` where the shape is `(1,)`."""
    if feature.dtype == "string":
        flat = pa.array([str(text) for text in column.reshape(-1)], pa.string())
    else:
        flat = pa.array(np.ascontiguousarray(column).reshape(-1))
    if feature.shape == (1,):
        return flat
    if len(feature.shape) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, feature.shape[0])
    for size in reversed(feature.shape):
        flat = pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, size, dtype=np.int32)), flat)
    return flat


def to_numpy(column: pa.ChunkedArray | pa.Array, feature: Feature, where: str) -> np.ndarray:
    """An Arrow column as `(T, *shape)`, however its writer nested it.

    Raises `StoreError` naming `where` for nulls, or values that do not make the declared shape and dtype.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    rows = len(array)
    while True:
        if array.null_count:
            raise StoreError(f"{where} holds nulls")
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
            array = array.flatten()
        else:
            break
    if len(array) != rows * feature.size:
        raise StoreError(f"{where} has {len(array)} values in {rows} rows; shape {feature.shape} is declared")
    shape = (rows,) if feature.shape == (1,) else (rows, *feature.shape)
    if feature.dtype == "string":
        return np.array(array.to_pylist(), dtype=object).astype(str).reshape(shape) if rows else np.empty(shape, "<U1")
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type)):
        raise StoreError(f"{where} is {array.type}; {feature.dtype} is declared")
    return numbers(array).astype(feature.dtype, copy=False).reshape(shape)


def numbers(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Integers, floats or bools without nulls, `(N,)`, read-only where nothing had to be copied.

    Not by Arrow's `to_numpy`: it imports pandas where that is installed, which takes longer than opening a store.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    dtype = np.dtype(array.type.to_pandas_dtype())
    if not len(array):
        return np.empty(0, dtype)
    content = array.buffers()[1]
    if pa.types.is_boolean(array.type):
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
        return bits[array.offset : array.offset + len(array)].astype(bool)
    return np.frombuffer(content, dtype, len(array), array.offset * dtype.itemsize)


def differences(store: Mapping[str, Feature], given: Mapping[str, Feature]) -> list[str]:
    """What keeps episodes of these features out of a store, a line per feature; empty if nothing does.

    Names and units are compared where both sides state them; how a camera is stored is the store's affair.
    """
    found = [f"{key}: the store has it, the episode does not" for key in store if key not in given]
    found += [f"{key}: the episode has it, the store does not" for key in given if key not in store]
    for key in store.keys() & given.keys():
        have, want = given[key], store[key]
        if have.is_camera != want.is_camera or (not have.is_camera and have.dtype != want.dtype):
            found.append(f"{key}: dtype {have.dtype}, the store has {want.dtype}")
        elif have.shape != want.shape:
            found.append(f"{key}: shape {have.shape}, the store has {want.shape}")
        elif not have.is_camera and have.names and want.names and have.names != want.names:
            found.append(f"{key}: names {_brief(have.names)}, the store has {_brief(want.names)}")
        elif have.unit and want.unit and have.unit != want.unit:
            found.append(f"{key}: unit {have.unit}, the store has {want.unit}")
    return sorted(found)


def _brief(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "")
