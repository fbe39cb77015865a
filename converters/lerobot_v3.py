"""LeRobot v3.0 folders: several episodes per parquet and mp4, depth, both language columns.

    meta/info.json  meta/tasks.parquet  meta/episodes/chunk-000/file-000.parquet
    data/chunk-000/file-000.parquet
    videos/<camera>/chunk-000/file-000.mp4

Videos are handed on as spans and never decoded here. Stores of this engine are read by `own_store.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from converters.lerobot_cameras import find_camera
from converters.lerobot_folder import Contents, LeRobotFolder
from converters.lerobot_info import Info, version_of
from converters.lerobot_rows import Rows, find_rows, open_parquet
from converters.lerobot_survey import (
    propose,
    surplus_notes,
    total_notes,
    undeclared,
    without_absent,
)
from converters.lerobot_v3_meta import read_episodes, read_tasks, refer_all, spans_of
from converters.raw import Camera, Survey
from dataengine.episode import Label
from dataengine.errors import EpisodeError, SourceError, StoreError
from dataengine.guard import safe_join
from dataengine.source import EpisodeRef
from dataengine.store import language, layout


class LeRobotV3(LeRobotFolder):
    """LeRobot v3.0, depth and language columns included."""

    name = "lerobot_v3"
    reads = "LeRobot v3.0 folders"
    tasks_file = "meta/tasks.parquet"
    read_tasks = staticmethod(read_tasks)

    def sniff(self, path: Path) -> bool:
        ours = (path / layout.COMMIT).exists()
        return path.is_dir() and not ours and (version_of(path) or "").startswith("v3.")

    def survey(self, path: Path) -> Survey:
        contents = self.contents(path)
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

    def rows(self, info: Info, ref: EpisodeRef) -> Rows:
        return find_rows(safe_join(info.root, ref.extra["file"]), int(ref.extra["index"]))

    def video(self, info: Info, ref: EpisodeRef, camera: str) -> tuple[str, int | None]:
        span = dict(spans_of(ref))[camera]
        return span.file, span.start

    def label_columns(self, info: Info) -> Sequence[str]:
        return [key for key, feature in info.features.items() if feature.dtype == "language"]

    def labels(self, table: pa.Table, contents: Contents, ref: EpisodeRef) -> dict[str, Label]:
        return _languages(table, self.label_columns(contents.info), contents.info.fps, ref.name)


def _camera(info: Info, key: str, usable: list[EpisodeRef], notes: list[str]) -> Camera:
    """The camera as its first readable file shows it."""
    feature = info.cameras[key]
    if feature.dtype == "image":
        first = usable[0].extra
        return find_camera(key, feature, [find_rows(safe_join(info.root, first["file"]), first["index"])], notes)
    files = dict.fromkeys(ref.extra["spans"][key][0] for ref in usable if key in ref.extra["spans"])
    return find_camera(key, feature, (safe_join(info.root, file) for file in files), notes)


def _languages(table: pa.Table, keys: Sequence[str], fps: float, episode: str) -> dict[str, Label]:
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
