"""What a result depends on, as a hash: the same hash means the same result, so it is not computed again.

Two kinds of key. A *chain* key is made before anything is read, from the source's hash, the episode's name and
all stages: when it is known, the episode is done. A *result* key belongs to one stage and one episode, and
holds the stage and the hashes of what that stage declares to read, nothing else: when a chain changes
because a label was added, all stages that do not read that label still find their results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from dataengine.episode import Episode, Feature, hash_array, hash_table, meta_to_json

# Bumped when the meaning of keys or kept results changes, so that old ones are not found any more.
FORMAT = 1


def digest(value: Any) -> str:
    """sha256 over the canonical JSON of plain data, paths, arrays and dataclasses."""
    text = json.dumps([FORMAT, value], sort_keys=True, default=plain, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # names of files may be no text


def plain(value: Any) -> Any:
    """What JSON does not know, as something it knows. Raises `TypeError` for what has no stable content."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{value!r} cannot be part of a fingerprint")


def part_key(kind: str, name: str, version: str, params: Mapping[str, Any], artifact: str | None = None) -> str:
    """A stage or job: who it is and how it was set. Files among its parameters count by content."""
    return digest([kind, name, version, {k: _content(v) for k, v in params.items()}, artifact])


def chain_key(source: str, episode: str, parts: Iterable[str], goal: str) -> str:
    """One episode through all stages towards `goal` ("seal …" or "observe …")."""
    return digest([source, episode, list(parts), goal])


def result_key(part: str, reads: Iterable[str], episode: Episode) -> str:
    return digest([part, read_hashes(episode, tuple(reads))])


def read_hashes(episode: Episode, reads: tuple[str, ...]) -> dict[str, Any]:
    """Hashes of what a stage reads: feature keys (patterns allowed), `label:<name>`, `clips`, `meta` or `*`.

    What every stage may use counts always: id, rate, length, tasks, and how the read columns are described.
    A name that is absent counts as absent, so a column that appears later makes a new key.
    """
    everything = "*" in reads
    found: dict[str, Any] = {"": [episode.id, episode.fps, episode.length, episode.meta.tasks]}
    for key, feature in episode.features.items():
        is_clip = key in episode.clips
        if everything or (is_clip and "clips" in reads) or any(fnmatchcase(key, pattern) for pattern in reads):
            content = episode.clips[key].fingerprint if is_clip else hash_array(episode.frames[key])
            found[key] = [content, asdict(feature)]
    for name, label in episode.labels.items():
        if everything or any(fnmatchcase(f"label:{name}", pattern) for pattern in reads):
            found[f"label:{name}"] = hash_table(label.table)
    if episode.frame_tasks is not None:
        found["frame_tasks"] = hash_array(episode.frame_tasks)
    if everything or "meta" in reads:
        found["meta"] = described(episode)
    found |= {name: None for name in reads if name not in found and name not in ("*", "clips", "meta")}
    return found


def base_key(episode: Episode, codec: Mapping[str, Any]) -> str:
    """All of an episode but its labels: what a sealed shard is made of."""
    content = {k: v for k, v in episode.hashes().items() if not k.startswith("label:")}
    features = {key: asdict(feature) for key, feature in episode.features.items()}
    return digest([episode.id, episode.fps, list(features), features, content, meta_to_json(episode.meta), codec])


def described(episode: Episode) -> dict[str, Any]:
    """What is known about an episode, without its history: a result does not depend on how others got there."""
    return {k: v for k, v in meta_to_json(episode.meta).items() if k != "lineage"}


def feature_from(data: Mapping[str, Any]) -> Feature:
    """A `Feature` from its JSON form."""
    names, unit = data["names"], data["unit"]
    shaped = {
        "shape": tuple(data["shape"]),
        "names": None if names is None else tuple(names),
        "unit": tuple(unit) if isinstance(unit, list) else unit,
    }
    return Feature(**{**data, **shaped})


def stat_digest(path: Path) -> str:
    """A cheap stand-in for a content hash: relative names, sizes and times of all files of a source."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return digest([[p.relative_to(path).as_posix(), p.stat().st_size, p.stat().st_mtime_ns] for p in files])


def _content(value: Any) -> Any:
    """Parameters that name an existing file or folder mean its content, so that a retrained model is a new one."""
    if isinstance(value, Path) and value.is_absolute() and value.exists():
        return _file_hash(value, value.stat().st_mtime_ns) if value.is_file() else stat_digest(value)
    return value


@lru_cache(maxsize=256)
def _file_hash(path: Path, _mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
