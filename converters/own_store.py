"""A store of this engine as a source: ids, labels, units, roles and lineage stay.

An episode that the mapping does not change is the same episode, with its id. One that it changes is a variant:
a new id, with the old one as its parent.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Converter
from converters.lerobot_cameras import copied_videos, keep_coding
from converters.raw import Camera, Column, RawEpisode, Survey
from dataengine.episode import Episode, Feature, derived_id
from dataengine.errors import DataEngineError, EpisodeError, SourceError, StoreError
from dataengine.guard import regular_files, safe_join, sha256_file
from dataengine.source import EpisodeRef, Plan
from dataengine.store import Store, files, labels, layout


class OwnStore(Converter):
    """A store made by this engine."""

    name = "store"
    reads = "stores of this engine"

    def sniff(self, path: Path) -> bool:
        return (path / layout.COMMIT).is_file()

    def survey(self, path: Path) -> Survey:
        deque(regular_files(path), maxlen=0)  # a stranger's store leads to nothing else of this machine
        store = _open(path)
        sizes = {key: sum(file.stat().st_size for file in path.glob(f"videos/{key}/*/*.mp4")) for key in store.cameras}
        videos = {key: size // max(len(store.ids), 1) for key, size in sizes.items()}
        refs = tuple(
            EpisodeRef(
                identity,
                int(store.table_of_episodes.length[index]),
                tasks=tuple(store.table_of_episodes.value("tasks", index) or ()),
                extra={"file": layout.COMMIT, "place": identity, "index": index, "videos": videos},
            )
            for index, identity in enumerate(store.ids)
        )
        table = {key: feature for key, feature in store.features.items() if not feature.is_camera}
        cameras = {key: store.features[key] for key in store.cameras}
        return Survey(
            episodes=refs,
            columns={key: _column(key, feature) for key, feature in table.items()},
            cameras={
                key: Camera(key, feature.shape[0], feature.shape[1], _kind(feature)) for key, feature in cameras.items()
            },
            mapping={
                "fps": store.fps,
                "embodiment": None,
                "task": None,
                "licence": store.licence,
                "features": {key: _rule(key, feature) for key, feature in table.items()},
                "cameras": {
                    key: {"from": key, "kind": _kind(feature), "dtype": feature.dtype}
                    for key, feature in cameras.items()
                },
            },
        )

    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
        plan = super().plan(path, mapping, hashed=hashed)
        store = _open(Path(plan.path))
        features = {
            key: replace(feature, rate=store.features[key].rate) if key in store.features else feature
            for key, feature in plan.features.items()
        }
        plan = keep_coding(replace(plan, features=features), store.features)
        return replace(plan, embodiment=plan.embodiment or store.embodiment)

    def copied(self, plan: Plan) -> Mapping[str, int]:
        return copied_videos(plan, _open(Path(plan.path)).features)

    def raw(self, plan: Plan, ref: EpisodeRef) -> RawEpisode:
        kept = self._kept(plan, ref)
        return RawEpisode(
            columns=kept.frames,
            clips=kept.clips,
            tasks=kept.meta.tasks,
            frame_tasks=kept.frame_tasks,
            labels=kept.labels,
            embodiment=kept.meta.embodiment,
        )

    def read(self, plan: Plan, ref: EpisodeRef) -> Episode:
        kept, made = self._kept(plan, ref), super().read(plan, ref)
        meta = replace(
            kept.meta,
            tasks=made.meta.tasks,
            embodiment=plan.mapping.get("embodiment") or kept.meta.embodiment,
            licence=kept.meta.licence
            if plan.mapping.get("licence") == _open(Path(plan.path)).licence
            else plan.mapping.get("licence"),
        )
        if _same(kept, made):
            return replace(made, id=kept.id, meta=meta)
        change = hashlib.sha256(json.dumps(plan.mapping, sort_keys=True, default=str).encode()).hexdigest()
        lineage = (*kept.meta.lineage, *made.meta.lineage)
        return replace(
            made, id=derived_id(kept.id, f"convert:{change}"), meta=replace(meta, parent=kept.id, lineage=lineage)
        )

    def _kept(self, plan: Plan, ref: EpisodeRef) -> Episode:
        _check_files(Path(plan.path), ref)
        try:
            return _episode(Path(plan.path), ref.extra["sha256"], str(ref.extra["place"]))
        except SourceError:
            raise
        except StoreError as error:
            raise EpisodeError(ref.name, str(error)) from None


def _open(root: Path) -> Store:
    try:
        changed = (root / layout.COMMIT).stat().st_mtime_ns
    except OSError:
        raise SourceError(root, f"has no {layout.COMMIT} any more") from None
    return _opened(root, changed)


@lru_cache(maxsize=4)
def _opened(root: Path, changed: int) -> Store:
    try:
        return Store.open(root)
    except SourceError:
        raise
    except DataEngineError as error:
        raise SourceError(root, str(error)) from None


def _check_files(root: Path, ref: EpisodeRef) -> None:
    """Raise `EpisodeError` where a file of the episode is not the one that the store has written."""
    store, index = _open(root), int(ref.extra["index"])
    table = store.table_of_episodes
    names = {"data": table.data(index)[0]}
    names |= {key: table.video(index, key)[0] for key in store.cameras if store.features[key].dtype == "video"}
    written = {name: str(table.value(f"sha256/{key}", index) or "") for key, name in names.items()}
    for path in _label_files(root, ref.extra["sha256"]).get(str(ref.extra["place"]), ()):
        written[path.relative_to(root).as_posix()] = files.hash_in_name(path)
    for name, begins in written.items():
        try:
            path = safe_join(root, name)
            status = path.stat()
            found = _sha256(path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise EpisodeError(ref.name, f"{name}: {error.strerror or error}") from None
        if not found.startswith(begins):
            told = f"its sha256 begins with {found[:12]}, not {begins[:12]}"
            raise EpisodeError(ref.name, f"{name} is not what was written: {told}")


@lru_cache(maxsize=4)
def _label_files(root: Path, state: str) -> dict[str, tuple[Path, ...]]:
    """The files that hold labels, by the episode's id. One that cannot be read does not say whose it is."""
    found: dict[str, tuple[Path, ...]] = {}
    for name in labels.names(root):
        with suppress(StoreError):
            for identity, entry in labels.index(root, name).items():
                found[identity] = (*found.get(identity, ()), entry.path)
    return found


@lru_cache(maxsize=256)
def _sha256(path: Path, changed: int, size: int) -> str:
    return sha256_file(path)


@lru_cache(maxsize=2)
def _episode(root: Path, state: str, identity: str) -> Episode:
    """One episode; asked for twice, by `raw` and by `read`."""
    return _open(root).get(identity)


def _column(key: str, feature: Feature) -> Column:
    return Column(key, feature.dtype, () if feature.shape == (1,) else feature.shape, feature.names, feature.unit)


def _rule(key: str, feature: Feature) -> dict[str, Any]:
    rule: dict[str, Any] = {"from": [{"column": key}], "dtype": feature.dtype, "role": feature.role}
    return rule | ({"info": dict(feature.info)} if feature.info else {})


def _kind(feature: Feature) -> Any:
    return "depth" if feature.role == "depth" else "rgb"


def _same(kept: Episode, made: Episode) -> bool:
    """Whether a mapping left everything an episode shows and says as it was."""
    return (
        kept.frames.keys() == made.frames.keys()
        and kept.clips.keys() == made.clips.keys()
        and (kept.fps, kept.meta.tasks) == (made.fps, made.meta.tasks)
        and all(kept.clips[key] == made.clips[key] for key in kept.clips)
        and all(
            kept.frames[key].dtype == column.dtype and np.array_equal(kept.frames[key], column)
            for key, column in made.frames.items()
        )
    )
