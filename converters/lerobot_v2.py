"""LeRobot v2.0 and v2.1 folders, NVIDIA GR00T's among them: one parquet and one mp4 per episode and camera.

    meta/info.json  meta/tasks.jsonl  meta/episodes.jsonl  meta/stats.json | meta/episodes_stats.jsonl
    meta/modality.json                                       GR00T's
    data/chunk-000/episode_000000.parquet
    videos/chunk-000/<camera>/episode_000000.mp4

Videos are handed on as whole-file clips and never decoded here; a store remuxes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from converters.groot import ANNOTATION, annotation_label, is_validity, read_modality, without_validity
from converters.lerobot_cameras import find_camera
from converters.lerobot_folder import Contents, LeRobotFolder
from converters.lerobot_info import Info, read_info, version_of
from converters.lerobot_rows import Rows, find_rows, open_parquet, to_array
from converters.lerobot_survey import (
    propose,
    surplus_notes,
    total_notes,
    undeclared,
    without_absent,
)
from converters.lerobot_v2_meta import (
    forget_cameras,
    phantom_cameras,
    read_episodes,
    read_tasks,
    refer,
    video_file,
)
from converters.raw import Camera, Survey
from dataengine.episode import Label
from dataengine.errors import EpisodeError, SourceError
from dataengine.guard import safe_join
from dataengine.source import EpisodeRef


class LeRobotV2(LeRobotFolder):
    """LeRobot v2.0 and v2.1, GR00T's modality.json and annotations included."""

    name = "lerobot_v2"
    reads = "LeRobot v2.0 and v2.1 folders, GR00T's too"
    tasks_file = "meta/tasks.jsonl"
    read_tasks = staticmethod(read_tasks)

    def sniff(self, path: Path) -> bool:
        return path.is_dir() and (version_of(path) or "").startswith("v2.")

    def refusal(self, path: Path) -> SourceError | None:
        if path.is_dir() and any((path / name).is_file() for name in ("meta/info.json", "meta_data/info.json")):
            version = version_of(path)
            if version is not None or not (path / "meta/info.json").is_file():
                known = f"LeRobot {version}" if version else "LeRobot v1.x"
                return SourceError(path.name, f"is {known}; v2.0, v2.1 and v3.0 are read", hint="LeRobot converts it")
            try:
                read_info(path)
            except SourceError as error:
                return error
        if (path.parent / "meta/info.json").is_file() or (path.parent / "info.json").is_file():
            return SourceError(path.name, "is a part of a LeRobot folder", hint="give the folder that holds meta/")
        return None

    def survey(self, path: Path) -> Survey:
        contents = self.contents(path)
        info = contents.info
        refs = tuple(refer(info, entry) for entry in read_episodes(path))
        usable = [ref for ref in refs if ref.problem is None]
        if not usable:
            raise SourceError(path, f"none of {len(refs)} episodes can be read; {refs[0].name}: {refs[0].problem}")
        info = without_absent(info, (safe_join(path, ref.extra["file"]) for ref in usable))
        phantoms = phantom_cameras(info, refs)
        refs = tuple(forget_cameras(ref, phantoms) for ref in refs)
        if any(is_validity(key, ()) for key in info.columns if key.startswith(ANNOTATION)):
            refs = tuple(replace(ref, tasks=without_validity(ref.tasks)) for ref in refs)
        notes: list[str] = []
        cameras = {key: _camera(info, key, usable, notes) for key in info.cameras if key not in phantoms}
        own_clock = any(ref.extra["own_clock"] for ref in usable)
        proposal = propose(info, cameras, read_modality(path), own_clock=own_clock)
        table = open_parquet(safe_join(path, usable[0].extra["file"])).schema_arrow.names
        return Survey(
            episodes=refs,
            columns=proposal.columns,
            cameras=proposal.cameras,
            mapping=proposal.mapping,
            assumptions=tuple(proposal.assumptions),
            unused=(*info.skipped, *(f"{key} (a camera without files)" for key in phantoms), *undeclared(table, info)),
            notes=(
                *proposal.notes,
                *notes,
                *surplus_notes(refs),
                *_notes(contents, refs, phantoms),
                *total_notes(info, refs),
            ),
        )

    def rows(self, info: Info, ref: EpisodeRef) -> Rows:
        return find_rows(safe_join(info.root, ref.extra["file"]), None)

    def video(self, info: Info, ref: EpisodeRef, camera: str) -> tuple[str, int | None]:
        return video_file(info, int(ref.extra["index"]), camera), None

    def label_columns(self, info: Info) -> Sequence[str]:
        return [key for key in info.columns if key.startswith(ANNOTATION)]

    def labels(self, table: pa.Table, contents: Contents, ref: EpisodeRef) -> dict[str, Label]:
        annotations = self.label_columns(contents.info)
        return {key.removeprefix(ANNOTATION): _annotation(table, key, contents, ref.name) for key in annotations}


def _camera(info: Info, key: str, usable: list[EpisodeRef], notes: list[str]) -> Camera:
    """The camera as its first readable file shows it."""
    if info.cameras[key].dtype == "image":
        rows = find_rows(safe_join(info.root, usable[0].extra["file"]), None)
        return find_camera(key, info.cameras[key], [rows], notes)
    videos = (video_file(info, ref.extra["index"], key) for ref in usable if key not in ref.extra["missing"])
    return find_camera(key, info.cameras[key], (safe_join(info.root, video) for video in videos), notes)


def _annotation(table: pa.Table, key: str, contents: Contents, episode: str) -> Label:
    feature = contents.info.columns[key]
    values = to_array(table, key, feature, episode)
    if feature.dtype == "string":
        texts, indices = np.unique(values.astype(str), return_inverse=True)
        return annotation_label(key, indices, dict(enumerate(texts.tolist())))
    try:
        return annotation_label(key, values, contents.tasks)
    except KeyError as missing:
        raise EpisodeError(episode, f"points at task {missing}, which meta/tasks.jsonl lacks", feature=key) from None


def _notes(contents: Contents, refs: tuple[EpisodeRef, ...], phantoms: list[str]) -> list[str]:
    """Oddities of the tables of contents."""
    info = contents.info
    notes = [f"{key} is declared in info.json and known to no file beside it: left out" for key in phantoms]
    for key in (key for key in info.columns if key.startswith(ANNOTATION)):
        kind = "the validity label" if is_validity(key, ()) else "the label"
        notes.append(f"{key} points into tasks.jsonl: it becomes {kind} {key.removeprefix(ANNOTATION)!r}, not a column")
    if not contents.tasks:
        notes.append("meta/tasks.jsonl is missing or empty: tasks are those of episodes.jsonl")
    listed = {ref.extra["file"] for ref in refs}
    found = {path.relative_to(info.root).as_posix() for path in (info.root / "data").glob("*/*.parquet")}
    if unlisted := found - listed:
        notes.append(f"{len(unlisted)} files stand in no line of episodes.jsonl and are left out: {min(unlisted)} …")
    return notes
