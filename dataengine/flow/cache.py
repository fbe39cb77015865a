"""What a stage made of an episode, kept as a difference, so that it is neither computed nor paid for twice.

One `.npz` per result (CRC-checked, never pickled): a JSON description, changed columns as arrays, labels and
text columns as Arrow IPC bytes. Pictures are not kept: a result with new pictures is not cached.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dataengine.episode import Episode, Label, Step, hash_array, hash_table
from dataengine.flow.fingerprint import described, feature_from, plain
from dataengine.plugins import Drop


@dataclass(frozen=True)
class ResultCache:
    """Results by key in a folder. Writers may race: both write the same content, and a rename decides."""

    root: Path

    def place(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.npz"

    def recall(self, key: str, before: Episode) -> list[Episode | Drop] | None:
        """The kept results applied to `before`, or None. A damaged file counts as absent."""
        try:
            with np.load(self.place(key), allow_pickle=False) as kept:
                arrays = dict(kept)
            items = json.loads(arrays.pop("description").tobytes())
            return [_restore(item, arrays, before) for item in items]
        except (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile, pa.ArrowInvalid):
            return None

    def keep(self, key: str, before: Episode, results: Sequence[Episode | Drop], reads: tuple[str, ...]) -> bool:
        """Keep what changed; False where that is not possible."""
        arrays: dict[str, np.ndarray] = {}
        items = []
        for result in results:
            item = _describe(result, before, arrays, everything="*" in reads)
            if item is None or not _same(_restore(item, arrays, before), result):
                return False
            items.append(item)
        text = json.dumps(items, default=plain, ensure_ascii=False).encode()
        target = self.place(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(f".{os.getpid()}.tmp")
        with fresh.open("wb") as file:
            np.savez(file, description=np.frombuffer(text, np.uint8), **arrays)  # type: ignore[arg-type]
        fresh.replace(target)
        return True


def _describe(
    result: Episode | Drop, before: Episode, arrays: dict[str, np.ndarray], *, everything: bool
) -> dict[str, Any] | None:
    """The result as JSON; arrays go into `arrays`. None: cannot be told as a difference."""
    if isinstance(result, Drop):
        return {"drop": [result.episode_id, result.reason, dict(result.evidence)]}
    history = len(before.meta.lineage)
    if result.meta.lineage[:history] != before.meta.lineage:
        return None
    steps = result.meta.lineage[history:]
    cuts = [[s.params["start"], s.params["stop"]] for s in steps if s.name == "slice"]
    base = _cut(before, cuts)
    for key, clip in result.clips.items():
        if key not in base.clips or base.clips[key].fingerprint != clip.fingerprint:
            return None
    removed = [key for key in base.features if key not in result.features]
    unlabelled = [name for name in base.labels if name not in result.labels]
    if (removed or unlabelled) and not everything:
        return None  # it takes away what it does not read; applied to other columns it would keep too much
    columns = {}
    for key, column in result.frames.items():
        old = base.frames.get(key)
        if old is None or (old is not column and hash_array(old) != hash_array(column)):
            columns[key] = _put(column, arrays)
    labels = {}
    for name, label in result.labels.items():
        if name not in base.labels or not _equal_labels(base.labels[name], label):
            labels[name] = [label.kind, dict(label.source), _put_table(label.table, arrays)]
    was, now = described(base), described(result)
    return {
        "cuts": cuts,
        "id": result.id if result.id != base.id else None,
        "fps": result.fps,
        "columns": columns,
        "features": {k: asdict(f) for k, f in result.features.items() if base.features.get(k) != f},
        "removed": removed,
        "labels": labels,
        "unlabelled": unlabelled,
        "meta": {k: v for k, v in now.items() if was[k] != v},
        "steps": [asdict(step) for step in steps],
        "frame_tasks": _put_moved(base.frame_tasks, result.frame_tasks, arrays),
    }


def _restore(item: Mapping[str, Any], arrays: Mapping[str, np.ndarray], before: Episode) -> Episode | Drop:
    if "drop" in item:
        episode_id, reason, evidence = item["drop"]
        return Drop(episode_id, reason, evidence)
    base = _cut(before, item["cuts"])
    features = {k: f for k, f in base.features.items() if k not in item["removed"]}
    features |= {k: feature_from(f) for k, f in item["features"].items()}
    frames = {k: v for k, v in base.frames.items() if k not in item["removed"]}
    frames |= {k: _get(name, arrays) for k, name in item["columns"].items()}
    labels = {k: v for k, v in base.labels.items() if k not in item["unlabelled"]}
    labels |= {k: Label(kind, _table(name, arrays), source) for k, (kind, source, name) in item["labels"].items()}
    changed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in item["meta"].items()}
    steps = tuple(Step(s["name"], s["version"], s["params"], tuple(s["assumed"])) for s in item["steps"])
    return replace(
        base,
        id=item["id"] or base.id,
        fps=item["fps"],
        features=features,
        frames=frames,
        clips={k: v for k, v in base.clips.items() if k not in item["removed"]},
        labels=labels,
        meta=replace(base.meta, **changed, lineage=(*before.meta.lineage, *steps)),
        frame_tasks=base.frame_tasks if item["frame_tasks"] is None else _get(item["frame_tasks"], arrays),
    )


def _cut(before: Episode, cuts: list[list[int]]) -> Episode:
    """`before` sliced as often as the result was."""
    for start, stop in cuts:
        before = before.slice(start, stop)
    return before


def _same(restored: Episode | Drop, result: Episode | Drop) -> bool:
    """Whether the difference tells the whole result, order of columns included."""
    if isinstance(restored, Drop) or isinstance(result, Drop):
        return restored == result or (isinstance(restored, Drop) and isinstance(result, Drop))
    return (
        (restored.id, restored.fps, list(restored.features)) == (result.id, result.fps, list(result.features))
        and dict(restored.features) == dict(result.features)
        and list(restored.frames) == list(result.frames)
        and list(restored.clips) == list(result.clips)
        and restored.meta == result.meta
        and restored.hashes() == result.hashes()
    )


def _put_moved(old: np.ndarray | None, new: np.ndarray | None, arrays: dict[str, np.ndarray]) -> str | None:
    """Keep `new` where it differs from `old`."""
    if new is None or (old is not None and np.array_equal(old, new)):
        return None
    return _put(new, arrays)


def _equal_labels(a: Label, b: Label) -> bool:
    same = a.table is b.table or hash_table(a.table) == hash_table(b.table)
    return a.kind == b.kind and dict(a.source) == dict(b.source) and same


def _put(column: np.ndarray, arrays: dict[str, np.ndarray]) -> str:
    name = f"a{len(arrays)}"
    if column.dtype.kind == "O":
        return _put_table(pa.table({"text": pa.array(column.tolist(), pa.string())}), arrays)
    arrays[name] = column
    return name


def _put_table(table: pa.Table, arrays: dict[str, np.ndarray]) -> str:
    name = f"t{len(arrays)}"
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    arrays[name] = np.frombuffer(sink.getvalue(), np.uint8)
    return name


def _get(name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if name.startswith("a"):
        return arrays[name]
    texts = _table(name, arrays).column("text").to_pylist()
    return np.array(texts, dtype=object)


def _table(name: str, arrays: Mapping[str, np.ndarray]) -> pa.Table:
    with pa.ipc.open_stream(pa.BufferReader(arrays[name].tobytes())) as stream:
        return stream.read_all()
