"""The tables of contents of LeRobot v3.0: tasks.parquet, meta/episodes, and where each episode lies.

Data, each camera and the episodes table roll over to their next file independently, so every row names its
files one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from converters.lerobot_cameras import on_time
from converters.lerobot_info import Info, fill_template
from converters.lerobot_rows import index_column, open_parquet, read_groups, seconds_column
from converters.lerobot_survey import clock_differs
from dataengine.errors import SourceError
from dataengine.guard import safe_join
from dataengine.source import EpisodeRef
from dataengine.video import probe_guarded
from dataengine.video.index import index_of

_VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_LATEST = 1e9  # [s] into a video
_NEEDED = ("episode_index", "length", "data/chunk_index", "data/file_index")


@dataclass(frozen=True)
class Span:
    """Where one camera shows an episode: frames from `start` of a file below the root.

    surplus: frames that meta/episodes counts to it beyond its rows.
    """

    file: str
    start: int
    surplus: int = 0


def read_tasks(root: Path) -> dict[int, str]:
    """The text column is called `task`, or `__index_level_0__` where pandas wrote an unnamed index."""
    place = safe_join(root, "meta/tasks.parquet")
    if not place.exists():
        return {}
    file = open_parquet(place)
    names = file.schema_arrow.names
    text = next((name for name in ("task", "__index_level_0__") if name in names), None)
    if text is None or "task_index" not in names:
        raise SourceError(place, f"needs the columns task_index and task; it has {', '.join(names)}")
    table = read_groups(place, tuple(range(file.num_row_groups)), ("task_index", text))
    try:
        texts = table.column(text).to_pylist()
    except UnicodeDecodeError as problem:
        raise SourceError(place, f"holds a task that is no UTF-8 text: {problem}") from None
    if not all(isinstance(t, str) for t in texts):
        raise SourceError(place, "holds a task that is no text")
    return dict(zip(index_column(table, "task_index", place).tolist(), texts, strict=True))


def read_episodes(root: Path) -> pa.Table:
    """Rows of meta/episodes in order of `episode_index`, without statistics.

    Raises: `SourceError` when the table is missing, lacks what places an episode, or names one twice.
    """
    folder = root / "meta" / "episodes"
    tables = []
    for path in sorted(p for p in folder.glob("*/*.parquet") if not p.name.startswith(".")):  # macOS leaves ._ files
        file = open_parquet(safe_join(root, path.relative_to(root).as_posix()))
        names = tuple(name for name in file.schema_arrow.names if not name.startswith("stats/"))
        if absent := [name for name in _NEEDED if name not in names]:
            raise SourceError(path, f"lacks the columns {', '.join(absent)}")
        tables.append(read_groups(path, tuple(range(file.num_row_groups)), names))
    if not tables:
        raise SourceError(folder, "holds no episodes")
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as problem:
        raise SourceError(folder, f"its files do not fit each other: {str(problem)[:200]}") from None
    order = index_column(table, "episode_index", folder)
    if len(order) != len(np.unique(order)) or (len(order) and order.min() < 0):
        raise SourceError(folder, "names an episode twice or by a number below 0")
    if not len(order):
        raise SourceError(folder, "holds no episodes")
    return table.take(np.argsort(order))


def refer_all(info: Info, table: pa.Table) -> tuple[EpisodeRef, ...]:
    """Every episode by its place, with a problem where rows or videos are not what the table says.

    Each data file is read once for its index and timestamp columns, each video file probed once. extra:
    `file`, `place`, `index`, `own_clock`, and by camera `spans`, `videos` (bytes), `surplus` frames, and `missing`,
    what is wrong.
    """
    place = info.root / "meta" / "episodes"
    numbers = {name: index_column(table, name, place) for name in table.column_names if _is_number(table, name)}
    files = [_data_file(info, numbers, row) for row in range(table.num_rows)]
    found = {file: _DataFile.read(info, file) for file in dict.fromkeys(files)}
    videos = _VideoFiles(info)
    try:
        tasks = table.column("tasks").to_pylist() if "tasks" in table.column_names else [[]] * table.num_rows
    except UnicodeDecodeError as error:
        raise SourceError(info.root / "meta" / "episodes", f"holds a task that is no UTF-8 text: {error}") from None
    starts = {c: _seconds(table, f"videos/{c}/from_timestamp", place) for c in info.cameras}
    stops = {c: _seconds(table, f"videos/{c}/to_timestamp", place) for c in info.cameras}
    refs = []
    for row, file in enumerate(files):
        index, length = int(numbers["episode_index"][row]), int(numbers["length"][row])
        data = found[file]
        spans: dict[str, Span] = {}
        missing: dict[str, str] = {}
        for camera, feature in info.cameras.items():
            if feature.dtype == "video":
                span = _span(info, videos, camera, numbers, row, starts[camera], stops[camera])
                if isinstance(span, Span):
                    spans[camera] = span
                else:
                    missing[camera] = span
        extra: dict[str, Any] = {
            "file": file,
            "place": f"episode_{index:06d}",
            "index": index,
            "own_clock": data.own_clock.get(index, False),
            "spans": {camera: [span.file, span.start] for camera, span in spans.items()},
            "videos": {camera: videos.share(span.file, length) for camera, span in spans.items()},
            "surplus": {camera: span.surplus for camera, span in spans.items() if span.surplus},
            "missing": missing,
        }
        problem = data.problem_of(index, length)
        listed = tasks[row] if isinstance(tasks[row], list) else [tasks[row]]
        texts = tuple(t for t in listed if isinstance(t, str))
        size = data.share(length) + sum(extra["videos"].values())
        refs.append(EpisodeRef(f"episode {index}", max(length, 0), size, texts, problem, extra))
    return tuple(refs)


@dataclass(frozen=True)
class _DataFile:
    """What a survey needs of a data file: rows per episode, whose clock is its own, or why it is unreadable."""

    name: str
    rows: Mapping[int, int]
    own_clock: Mapping[int, bool]
    bytes: int = 0
    problem: str | None = None

    @classmethod
    def read(cls, info: Info, name: str) -> _DataFile:
        try:
            path = safe_join(info.root, name)
            file = open_parquet(path)
            groups = tuple(range(file.num_row_groups))
            table = read_groups(path, groups, ("episode_index", "timestamp"))
            if "episode_index" not in table.column_names:
                return cls(name, {}, {}, problem="has no column episode_index")
            episodes = index_column(table, "episode_index", path)
            values, starts, counts = np.unique(episodes, return_index=True, return_counts=True)
            clocks = {}
            if "timestamp" in table.column_names:
                times = seconds_column(table, "timestamp", path)
                clocks = {
                    int(v): clock_differs(times[s : s + n], info.fps)
                    for v, s, n in zip(values, starts, counts, strict=True)
                }
            rows = dict(zip(values.tolist(), counts.tolist(), strict=True))
            return cls(name, rows, clocks, path.stat().st_size)
        except SourceError as error:
            return cls(name, {}, {}, problem=error.reason)

    def problem_of(self, index: int, length: int) -> str | None:
        if self.problem is not None:
            return f"{self.name} {self.problem}"
        rows = self.rows.get(index, 0)
        if rows != length or not rows:
            return f"{self.name} has {rows} rows of it, meta/episodes says {length}"
        return None

    def share(self, length: int) -> int:
        """Bytes of the file that an episode of this length takes, about."""
        return self.bytes * max(length, 0) // max(sum(self.rows.values()), 1)


class _VideoFiles:
    """When each video file shows its frames, looked up once per file."""

    def __init__(self, info: Info) -> None:
        self.info = info
        self.known: dict[str, np.ndarray | str] = {}

    def place(self, file: str, seconds: float, length: int, surplus: int) -> int | str:
        """The frame at a time in [s] from which `length` frames follow, or why there is none.

        The file's own clock decides, not seconds * fps: joined files drift from it. Where more frames are counted to
        the episode, `surplus`, those of the rows must be at the rows' times.
        """
        if file not in self.known:
            self.known[file] = self._times(file)
        times = self.known[file]
        if isinstance(times, str):
            return times
        start = int(np.argmin(np.abs(times - seconds)))
        if abs(times[start] - seconds) > 0.5 / self.info.fps:
            return f"{file} has no frame at {seconds:g} s; it shows {times[0]:g} to {times[-1]:g} s"
        if start + length > len(times):
            return f"{file} ends after {len(times)} frames; frames {start} to {start + length} are needed"
        if not on_time(times[start : start + length] - times[start], self.info.fps):
            return f"{file} shows {length + surplus} frames for {length} rows, at other times than theirs"
        return start

    def share(self, file: str, length: int) -> int:
        """Bytes of a file that this many of its frames take, about."""
        index = index_of(safe_join(self.info.root, file))
        return index.size * length // len(index)

    def _times(self, name: str) -> np.ndarray | str:
        try:
            path = safe_join(self.info.root, name)
            if not path.is_file():
                return f"{name} is missing"
            found = probe_guarded(path)
            index = index_of(path)
        except SourceError as error:
            return f"{name} {error.reason}"
        if index.times is None:
            return np.arange(found.frames) / self.info.fps
        return index.times * float(index.time_base)


def _data_file(info: Info, numbers: Mapping[str, np.ndarray], row: int) -> str:
    fields = {name: int(numbers[f"data/{name}"][row]) for name in ("chunk_index", "file_index")}
    return fill_template(info.root / "meta" / "info.json", info.data_path, fields)


def _span(
    info: Info,
    videos: _VideoFiles,
    camera: str,
    numbers: Mapping[str, np.ndarray],
    row: int,
    starts: np.ndarray | None,
    stops: np.ndarray | None,
) -> Span | str:
    """Where a camera shows the episode of a row, or what is wrong with what the table says."""
    names = {name: numbers.get(f"videos/{camera}/{name}") for name in ("chunk_index", "file_index")}
    if starts is None or any(values is None for values in names.values()):
        return "meta/episodes does not say where its video is"
    start, length, surplus = float(starts[row]), int(numbers["length"][row]), 0
    if not 0 <= start < _LATEST:
        return f"meta/episodes gives {start} as its from_timestamp"
    if stops is not None and abs(stops[row]) < _LATEST:
        surplus = round((float(stops[row]) - start) * info.fps) - length
        if surplus < 0:
            shown = length + surplus
            return f"its video has {shown} frames by from_timestamp and to_timestamp, its table {length} rows"
    fields: dict[str, Any] = {name: int(values[row]) for name, values in names.items() if values is not None}
    place = info.root / "meta" / "info.json"
    file = fill_template(place, info.video_path or _VIDEO_PATH, {**fields, "video_key": camera})
    frame = videos.place(file, start, length, surplus)
    return frame if isinstance(frame, str) else Span(file, frame, surplus)


def _is_number(table: pa.Table, name: str) -> bool:
    return name in _NEEDED or pa.types.is_integer(table.schema.field(name).type)


def _seconds(table: pa.Table, name: str, place: Path) -> np.ndarray | None:
    return seconds_column(table, name, place) if name in table.column_names else None


def spans_of(ref: EpisodeRef) -> Iterator[tuple[str, Span]]:
    """Camera and span of an episode, out of its reference."""
    for camera, (file, start) in ref.extra["spans"].items():
        yield camera, Span(file, start)
