"""The tables of contents of LeRobot v2.x: tasks.jsonl, episodes.jsonl, and which files each episode has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from converters.lerobot_cameras import frames_of
from converters.lerobot_info import Info, fill_template
from converters.lerobot_rows import find_rows, read_rows, to_array
from converters.lerobot_survey import clock_differs
from dataengine.episode import Feature
from dataengine.errors import EpisodeError, SourceError
from dataengine.guard import parse_json, read_json, read_jsonl, safe_join
from dataengine.source import EpisodeRef

_VIDEO_PATH = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_TIME = Feature("float64", (1,), unit="s")


def read_tasks(root: Path) -> dict[int, str]:
    place = safe_join(root, "meta/tasks.jsonl")
    tasks: dict[int, str] = {}
    for n, line in enumerate(read_jsonl(place) if place.exists() else [], 1):
        index, text = (line.get("task_index"), line.get("task")) if isinstance(line, dict) else (None, None)
        if type(index) is not int or not isinstance(text, str):
            raise SourceError(place, f"entry {n} needs a whole task_index and a text task")
        if tasks.setdefault(index, text) != text:
            raise SourceError(place, f"entry {n}: task_index {index} stands for two tasks")
    return tasks


def read_episodes(root: Path) -> list[dict[str, Any]]:
    """Lines of episodes.jsonl in order of `episode_index`, each with `length` and a list `tasks`."""
    place = safe_join(root, "meta/episodes.jsonl")
    entries = read_jsonl(place)
    seen: set[int] = set()
    for n, entry in enumerate(entries, 1):
        index, length = (entry.get("episode_index"), entry.get("length")) if isinstance(entry, dict) else (None, None)
        if type(index) is not int or type(length) is not int or index < 0 or length < 0:
            raise SourceError(
                place, f"entry {n} needs whole numbers episode_index and length, not {index!r} and {length!r}"
            )
        if index in seen:
            raise SourceError(place, f"entry {n}: episode_index {index} stands in it twice")
        seen.add(index)
        tasks = entry.get("tasks") or []
        entry["tasks"] = [tasks] if isinstance(tasks, str) else tasks
        if not isinstance(entry["tasks"], list) or not all(isinstance(text, str) for text in entry["tasks"]):
            raise SourceError(place, f"entry {n}: tasks must be a list of texts")
    if not entries:
        raise SourceError(place, "lists no episodes")
    return sorted(entries, key=lambda entry: entry["episode_index"])


def data_file(info: Info, index: int) -> str:
    return _fill(info, info.data_path, index)


def video_file(info: Info, index: int, camera: str) -> str:
    return _fill(info, info.video_path or _VIDEO_PATH, index, camera)


def refer(info: Info, entry: Mapping[str, Any]) -> EpisodeRef:
    """One episode by its files: their size, and a problem when the table is not what episodes.jsonl says.

    extra: `file`, `place`, `index`; `own_clock`, whether timestamps are not frame / fps; by camera `videos`, their
    bytes, `missing`, why one is of no use, and `surplus`, how many frames one has more than the table rows.
    """
    index, length = int(entry["episode_index"]), int(entry["length"])
    file = data_file(info, index)
    size, problem, own_clock = 0, None, False
    try:
        path = safe_join(info.root, file)
        rows = find_rows(path, None)
        size = path.stat().st_size
        if len(rows) != length or not length:
            problem = f"{file} has {len(rows)} rows, meta/episodes.jsonl says {length}"
        else:
            table = read_rows(rows, ["timestamp"])
            if "timestamp" in table.column_names:
                own_clock = clock_differs(to_array(table, "timestamp", _TIME, str(index)), info.fps)
    except (SourceError, EpisodeError) as error:
        problem = f"{file} {error.reason}"
    videos, missing, surplus = {}, {}, {}
    for camera, feature in info.cameras.items():
        if feature.dtype == "video":
            video = video_file(info, index, camera)
            try:
                frames = frames_of(found := safe_join(info.root, video))
                videos[camera] = found.stat().st_size
            except SourceError as error:
                missing[camera] = f"{video} {error.reason}"
                continue
            if frames is not None and frames < length:
                missing[camera] = f"{video} has {frames} frames, its table {length} rows"
            elif frames is not None and frames > length:
                surplus[camera] = frames - length
    extra = {"file": file, "place": f"episode_{index:06d}", "index": index, "own_clock": own_clock}
    extra |= {"videos": videos, "missing": missing, "surplus": surplus}
    return EpisodeRef(f"episode {index}", length, size + sum(videos.values()), tuple(entry["tasks"]), problem, extra)


def phantom_cameras(info: Info, refs: tuple[EpisodeRef, ...]) -> list[str]:
    """Cameras that info.json declares and nothing else knows: no file, no statistics, no place in modality.json.

    A camera whose files were merely lost is known to one of these, and is not in this list.
    """
    known: set[str] | None = None
    for name in ("modality.json", "stats.json", "episodes_stats.jsonl"):
        place = safe_join(info.root, f"meta/{name}")
        if place.exists():
            known = (known or set()) | _cameras_named_in(place)
    if known is None:
        return []
    return [
        key
        for key, feature in info.cameras.items()
        if feature.dtype == "video"
        and key not in known
        and all(ref.extra["missing"].get(key, "").endswith("is missing") for ref in refs)
    ]


def forget_cameras(ref: EpisodeRef, cameras: list[str]) -> EpisodeRef:
    missing = {key: what for key, what in ref.extra["missing"].items() if key not in cameras}
    return replace(ref, extra={**ref.extra, "missing": missing})


def _cameras_named_in(place: Path) -> set[str]:
    if place.suffix == ".jsonl":  # one line tells the features; the file may be large
        if not place.is_file():
            raise SourceError(place, "is no file")
        with place.open(encoding="utf-8", errors="replace") as file:
            line = "".join(islice(file, 1))
        first = parse_json(line, place, allow_nan=True) if line.strip() else {}
        return set(first.get("stats") or {}) if isinstance(first, dict) else set()
    data = read_json(place, allow_nan=True)
    if not isinstance(data, dict):
        raise SourceError(place, "must be a JSON object")
    video = data.get("video") if place.name == "modality.json" else data
    if not isinstance(video, dict):
        return set()
    return {
        str(entry.get("original_key", f"observation.images.{key}")) if place.name == "modality.json" else key
        for key, entry in video.items()
        if isinstance(entry, dict)
    }


def _fill(info: Info, template: str, index: int, camera: str = "") -> str:
    fields = {"episode_chunk": index // info.chunks_size, "episode_index": index}
    return fill_template(
        info.root / "meta" / "info.json", template, {**fields, "video_key": camera} if camera else fields
    )
