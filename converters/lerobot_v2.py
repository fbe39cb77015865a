"""LeRobot v2.0 and v2.1 folders, NVIDIA GR00T's among them: one parquet and one mp4 per episode and camera.

    meta/info.json  meta/tasks.jsonl  meta/episodes.jsonl  meta/stats.json | meta/episodes_stats.jsonl
    meta/modality.json                                       GR00T's
    data/chunk-000/episode_000000.parquet
    videos/chunk-000/<camera>/episode_000000.mp4

Videos are handed on as whole-file clips and never decoded here; a store remuxes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from converters.base import Converter
from converters.groot import ANNOTATION, annotation_label, is_validity, read_modality, without_validity
from converters.lerobot_cameras import copied_videos, find_camera, keep_coding, left_out, picture_clip, video_clip
from converters.lerobot_info import Info, read_info, version_of
from converters.lerobot_rows import find_rows, open_parquet, read_rows, to_array
from converters.lerobot_survey import (
    frame_tasks,
    propose,
    surplus_notes,
    total_notes,
    undeclared,
    without_absent,
    without_problems_of_unused_cameras,
)
from converters.lerobot_v2_meta import (
    Contents,
    forget_cameras,
    phantom_cameras,
    read_contents,
    read_episodes,
    refer,
    video_file,
)
from converters.mapping import SourceMapping
from converters.raw import Camera, RawEpisode, Survey
from dataengine.episode import Clip, Feature, Label
from dataengine.errors import EpisodeError, SourceError
from dataengine.guard import safe_join
from dataengine.source import EpisodeRef, Plan
from dataengine.video import probe_guarded

_INDEX = Feature("int64", (1,))
_TIME = Feature("float64", (1,), unit="s")


class LeRobotV2(Converter):
    """LeRobot v2.0 and v2.1, GR00T's modality.json and annotations included."""

    name = "lerobot_v2"
    reads = "LeRobot v2.0 and v2.1 folders, GR00T's too"

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
        contents = read_contents(path)
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

    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
        plan = super().plan(path, mapping, hashed=hashed)
        return keep_coding(without_problems_of_unused_cameras(plan), read_contents(Path(plan.path)).info.cameras)

    def copied(self, plan: Plan) -> Mapping[str, int]:
        return copied_videos(plan, read_contents(Path(plan.path)).info.cameras)

    def raw(self, plan: Plan, ref: EpisodeRef) -> RawEpisode:
        root = Path(plan.path)
        contents = read_contents(root)
        info, index = contents.info, int(ref.extra["index"])
        rows = find_rows(safe_join(root, ref.extra["file"]), None)
        if len(rows) != ref.length:
            raise EpisodeError(ref.name, f"the table has {len(rows)} rows, the plan {ref.length}; make the plan again")
        annotations = [key for key in info.columns if key.startswith(ANNOTATION)]
        table = read_rows(rows, [*info.columns, "timestamp", "task_index", "episode_index"])
        if "episode_index" in table.column_names:
            own = to_array(table, "episode_index", _INDEX, ref.name)
            if (own != index).any():
                other = int(own[own != index][0])
                raise EpisodeError(ref.name, f"its table says it is episode {other}", feature="episode_index")
        rules = SourceMapping.from_dict(plan.mapping)
        clips: dict[str, Clip] = {}
        surplus: dict[str, int] = {}
        for rule in rules.cameras.values():
            key, feature = rule.source, info.cameras[rule.source]
            if feature.dtype == "video":
                video = safe_join(root, video_file(info, index, key))
                clips[key] = video_clip(video, rule, feature, plan.fps, ref)
                surplus[key] = probe_guarded(video).frames - ref.length
            else:
                clips[key] = picture_clip(rows, key, feature, plan.fps, ref)
        texts, places = frame_tasks(table, contents.tasks, ref)
        return RawEpisode(
            columns=_columns(table, info, rules.columns(), ref.name),
            clips=clips,
            tasks=texts,
            frame_tasks=places,
            labels={key.removeprefix(ANNOTATION): _annotation(table, key, contents, ref.name) for key in annotations},
            embodiment=info.embodiment,
            split=info.split_of(index),
            extra={"info": dict(info.others)} if info.others else {},
            remarks=left_out(surplus),
        )


def _camera(info: Info, key: str, usable: list[EpisodeRef], notes: list[str]) -> Camera:
    """The camera as its first readable file shows it."""
    if info.cameras[key].dtype == "image":
        rows = find_rows(safe_join(info.root, usable[0].extra["file"]), None)
        return find_camera(key, info.cameras[key], [rows], notes)
    videos = (video_file(info, ref.extra["index"], key) for ref in usable if key not in ref.extra["missing"])
    return find_camera(key, info.cameras[key], (safe_join(info.root, video) for video in videos), notes)


def _columns(table: pa.Table, info: Info, taken: set[str], episode: str) -> dict[str, np.ndarray]:
    """The columns the mapping takes, each as `(T, *shape)`."""
    features = {**info.columns, "timestamp": _TIME}
    return {key: to_array(table, key, feature, episode) for key, feature in features.items() if key in taken}


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
