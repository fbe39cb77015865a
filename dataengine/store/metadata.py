"""Everything a store says about itself before a frame is read: made once, read at every open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataengine.episode import POSITION_COLUMNS, Feature
from dataengine.errors import ConfigError, SourceError, StoreError
from dataengine.guard import read_json, safe_join, sha256_file
from dataengine.store import commit as commits
from dataengine.store import episodes as tables
from dataengine.store import files, language, layout, schema, tasks
from dataengine.store.commit import Commit
from dataengine.store.episodes import Episodes
from dataengine.video import DEFAULT, Codec


@dataclass(frozen=True)
class Metadata:
    """commit: our record, None for a foreign dataset. info: info.json as it belongs to it. features: by key,
    position and language columns left out. languages: the language columns there are.
    """

    commit: Commit | None
    info: Mapping[str, Any]
    features: dict[str, Feature]
    languages: tuple[str, ...]
    licence: str | None
    codec: Codec
    tasks: tuple[str, ...]
    episodes: Episodes

    @property
    def fps(self) -> float:
        return float(self.info["fps"])


def create(
    root: Path,
    fps: float,
    features: Mapping[str, Feature],
    embodiment: str | None,
    licence: str | None,
    codec: Codec,
) -> None:
    """Write the metadata of a store without episodes. Raises `StoreError`, `ConfigError`."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise StoreError(f"{root} is not empty; a new store needs a folder of its own")
    if not (np.isfinite(fps) and fps > 0):
        raise ConfigError(f"fps is {fps}; it must be a positive number")
    if not features:
        raise ConfigError("a store needs at least one feature")
    for key, feature in features.items():
        schema.check_feature(key, feature)
    features = {key: schema.as_stored(feature) for key, feature in features.items()}
    described = {key: schema.to_info(feature) for key, feature in (*features.items(), *schema.POSITION.items())}
    details = {key: schema.to_details(feature) for key, feature in features.items()}
    root.mkdir(parents=True, exist_ok=True)
    files.write_json(root / layout.FEATURES, {"features": details, "licence": licence, "codec": asdict(codec)})
    tasks.write(root, [])
    files.write_json(root / layout.STATS, {})
    begun = commits.empty(fps, described, embodiment, bool(tables.video_keys(features)))
    named = {path: sha256_file(root / path) for path in (layout.FEATURES, layout.TASKS, layout.STATS)}
    replace(begun, sha256=named).write(root)


def read(root: Path) -> Metadata:
    """Raises `StoreError` naming what is missing or damaged. A version swapped in meanwhile is read anew."""
    for _ in range(3):
        before = commits.read(root)
        try:
            return _read(root, before)
        except StoreError:
            if before is None or (now := commits.read(root)) is None or now.generation == before.generation:
                raise
    return _read(root, commits.read(root))


def as_found(root: Path) -> Metadata:
    """What can be read where `read` refuses: no record followed, all episodes that have a row, tasks if they can be."""
    info = {**_foreign_info(root), "total_episodes": rows_of_episodes(root), "total_tasks": None}
    try:
        tasks.read(root)
    except StoreError:
        info["total_tasks"] = 0
    return _read(root, None, info)


def rows_of_episodes(root: Path) -> int:
    """How many rows the episodes table has. Raises `StoreError` if it cannot be read."""
    count = 0
    for path in sorted((root / layout.EPISODES).glob("*/*.parquet")):
        try:
            count += pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
    return count


def _read(root: Path, commit: Commit | None, info: Mapping[str, Any] | None = None) -> Metadata:
    info = info or (commit.info if commit else _foreign_info(root))
    details, licence, codec = _details(root) if commit else ({}, None, DEFAULT)
    described = info["features"]
    features = {
        key: schema.from_info(key, entry, details.get(key))
        for key, entry in described.items()
        if key not in POSITION_COLUMNS and key not in language.LANGUAGE_COLUMNS
    }
    recorded = [path for path, _ in commit.episode_files] if commit else None
    return Metadata(
        commit,
        info,
        features,
        tuple(key for key in language.LANGUAGE_COLUMNS if key in described),
        licence,
        codec,
        () if info.get("total_tasks") == 0 else tasks.read(root)[: info.get("total_tasks")],
        tables.read(root, info, recorded, int(info["total_episodes"])),
    )


def _details(root: Path) -> tuple[Mapping[str, Any], str | None, Codec]:
    """What features.json says of features, the licence, and how new episodes are encoded."""
    path = root / layout.FEATURES
    try:
        ours = read_json(path)
        return dict(ours["features"]), ours.get("licence"), Codec(**ours.get("codec", {}))
    except SourceError as error:
        raise StoreError(str(error)) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def _foreign_info(root: Path) -> Mapping[str, Any]:
    """info.json of a dataset that is not ours. Raises `StoreError` saying what the folder is instead, and
    `UnsafeSource` for path templates that leave it or do more than name a file.
    """
    path = root / layout.INFO
    if not path.exists():
        what = f"is not a LeRobotDataset: {layout.INFO} is missing" if root.exists() else "is not there"
        raise StoreError(f"{root} {what}")
    try:
        info = read_json(path)
    except SourceError as error:
        raise StoreError(str(error)) from error
    if not isinstance(info, dict) or not isinstance(info.get("features"), dict):
        raise StoreError(f"{path} lists no features")
    version = str(info.get("codebase_version"))
    if not version.startswith("v3."):
        hint = f"convert it: dataengine convert {root} STORE"
        raise StoreError(f"{root} is a LeRobotDataset {version}, a store is v3.0; {hint}")
    fps = info.get("fps")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not fps > 0:
        raise StoreError(f"{path}: fps is {fps!r}; it must be a positive number")
    for template in (info.get("data_path"), info.get("video_path")):
        if template is not None:
            safe_join(root, layout.expand(str(template), 0, 0, "camera"))
    for name in ("total_episodes", "total_frames"):
        if not isinstance(info.get(name), int) or info[name] < 0:
            raise StoreError(f"{path}: {name} is {info.get(name)!r}; it must be a count")
    return info
