"""LeRobot v3.0 folders: several episodes per parquet and mp4, depth, both language columns.

    meta/info.json  meta/tasks.parquet  meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet
    videos/<camera>/chunk-000/file-000.mp4

Videos are handed on as spans and never decoded here. Stores of this engine are read by `own_store.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from converters.base import Converter
from converters.lerobot_cameras import copied_videos, find_camera, keep_coding, left_out, picture_clip, video_clip
from converters.lerobot_info import Info, version_of
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
from converters.lerobot_v3_meta import read_contents, read_episodes, refer_all, spans_of
from converters.mapping import SourceMapping
from converters.raw import Camera, RawEpisode, Survey
from dataengine.episode import Clip, Feature, Label
from dataengine.errors import EpisodeError, SourceError, StoreError
from dataengine.guard import safe_join
from dataengine.source import EpisodeRef, Plan
from dataengine.store import language, layout

_TIME = Feature("float64", (1,), unit="s")


class LeRobotV3(Converter):
    """LeRobot v3.0, depth and language columns included."""

    name = "lerobot_v3"
    reads = "LeRobot v3.0 folders"

    def sniff(self, path: Path) -> bool:
        ours = (path / layout.COMMIT).exists()
        return path.is_dir() and not ours and (version_of(path) or "").startswith("v3.")

    def survey(self, path: Path) -> Survey:
        contents = read_contents(path)
        info = contents.info
        refs = refer_all(info, read_episodes(path))
        usable = [ref for ref in refs if ref.problem is None]
        if not usable:
            raise SourceError(path, f"none of {len(refs)} episodes can be read; {refs[0].name}: {refs[0].problem}")
        info = without_absent(info, (safe_join(path, f) for f in dict.fromkeys(ref.extra["file"] for ref in usable)))
        notes: list[str] = []
        cameras = {key: _camera(info, key, usable, notes) for key in info.cameras}
        proposal = propose(info, cameras, {}, own_clock=any(ref.extra["own_clock"] for ref in usable))
        table = open_parquet(safe_join(path, usable[0].extra["file"])).schema_arrow.names
        for key in (key for key in info.features if info.features[key].dtype == "language"):
            notes.append(f"{key} becomes the label {key!r}; a store writes it back as a column")
        if not contents.tasks:
            notes.append("meta/tasks.parquet is missing or empty: tasks are those of meta/episodes")
        return Survey(
            episodes=refs,
            columns=proposal.columns,
            cameras=proposal.cameras,
            mapping=proposal.mapping,
            assumptions=tuple(proposal.assumptions),
            unused=(*info.skipped, *undeclared(table, info)),
            notes=(*proposal.notes, *notes, *surplus_notes(refs), *total_notes(info, refs)),
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
        rules = SourceMapping.from_dict(plan.mapping)
        rows = find_rows(safe_join(root, ref.extra["file"]), index)
        if len(rows) != ref.length:
            raise EpisodeError(ref.name, f"the table has {len(rows)} rows, the plan {ref.length}; make the plan again")
        spoken = [key for key, feature in info.features.items() if feature.dtype == "language"]
        table = read_rows(rows, [*info.columns, *spoken, "timestamp", "task_index"])
        features = {**info.columns, "timestamp": _TIME}
        taken = rules.columns()
        spans = dict(spans_of(ref))
        clips: dict[str, Clip] = {}
        for rule in rules.cameras.values():
            key, feature = rule.source, info.cameras[rule.source]
            if feature.dtype == "video":
                file, start = safe_join(root, spans[key].file), spans[key].start
                clips[key] = video_clip(file, rule, feature, plan.fps, ref, start)
            else:
                clips[key] = picture_clip(rows, key, feature, plan.fps, ref)
        texts, places = frame_tasks(table, contents.tasks, ref)
        return RawEpisode(
            columns={k: to_array(table, k, feature, ref.name) for k, feature in features.items() if k in taken},
            clips=clips,
            tasks=texts,
            frame_tasks=places,
            labels=_languages(table, spoken, info.fps, ref.name),
            embodiment=info.embodiment,
            split=info.split_of(index),
            extra={"info": dict(info.others)} if info.others else {},
            remarks=left_out({key: ref.extra["surplus"].get(key, 0) for key in clips}),
        )


def _camera(info: Info, key: str, usable: list[EpisodeRef], notes: list[str]) -> Camera:
    """The camera as its first readable file shows it."""
    feature = info.cameras[key]
    if feature.dtype == "image":
        first = usable[0].extra
        return find_camera(key, feature, [find_rows(safe_join(info.root, first["file"]), first["index"])], notes)
    files = dict.fromkeys(ref.extra["spans"][key][0] for ref in usable if key in ref.extra["spans"])
    return find_camera(key, feature, (safe_join(info.root, file) for file in files), notes)


def _languages(table: pa.Table, keys: list[str], fps: float, episode: str) -> dict[str, Label]:
    """Language columns as labels; a column that says nothing in this episode gives none."""
    found = {}
    for key in keys:
        if key in table.column_names:
            try:
                label = language.read(table.column(key), key, fps, episode)
            except (StoreError, pa.ArrowException, ValueError, AttributeError, TypeError) as error:
                raise EpisodeError(episode, f"holds no language rows: {error}", feature=key) from None
            if label is not None:
                found[key] = label
    return found
