"""What LeRobot folders of all versions share: an info.json, numbered tasks, a table and clips for each episode.

A version says where an episode's rows and videos are, and what it keeps as labels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from converters.base import Converter
from converters.lerobot_cameras import copied_videos, keep_coding, left_out, picture_clip, video_clip
from converters.lerobot_info import Info, read_info
from converters.lerobot_rows import Rows, read_rows, to_array
from converters.lerobot_survey import frame_tasks, without_problems_of_unused_cameras
from converters.mapping import SourceMapping
from converters.raw import RawEpisode
from dataengine.episode import Clip, Feature, Label
from dataengine.errors import EpisodeError
from dataengine.guard import safe_join
from dataengine.source import EpisodeRef, Plan
from dataengine.video import probe_guarded

_INDEX = Feature("int64", (1,))
_TIME = Feature("float64", (1,), unit="s")


@dataclass(frozen=True)
class Contents:
    """info.json and the list of tasks of a dataset. tasks: text by task index."""

    info: Info
    tasks: Mapping[int, str]


class LeRobotFolder(Converter):
    """Reads one version. tasks_file: where it lists tasks, below the root."""

    tasks_file: ClassVar[str]

    @staticmethod
    @abstractmethod
    def read_tasks(root: Path) -> dict[int, str]:
        """Text by task index; empty where there is no list."""

    @abstractmethod
    def rows(self, info: Info, ref: EpisodeRef) -> Rows:
        """Where the episode's rows are."""

    @abstractmethod
    def video(self, info: Info, ref: EpisodeRef, camera: str) -> tuple[str, int | None]:
        """The file below the root that shows the episode, and from which frame on; None: it shows nothing else."""

    @abstractmethod
    def label_columns(self, info: Info) -> Sequence[str]:
        """Columns of the table that become labels."""

    @abstractmethod
    def labels(self, table: pa.Table, contents: Contents, ref: EpisodeRef) -> dict[str, Label]: ...

    def contents(self, root: Path) -> Contents:
        """Checked and kept: every episode of a dataset asks for it."""
        places = (root / "meta/info.json", root / self.tasks_file)
        return _contents(type(self), root, tuple(p.stat().st_mtime_ns if p.exists() else 0 for p in places))

    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
        plan = super().plan(path, mapping, hashed=hashed)
        return keep_coding(without_problems_of_unused_cameras(plan), self.contents(Path(plan.path)).info.cameras)

    def copied(self, plan: Plan) -> Mapping[str, int]:
        return copied_videos(plan, self.contents(Path(plan.path)).info.cameras)

    def raw(self, plan: Plan, ref: EpisodeRef) -> RawEpisode:
        contents = self.contents(Path(plan.path))
        info, rules = contents.info, SourceMapping.from_dict(plan.mapping)
        rows = self.rows(info, ref)
        if len(rows) != ref.length:
            raise EpisodeError(ref.name, f"the table has {len(rows)} rows, the plan {ref.length}; make the plan again")
        wanted = [*info.columns, *self.label_columns(info), "timestamp", "task_index", "episode_index"]
        table = read_rows(rows, list(dict.fromkeys(wanted)))
        _check_own(table, ref)
        clips: dict[str, Clip] = {}
        surplus: dict[str, int] = {}
        for rule in rules.cameras.values():
            key, feature = rule.source, info.cameras[rule.source]
            if feature.dtype == "video":
                name, start = self.video(info, ref, key)
                file = safe_join(info.root, name)
                clips[key] = video_clip(file, rule, feature, plan.fps, ref, start)
                alone = start is None
                surplus[key] = probe_guarded(file).frames - ref.length if alone else ref.extra["surplus"].get(key, 0)
            else:
                clips[key] = picture_clip(rows, key, feature, plan.fps, ref)
        features, taken = {**info.columns, "timestamp": _TIME}, rules.columns()
        texts, places = frame_tasks(table, contents.tasks, ref)
        return RawEpisode(
            columns={k: to_array(table, k, feature, ref.name) for k, feature in features.items() if k in taken},
            clips=clips,
            tasks=texts,
            frame_tasks=places,
            labels=self.labels(table, contents, ref),
            embodiment=info.embodiment,
            split=info.split_of(int(ref.extra["index"])),
            extra={"info": dict(info.others)} if info.others else {},
            remarks=left_out(surplus),
        )


def _check_own(table: pa.Table, ref: EpisodeRef) -> None:
    """Raise `EpisodeError` unless the rows say that they are this episode's, where they say so."""
    if "episode_index" in table.column_names:
        own = to_array(table, "episode_index", _INDEX, ref.name)
        if (other := own[own != int(ref.extra["index"])]).size:
            raise EpisodeError(ref.name, f"its table says it is episode {other[0]}", feature="episode_index")


@lru_cache(maxsize=4)
def _contents(version: type[LeRobotFolder], root: Path, changed: tuple[int, ...]) -> Contents:
    return Contents(read_info(root), version.read_tasks(root))
