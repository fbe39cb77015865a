"""The commit record: what belongs to a store, said in one file that is replaced in one step.

Everything a reader of ours opens is named here, by path and sha256; what else lies in the folder is not part
of the store (yet, or any more). LeRobot reads info.json instead, which follows as the last rename of every
append: at each instant both readers see a whole store, at most one episode apart. Whatever a reader trusts
follows from this file, so it ends with the sha256 of itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dataengine.errors import SourceError, StoreError
from dataengine.guard import parse_json, sha256_file
from dataengine.store import files, layout

FORMAT = 2  # 1 had no seal
_SEAL = b', "seal": "'


@dataclass(frozen=True)
class Commit:
    """generation: counts commits. next_data, next_video, next_episodes: numbers not used yet.

    episode_files: (path, rows) in order. sha256: of the metadata files, by path. info: info.json as it
    belongs to this state. materialized: labels that were written into columns, with the columns' names.
    edits: what was done besides appending: "what", "when", generation "before" it and "generation" after it,
    "gone", the marks of episodes that it took out, and "restored" where it brought an older state back.
    """

    generation: int
    episodes: int
    frames: int
    next_data: int
    next_video: int
    next_episodes: int
    info: Mapping[str, Any]
    episode_files: tuple[tuple[str, int], ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    sketch: str | None = None
    materialized: Mapping[str, list[str]] = field(default_factory=dict)
    edits: tuple[Mapping[str, Any], ...] = ()
    format: int = FORMAT

    def write(self, root: Path) -> None:
        """Publish: our record, then info.json for LeRobot."""
        files.write_bytes(root / layout.COMMIT, sealed(files.json_bytes(asdict(self)).rstrip()))
        files.write_json(root / layout.INFO, self.info, indent=2)

    @property
    def gone(self) -> set[str]:
        """Marks (`mark_of`) of episodes that edits took out, so that they do not come again from where they came."""
        return {mark for edit in self.edits for mark in edit.get("gone", ())}

    def next(self, **changes: Any) -> Commit:
        return replace(self, generation=self.generation + 1, **changes)


def mark_of(identity: str) -> str:
    """What is left of an episode that is gone: enough to know it again, not to tell what it was."""
    return hashlib.sha256(f"gone\0{identity}".encode()).hexdigest()[:16]


def read(root: Path) -> Commit | None:
    """The record of a store of ours, None for a foreign dataset. Raises `StoreError` if it is damaged."""
    path = root / layout.COMMIT
    if not path.exists():
        return None
    if not path.is_file():
        raise StoreError(f"{path} is no file")
    raw = path.read_bytes()
    try:
        data = parse_json(raw.decode(), path)
        if data["format"] > FORMAT:
            raise StoreError(f"{path}: format {data['format']} is newer than this engine knows ({FORMAT}); upgrade it")
        if ("seal" in data or data["format"] > 1) and not whole(raw):
            raise StoreError(f"{path} is damaged: it is not what was written")
        data = {key: value for key, value in data.items() if key != "seal"} | {"format": FORMAT}
        data["episode_files"] = tuple((str(path), int(rows)) for path, rows in data["episode_files"])
        data["edits"] = tuple(data.get("edits", ()))
        return Commit(**data)
    except SourceError as error:
        raise StoreError(f"{path} is damaged: {error.reason}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is not a commit record: {error}") from error


def sealed(record: bytes) -> bytes:
    """A record, one JSON object, with the sha256 of its bytes as the last entry."""
    return record[:-1] + _SEAL + hashlib.sha256(record).hexdigest().encode() + b'"}\n'


def whole(raw: bytes) -> bool:
    """Whether a sealed record is what was written, byte for byte."""
    return sealed(raw.rpartition(_SEAL)[0] + b"}") == raw


def hashes(root: Path, before: Commit, episode_files: tuple[tuple[str, int], ...], sketch: str) -> dict[str, str]:
    """sha256 of every metadata file by path; episodes files with as many rows as before are not read again."""
    same = {path: before.sha256[path] for path, _ in set(before.episode_files) & set(episode_files)}
    named = [*(path for path, _ in episode_files), layout.TASKS, layout.STATS, layout.FEATURES, sketch]
    return {path: same[path] if path in same else sha256_file(root / path) for path in named}


def empty(fps: float, features: Mapping[str, Any], embodiment: str | None, videos: bool) -> Commit:
    """The state of a store without episodes; `features` as they stand in info.json."""
    info = {
        "codebase_version": layout.CODEBASE_VERSION,
        "robot_type": embodiment,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": layout.CHUNK,
        "data_files_size_in_mb": layout.DATA_MB,
        "video_files_size_in_mb": layout.VIDEO_MB,
        "fps": int(fps) if float(fps).is_integer() else float(fps),
        "splits": {},
        "data_path": layout.DATA_TEMPLATE,
        "video_path": layout.VIDEO_TEMPLATE if videos else None,
        "features": json.loads(json.dumps(dict(features))),
    }
    return Commit(0, 0, 0, 0, 0, 0, info)
