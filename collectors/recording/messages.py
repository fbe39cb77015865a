"""How rows, samples and pictures stand in messages of the journal, so that others read them and numbers come back.

Numbers are JSON: Python writes the shortest text that gives the same float64 again, a float32 is one of these, and
integers have all their digits. Where elements have names the message is an object with them, so that Foxglove plots
`/action.gripper`. Pictures are `foxglove.CompressedVideo`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from dataengine.episode import Feature, Label
from dataengine.errors import SourceError

VIDEO = "foxglove.CompressedVideo"
_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "U": "string"}
_FORMATS = {"h264": "h264", "hevc": "h265", "av1": "av1"}


def json_schema(features: Mapping[str, Feature]) -> bytes:
    """What JSON Schema says of a message that holds these features by key."""
    properties = {key: _property(feature) for key, feature in features.items()}
    return json.dumps({"type": "object", "properties": properties}).encode()


def pack(features: Mapping[str, Feature], values: Mapping[str, np.ndarray]) -> bytes:
    """One message: by key a number, an object by element names, or a flat list. values: `(*shape)`, `()` for `(1,)`."""
    said: dict[str, Any] = {}
    for key, feature in features.items():
        flat = np.asarray(values[key]).reshape(-1).tolist()
        if feature.shape == (1,):
            said[key] = flat[0]
        elif names := _names(feature):
            said[key] = dict(zip(names, flat, strict=True))
        else:
            said[key] = flat
    return json.dumps(said, allow_nan=False, separators=(",", ":")).encode()


def unpack(features: Mapping[str, Feature], data: bytes) -> dict[str, np.ndarray]:
    """The values again. Raises `ValueError`, `TypeError`, `KeyError`, `OverflowError`, `RecursionError` for others."""
    said = json.loads(data, parse_constant=_no_constant)
    values = {}
    for key, feature in features.items():
        value = said[key]
        if feature.shape == (1,):
            flat = [value]
        elif names := _names(feature):
            flat = [value[name] for name in names]
        else:
            flat = value
        values[key] = _array(flat, feature)
    return values


def _array(flat: Any, feature: Feature) -> np.ndarray:
    if not isinstance(flat, list) or len(flat) != math.prod(feature.shape):
        raise ValueError(f"{feature.size} values are needed")
    kinds: dict[str, type | tuple[type, ...]] = {"b": bool, "i": int, "u": int, "f": (int, float), "U": str}
    kind = kinds["U" if feature.dtype == "string" else np.dtype(feature.dtype).kind]
    if not all(isinstance(v, kind) and (kind is bool or not isinstance(v, bool)) for v in flat):
        raise ValueError(f"values of {feature.dtype} are needed")
    array = np.array(flat) if feature.dtype == "string" else np.array(flat, feature.dtype)
    return array[0] if feature.shape == (1,) else array.reshape(feature.shape)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _names(feature: Feature) -> tuple[str, ...] | None:
    names = feature.names
    return names if names and len(set(names)) == len(names) == math.prod(feature.shape) else None


def _property(feature: Feature) -> dict[str, Any]:
    kind = {"type": "string" if feature.dtype == "string" else _KINDS[np.dtype(feature.dtype).kind]}
    if feature.unit is not None and not isinstance(feature.unit, tuple):
        kind["description"] = f"[{feature.unit}]"
    if feature.shape == (1,):
        return kind
    if names := _names(feature):
        return {"type": "object", "properties": dict.fromkeys(names, kind)}
    return {"type": "array", "items": kind}


def pack_label(label: Label) -> bytes:
    """A label's table as an Arrow stream."""
    about = {b"label": json.dumps({"kind": label.kind, "source": dict(label.source)}, default=str)}
    sink = pa.BufferOutputStream()
    table = label.table.replace_schema_metadata(about)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def unpack_label(data: bytes) -> Label:
    """Raises `ArrowException`, `ValueError`, `TypeError`, `KeyError` for anything else."""
    with pa.ipc.open_stream(data) as reader:
        table = reader.read_all()
    table.validate(full=True)
    about = json.loads((table.schema.metadata or {})[b"label"])
    return Label(about["kind"], table.replace_schema_metadata(), dict(about["source"]))


def pack_video(data: bytes, codec: str, camera: str, nanoseconds: int) -> bytes:
    """One coded picture as `foxglove.CompressedVideo`; keyframes carry their parameter sets."""
    message = _video()()
    message.timestamp.seconds, message.timestamp.nanos = divmod(nanoseconds, 1_000_000_000)
    message.frame_id, message.data, message.format = camera, data, _FORMATS[codec]
    return message.SerializeToString()


def unpack_video(data: bytes) -> bytes:
    """The coded picture. Raises `SourceError`."""
    message = _video()()
    try:
        message.ParseFromString(data)
    except Exception as error:  # protobuf's own error, whose place differs between its versions
        raise SourceError("a message", f"is no {VIDEO}: {error}") from error
    return bytes(message.data)


def video_schema() -> bytes:
    """The FileDescriptorSet that describes `foxglove.CompressedVideo`."""
    files = descriptor_pb2.FileDescriptorSet()
    timestamp_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().CopyFrom(_video_file())
    return files.SerializeToString()


def _video_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="foxglove/CompressedVideo.proto", package="foxglove", syntax="proto3"
    )
    file.dependency.append("google/protobuf/timestamp.proto")
    message = file.message_type.add(name="CompressedVideo")
    kind = descriptor_pb2.FieldDescriptorProto
    message.field.add(
        name="timestamp", number=1, label=kind.LABEL_OPTIONAL, type=kind.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
    )  # fmt: skip
    for number, (name, sort) in enumerate(
        (("frame_id", kind.TYPE_STRING), ("data", kind.TYPE_BYTES), ("format", kind.TYPE_STRING)), start=2
    ):
        message.field.add(name=name, number=number, label=kind.LABEL_OPTIONAL, type=sort)
    return file


@cache
def _video() -> Any:
    pool = descriptor_pool.DescriptorPool()
    stamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
    pool.Add(stamp)
    pool.Add(_video_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(VIDEO))
