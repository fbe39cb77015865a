"""Damage to JSON and parquet that is still JSON and parquet: other types, numbers nobody means, columns that differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.mutations_bytes import SECRET, Change, NotHere, Rng, files_of, pick

_JSON = (".json", ".jsonl", ".zarray", ".zgroup", ".zattrs")
DEEP = 5000


def values(rng: Rng) -> Any:
    """What a field may hold that was never meant to."""
    odd: list[Any] = [
        None, True, 0, -1, 1, 7, 10**30, -(2**63), 2**53 + 1, 1e308, 0.5, float("nan"), float("inf"), "", "x", "20",
        "../../secret", "/etc/passwd", "\ud800", "a\0b", "{episode_index.__class__}", "<script>", "x" * 100_000, [], {},
        [1], [[]], {"a": 1}, [None], list(range(5000)), "🤖\u202e", "float32", "v9.9", [2**40, 2**40], [3, -1], [0],
    ]  # fmt: skip
    return odd[int(rng.integers(len(odd)))]


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where each value stands in a document, the document itself first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def _documents(root: Path, rng: Rng) -> tuple[Path, list[Any], int]:
    """A file, its documents (one a line in .jsonl) and which of them is meant."""
    path = pick(rng, [p for p in files_of(root, *_JSON) if root.is_dir()])
    assert isinstance(path, Path)
    text = path.read_text()
    documents = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
    return path, documents, int(rng.integers(len(documents)))


def _write(path: Path, documents: list[Any]) -> None:
    path.write_text("".join(json.dumps(d) + "\n" for d in documents))


def _holder(document: Any, place: tuple) -> Any:
    for key in place[:-1]:
        document = document[key]
    return document


def json_value(root: Path, rng: Rng) -> None:
    path, documents, n = _documents(root, rng)
    place: Any = pick(rng, list(_places(documents[n])))
    if place:
        _holder(documents[n], place)[place[-1]] = values(rng)
    else:
        documents[n] = values(rng)
    _write(path, documents)


def json_key(root: Path, rng: Rng) -> None:
    """A key that is not there, is called otherwise, or stands there a second time under a name that looks alike."""
    path, documents, n = _documents(root, rng)
    place: Any = pick(rng, [p for p in _places(documents[n]) if p and isinstance(p[-1], str)])
    holder, key = _holder(documents[n], place), place[-1]
    names = [
        "",
        "../../x",
        "a/b",
        key.upper(),
        f"{key} ",
        "\u202e" + key,
        "é",
        "x" * 300,
        "observation.images.../up",
        ".",
    ]
    how = int(rng.integers(3))
    if how == 0:
        del holder[key]
    else:
        holder[str(pick(rng, names))] = holder[key] if how == 1 else holder.pop(key)
    _write(path, documents)


def json_text(root: Path, rng: Rng) -> None:
    """Text that is nearly JSON, or JSON that costs much to read."""
    path, documents, n = _documents(root, rng)
    text = path.read_text()
    place: Any = pick(rng, [p for p in _places(documents[n]) if p])
    how = int(rng.integers(6))
    if how == 0:
        text = "[" * DEEP + "]" * DEEP
    elif how == 1:
        _holder(documents[n], place)[place[-1]] = "DEEP"
        deep = '{"a":' * DEEP + "1" + "}" * DEEP
        text = "".join(json.dumps(d) + "\n" for d in documents).replace('"DEEP"', deep)
    elif how == 2:
        text = "\ufeff" + text
    elif how == 3:
        path.write_bytes(text.encode("utf-16"))
        return
    elif how == 4:
        text = text.rstrip() + "," + text
    else:
        _holder(documents[n], place)[place[-1]] = "LONG"
        text = "".join(json.dumps(d) + "\n" for d in documents).replace('"LONG"', "9" * 6000)
    path.write_text(text)


def template_out(root: Path, rng: Rng) -> None:
    """A path template of info.json that leads out of the folder, or asks for an attribute."""
    path = root / "meta" / "info.json"
    if not path.exists():
        raise NotHere
    info = json.loads(path.read_text())
    field = str(pick(rng, ["data_path", "video_path"]))
    bad = ["../secret", "/etc/hostname", "data/../../secret", "{episode_index.__class__}", "{chunk_index!r}", "{0}"]
    info[field] = str(pick(rng, bad))
    path.write_text(json.dumps(info))


def camera_out(root: Path, rng: Rng) -> None:
    """A camera whose name is a path out of the folder."""
    path = root / "meta" / "info.json"
    if not path.exists():
        raise NotHere
    info = json.loads(path.read_text())
    key: Any = pick(rng, [k for k, f in info["features"].items() if f["dtype"] == "video"])
    bad = ["../../../x", "observation.images.../../x", "/etc/x", "..", "observation.images.a/../../../b"]
    info["features"][str(pick(rng, bad))] = info["features"].pop(key)
    path.write_text(json.dumps(info))


# -- parquet ---------------------------------------------------------------------------------------------------


def _as_text(column: pa.ChunkedArray, rng: Rng) -> pa.Array:
    return pa.array([str(v)[:50] for v in column.to_pylist()])


def _with_nulls(column: pa.ChunkedArray, rng: Rng) -> pa.Array:
    listed = column.to_pylist()
    listed[int(rng.integers(len(listed)))] = None
    return pa.array(listed, column.type)


def _ragged(column: pa.ChunkedArray, rng: Rng) -> pa.Array:
    listed = [v if isinstance(v, list) else [v] for v in column.to_pylist()]
    at = int(rng.integers(len(listed)))
    listed[at] = listed[at][:-1] if rng.random() < 0.5 else listed[at] * 2
    return pa.array(listed)


def _numbers(value: Any) -> Callable[[pa.ChunkedArray, Rng], pa.Array]:
    def change(column: pa.ChunkedArray, rng: Rng) -> pa.Array:
        kind = column.type.value_type if pa.types.is_fixed_size_list(column.type) else column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise NotHere
        listed, at = column.to_pylist(), int(rng.integers(len(column)))
        listed[at] = [value] * len(listed[at]) if isinstance(listed[at], list) else value
        try:
            return pa.array(listed, column.type)
        except (pa.ArrowInvalid, OverflowError, TypeError):
            return pa.array(listed)

    return change


def _wrapped(column: pa.ChunkedArray, rng: Rng) -> pa.Array:
    """The same values one list deeper, in a struct, as a dictionary or with 64-bit offsets."""
    listed = column.to_pylist()
    how = int(rng.integers(4))
    if how == 0:
        return pa.array([[v] for v in listed])
    if how == 1:
        return pa.array([{"v": v} for v in listed])
    if how == 2 and not pa.types.is_nested(column.type):
        return column.combine_chunks().dictionary_encode()
    if not listed or not isinstance(listed[0], list):
        return column.cast(pa.float64()) if pa.types.is_integer(column.type) else column
    return pa.array(listed, pa.large_list(column.type.value_type))


COLUMN: dict[str, Callable[[pa.ChunkedArray, Rng], Any]] = {
    "text": _as_text,
    "nulls": _with_nulls,
    "all_null": lambda column, rng: pa.nulls(len(column)),
    "null_typed": lambda column, rng: pa.nulls(len(column), column.type),
    "ragged": _ragged,
    "huge": _numbers(2**62),
    "negative": _numbers(-1),
    "nan": _numbers(float("nan")),
    "float": _numbers(0.5),
    "wrapped": _wrapped,
    "binary": lambda column, rng: pa.array([b"\xff\0"] * len(column)),
    "bad_utf8": lambda column, rng: pa.Array.from_buffers(
        pa.string(), len(column), pa.array([b"\xff\xfe"] * len(column)).buffers()
    ),
    "reversed": lambda column, rng: column.take(np.arange(len(column))[::-1]),
    "empty_lists": lambda column, rng: pa.array([[]] * len(column), pa.list_(pa.float32())),
}


def parquet_column(kind: str) -> Change:
    def change(root: Path, rng: Rng) -> None:
        path = pick(rng, files_of(root, ".parquet"))
        assert isinstance(path, Path)
        table = pq.read_table(path)
        at = int(rng.integers(table.num_columns))
        changed = COLUMN[kind](table.column(at), rng)
        pq.write_table(table.set_column(at, table.column_names[at], changed), path)

    return change


def parquet_table(root: Path, rng: Rng) -> None:
    """Rows or columns too many or too few, in another order, or called otherwise; metadata that is no JSON."""
    path = pick(rng, files_of(root, ".parquet"))
    assert isinstance(path, Path)
    table = pq.read_table(path)
    names = table.column_names
    at, rows = int(rng.integers(len(names))), np.arange(table.num_rows)
    how = int(rng.integers(9))
    if how == 0:
        table = table.drop_columns([names[at]])
    elif how == 1:
        table = table.take(rows[:-1])
    elif how == 2:
        table = table.take(np.concatenate([rows, rows[-1:]]))
    elif how == 3:
        table = table.take(rng.permutation(rows))
    elif how == 4:
        table = table.slice(0, 0)
    elif how == 5:
        table = table.append_column(names[at], table.column(at))
    elif how == 6:
        odd = [names[at].upper(), "", "../x", "é\u202e", f"{names[at]}[0:1]", "a/b", "x" * 300]
        table = table.rename_columns([*names[:at], str(pick(rng, odd)), *names[at + 1 :]])
    elif how == 7:
        table = table.append_column(str(pick(rng, ["label.x", "mystery", "../x", "a[0:2]"])), pa.array(rows))
    else:
        bad = [b"{", b'{"info": 3}', b"[" * DEEP, b'{"info": {"features": {"a": {"_type": "Pickle"}}}}']
        table = table.replace_schema_metadata({"huggingface": pick(rng, bad), "pandas": b"{"})
    pq.write_table(table, path, row_group_size=max(1, table.num_rows // int(rng.integers(1, 4))))


def parquet_bomb(root: Path, rng: Rng) -> None:
    """A table of a few kilobytes that unpacks to gigabytes."""
    path = pick(rng, files_of(root, ".parquet"))
    assert isinstance(path, Path)
    table = pq.read_table(path)
    zeros = pa.DictionaryArray.from_arrays(pa.array(np.zeros(table.num_rows or 1, np.int32)), [SECRET * (8 << 20)])
    pq.write_table(
        pa.table({n: (zeros if n == table.column_names[0] else table.column(n)) for n in table.column_names}), path
    )


TABLES: dict[str, Change] = {
    "json_value": json_value,
    "json_key": json_key,
    "json_text": json_text,
    "parquet_table": parquet_table,
    "parquet_bomb": parquet_bomb,
    **{f"parquet_{kind}": parquet_column(kind) for kind in COLUMN},
}
