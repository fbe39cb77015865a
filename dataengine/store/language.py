"""LeRobot's two language columns, read into labels and written from labels.

`language_persistent` repeats an episode's whole list of rows (role, content, style, timestamp, camera,
tool_calls) on every frame; `language_events` holds a list on the frames where something happens, without a
timestamp. As labels both are of kind "event", one table row per language row:

    frame int64, role, content, style, camera string, tool_calls string (JSON) – and timestamp float64
    for persistent rows.

Real files vary: columns that are null throughout have the Arrow type null, tool calls are structs or JSON
text, persistent timestamps are float32 values widened to double, an answer may stand before its question
(the order within a frame is kept). Styles, and which column takes which: lerobot/datasets/language.py, 0.6.1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataengine.episode import Label
from dataengine.errors import EpisodeError, StoreError

PERSISTENT, EVENTS = "language_persistent", "language_events"
LANGUAGE_COLUMNS = (PERSISTENT, EVENTS)
PERSISTENT_STYLES = ("subtask", "plan", "memory", "motion", "task_aug")
EVENT_STYLES = ("interjection", "vqa", "trace")
CAMERA_STYLES = ("vqa", "trace")

_TEXT = ("role", "content", "style", "camera")
_ROW = pa.schema([("frame", pa.int64()), *((name, pa.string()) for name in (*_TEXT, "tool_calls"))])


def _struct(persistent: bool) -> pa.StructType:
    time = [pa.field("timestamp", pa.float32())] if persistent else []
    text = [pa.field(name, pa.string()) for name in ("role", "content", "style")]
    return pa.struct(
        [*text, *time, pa.field("camera", pa.string()), pa.field("tool_calls", pa.list_(pa.json_(pa.string())))]
    )


def column_type(key: str) -> pa.DataType:
    return pa.list_(_struct(key == PERSISTENT))


def huggingface_type(key: str) -> dict[str, Any]:
    text = {"dtype": "string", "_type": "Value"}
    time = {"timestamp": {"dtype": "float32", "_type": "Value"}} if key == PERSISTENT else {}
    calls = {"feature": {"_type": "Json"}, "_type": "List"}
    row = {"role": text, "content": text, "style": text, **time, "camera": text, "tool_calls": calls}
    return {"feature": row, "_type": "List"}


def read(column: pa.ChunkedArray, key: str, fps: float, where: str) -> Label | None:
    """One episode's language column as a label, or None when it says nothing. Raises `StoreError`."""
    rows: list[dict[str, Any]] = []
    if key == PERSISTENT:
        for row in column[0].as_py() or [] if len(column) else []:
            rows.append(_read_row(row, round(_time(row, where) * fps), where))
            rows[-1]["timestamp"] = float(np.float32(row["timestamp"]))
    else:
        lengths = pa.compute.fill_null(pa.compute.list_value_length(column), 0).to_numpy()
        for frame in np.flatnonzero(lengths):
            rows += [_read_row(row, int(frame), where) for row in column[int(frame)].as_py()]
    if not rows:
        return None
    schema = _ROW.append(pa.field("timestamp", pa.float64())) if key == PERSISTENT else _ROW
    return Label("event", pa.Table.from_pylist(rows, schema=schema), {"name": f"lerobot:{key}"})


def _time(row: Mapping[str, Any], where: str) -> float:
    time = row.get("timestamp")
    if not isinstance(time, int | float) or not np.isfinite(time):
        raise StoreError(f"{where}: a persistent row has the timestamp {time!r}, expected seconds")
    return float(time)


def _read_row(row: Mapping[str, Any], frame: int, where: str) -> dict[str, Any]:
    if not isinstance(row, Mapping) or not isinstance(row.get("role"), str):
        raise StoreError(f"{where}: a language row has no role: {row!r}")
    calls = row.get("tool_calls")
    if calls is not None:
        calls = json.dumps([json.loads(c) if isinstance(c, str) else c for c in calls], sort_keys=True)
    return {"frame": frame, "tool_calls": calls, **{name: row.get(name) for name in _TEXT}}


def speaks(name: str, label: Label) -> bool:
    """Whether a label can go into the language columns: language rows, or text of a style's name."""
    columns = set(label.table.column_names)
    if {"role", "content", "style"} <= columns:
        return True
    return label.kind in ("span", "event", "episode") and "text" in columns and style_of(name, label) is not None


def style_of(name: str, label: Label) -> str | None:
    """The style a label's `text` column speaks in: its source's `style`, or its own name's last part."""
    style = str(label.source.get("style") or name.replace("/", ".").rsplit(".", 1)[-1])
    return style if style in (*PERSISTENT_STYLES, *EVENT_STYLES) else None


def columns(
    episode: str, length: int, fps: float, labels: Mapping[str, Label], cameras: Sequence[str]
) -> dict[str, pa.Array]:
    """Both language columns of one episode, `length` rows each, from every label that `speaks`.

    Raises `EpisodeError` on unknown styles, frames outside the episode, and on cameras that do not exist or
    are missing where a style needs one (vqa, trace) or given where none may stand.
    """
    persistent: list[dict[str, Any]] = []
    events: list[list[dict[str, Any]]] = [[] for _ in range(length)]
    for name, label in labels.items():
        for row in _rows(name, label):
            frame, style, camera = int(row.pop("frame")), row["style"], row["camera"]
            if not 0 <= frame < length:
                raise EpisodeError(
                    episode, f"the label {name!r} speaks of a frame outside 0..{length - 1}", frame=frame
                )
            if style is not None and style not in (*PERSISTENT_STYLES, *EVENT_STYLES):
                known = ", ".join((*PERSISTENT_STYLES, *EVENT_STYLES))
                raise EpisodeError(episode, f"the label {name!r} has style {style!r}; LeRobot knows {known}")
            if (style in CAMERA_STYLES) != (camera is not None) or (camera is not None and camera not in cameras):
                raise EpisodeError(
                    episode, f"the label {name!r}, style {style!r}, has camera {camera!r}; known: {', '.join(cameras)}"
                )
            if style in PERSISTENT_STYLES:
                persistent.append({**row, "timestamp": float(np.float32(frame / fps))})
            else:
                events[frame].append(row)
    persistent.sort(key=lambda row: row["timestamp"])
    return {
        PERSISTENT: _array([persistent] * length, column_type(PERSISTENT)),
        EVENTS: _array(events, column_type(EVENTS)),
    }


def _rows(name: str, label: Label) -> list[dict[str, Any]]:
    rows = label.table.to_pylist()
    if "role" in label.table.column_names:
        return [
            {k: row.get(k) for k in _TEXT}
            | {"frame": row.get("frame", row.get("start", 0)), "tool_calls": _calls(row.get("tool_calls"))}
            for row in rows
        ]
    style = style_of(name, label)
    role = "user" if style in ("task_aug", "interjection") else "assistant"
    return [
        {
            "frame": row.get("start", row.get("frame", 0)),
            "role": role,
            "content": row["text"],
            "style": style,
            "camera": row.get("camera"),
            "tool_calls": None,
        }
        for row in rows
    ]


def _calls(calls: Any) -> list[str] | None:
    if calls is None:
        return None
    return [json.dumps(call, sort_keys=True) for call in (json.loads(calls) if isinstance(calls, str) else calls)]


def _array(rows: list[list[dict[str, Any]]], kind: pa.DataType) -> pa.Array:
    """Rows as Arrow; the JSON extension type cannot be built from Python objects, so by way of its storage."""
    plain = pa.list_(
        pa.struct([f if f.name != "tool_calls" else pa.field(f.name, pa.list_(pa.string())) for f in kind.value_type])
    )
    array = pa.array(rows, plain)
    structs = array.values
    fields = [structs.field(f.name) for f in plain.value_type]
    calls = fields[-1]
    storage = pa.ExtensionArray.from_storage(pa.json_(pa.string()), calls.values)
    offsets = calls.offsets if len(calls) else pa.array([0], pa.int32())
    fields[-1] = pa.ListArray.from_arrays(offsets, storage, mask=calls.is_null())
    struct = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(array.offsets, struct)
