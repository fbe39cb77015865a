"""One episode made ready to be committed: checked, its video written, its statistics taken.

Sealing is a pure function of the episode and runs on any worker; only the writer, which holds the store's
lock, knows the episode's place and commits it in milliseconds. A shard's files are named by their content,
never change, and are complete when `manifest.json` is there. Nothing is synced to the disk here: what a crash of
the machine leaves of a shard is seen by its hashes when it is committed, and sealed again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataengine.episode import Clip, Episode, Feature, meta_to_json
from dataengine.errors import EpisodeError, StoreError
from dataengine.guard import read_json, safe_join, sha256_file
from dataengine.store import files, labels, stats
from dataengine.store.packets import packet_digest
from dataengine.store.picture_stats import PictureStats, sample_clip
from dataengine.store.pictures import encode_png
from dataengine.store.schema import IMAGE_TYPE, arrow_type, differences, is_depth, to_arrow
from dataengine.video import DEFAULT, DEPTH, Codec, DepthCoding, Encoder, VideoClip, VideoInfo, lerobot_info, remux

MANIFEST = "manifest.json"
TASK = "task"
FORMAT = 2
_PROCESS = uuid.uuid4().hex


class Held(NamedTuple):
    """The table, statistics of the cameras, and of columns where they are counted already."""

    table: pa.Table
    sketches: dict[str, stats.Sketch]
    counted: Mapping[str, stats.Counted]


@dataclass(frozen=True)
class Shard:
    """A sealed episode in its own folder.

    manifest: id, length, fps, tasks, meta; file and sha256 of the table; per camera file, sha256, packets
    hash and LeRobot's `info`; file of the cameras' statistics; file of every label. process: which sealed it; that one
    need not look at its hashes. held: what is in memory, where whoever sealed it commits it at once; that, and the
    manifest, has no file then.
    """

    folder: Path
    manifest: Mapping[str, Any]
    process: str = ""
    held: Held | None = field(default=None, repr=False, compare=False)

    @property
    def episode_id(self) -> str:
        return str(self.manifest["episode_id"])

    @property
    def length(self) -> int:
        return int(self.manifest["length"])

    def file(self, name: str) -> Path:
        return safe_join(self.folder, name)

    def table(self) -> pa.Table:
        return self.held.table if self.held is not None else files.read_arrow(self.file(self.manifest["data"]["file"]))

    def sketches(self) -> dict[str, stats.Sketch]:
        """Statistics of its cameras."""
        if self.held is not None:
            return self.held.sketches
        return stats.from_table(files.read_arrow(self.file(self.manifest["sketch"]["file"])))

    def counted(self) -> Mapping[str, stats.Counted]:
        """Statistics of columns, as far as they are there already."""
        return self.held.counted if self.held is not None else {}

    def check(self, fps: float, features: Mapping[str, Feature]) -> None:
        """Raise `EpisodeError` unless it fits a store, `StoreError` unless its files are what was sealed."""
        given = float(self.manifest["fps"])
        if abs(given - fps) > 1e-6 * fps:
            raise EpisodeError(
                self.episode_id, f"it has {given:g} frames a second, the store {fps:g}; resample it first"
            )
        entries = () if self.process == _PROCESS else self._entries()
        for entry in entries:
            if sha256_file(self.file(entry["file"])) != entry["sha256"]:
                raise StoreError(
                    f"{self.folder / entry['file']} is not what was sealed; remove the shard, seal it again"
                )
        table = self.table().schema
        want = {key: arrow_type(feature) for key, feature in features.items() if feature.dtype != "video"}
        have = {name: table.field(name).type for name in table.names if name != TASK}
        wrong = {key for key in want.keys() | have.keys() if want.get(key) != have.get(key)}
        for key in {key for key in features if key not in want} | set(self.manifest["videos"]):
            video = self.manifest["videos"].get(key)
            if video is None or key not in features or not _same_camera(video["info"], features[key]):
                wrong.add(key)
        if wrong:
            raise EpisodeError(self.episode_id, f"it was sealed for a store with other {', '.join(sorted(wrong))}")

    def _entries(self) -> list[Mapping[str, str]]:
        alone = [self.manifest["data"], self.manifest["sketch"]]
        return [*alone, *self.manifest["videos"].values(), *self.manifest["labels"].values()]

    @classmethod
    def load(cls, folder: Path) -> Shard:
        """Raises `StoreError` unless the folder holds a complete shard."""
        if not (folder / MANIFEST).exists():
            raise StoreError(f"{folder} holds no finished shard ({MANIFEST} is missing)")
        manifest = read_json(folder / MANIFEST)
        if manifest.get("format") != FORMAT:
            reason = f"format {manifest.get('format')!r}, this engine reads {FORMAT}; remove it and it is sealed again"
            raise StoreError(f"{folder / MANIFEST}: {reason}")
        return cls(folder, manifest)


@dataclass(frozen=True)
class Written:
    """A camera that is encoded already, with the store's codec: its whole file, which goes into the shard, and the
    sha256 of that."""

    clip: VideoClip
    info: VideoInfo
    sketch: stats.Sketch
    sha256: str

    @classmethod
    def of(cls, clip: VideoClip, info: VideoInfo, sketch: stats.Sketch) -> Written:
        """Hashes the file."""
        return cls(clip, info, sketch, sha256_file(clip.path))


def seal(
    episode: Episode,
    folder: Path,
    *,
    features: Mapping[str, Feature],
    codec: Codec = DEFAULT,
    threads: int = 1,
    written: Mapping[str, Written | Callable[[], Written]] | None = None,
    hold: bool = False,
    counted: Callable[[], Mapping[str, stats.Counted]] = dict,
) -> Shard:
    """Write `episode` as a shard into `folder`, which appears only when it is whole.

    features: the store's. A camera that is a span of a video file is cut out of it by packets, everything else is
    encoded with `codec`, every frame once and counted, as many cameras at a time as `threads`. written: cameras that
    are encoded already, or what waits for them. hold: keep table, statistics and manifest in memory alone, for a commit
    at once; nobody can `load` the shard. counted: gives statistics of columns to hold with it. Raises `EpisodeError`,
    `VideoError`.
    """
    folder = Path(folder)
    episode = _with_label_columns(episode, features).check()
    if found := differences(features, episode.features):
        raise EpisodeError(episode.id, "its features are not the store's: " + "; ".join(found))
    if not episode.meta.tasks:
        raise EpisodeError(episode.id, "it has no task; give an instruction, or an empty one if there was none")
    if len(set(episode.meta.tasks)) != len(episode.meta.tasks):
        raise EpisodeError(episode.id, f"its tasks are not unique: {list(episode.meta.tasks)}")
    work = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    work.mkdir(parents=True)
    try:
        sketches: dict[str, stats.Sketch] = {}
        videos = {k: clip for k, clip in episode.clips.items() if features[k].dtype == "video"} | dict(written or {})
        with ThreadPoolExecutor(threads) as pool:  # the table is made while cameras are finished
            each = pool.map if threads > 1 else map
            done = each(lambda k: _seal_video(episode, k, videos[k], work, features[k], codec), videos)
            table = _made_table(episode, features, sketches)
            sealed = dict(zip(videos, done, strict=True))
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "episode_id": episode.id,
            "fps": episode.fps,
            "length": episode.length,
            "meta": meta_to_json(episode.meta),
            "videos": {key: entry for key, (entry, _) in sealed.items()},
            "labels": {name: _seal_label(episode, name, work) for name in episode.labels},
        }
        sketches |= {key: sketch for key, (_, sketch) in sealed.items()}
        if not hold:
            manifest["data"] = _arrow(work / "data.arrow", table)
            manifest["sketch"] = _arrow(work / "sketch.arrow", stats.to_table(sketches))
        said = _as_json(episode.id, manifest)
        if not hold:
            files.write_bytes(work / MANIFEST, said, durable=False)
        files.remove(folder)
        work.rename(folder)
    except BaseException:
        files.remove(work)
        raise
    return Shard(folder, json.loads(said), _PROCESS, Held(table, sketches, counted()) if hold else None)


def _as_json(identity: str, manifest: Mapping[str, Any]) -> bytes:
    """Raises `EpisodeError` for facts that JSON cannot hold: numbers that are none, text that is no Unicode."""
    try:
        return json.dumps(manifest, default=str, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise EpisodeError(identity, f"what is said of it cannot be written as JSON: {error}") from error


def _with_label_columns(episode: Episode, features: Mapping[str, Feature]) -> Episode:
    """The episode with the `label.*` columns that the store has and the episode's own labels give."""
    missing = [key for key in features if key.startswith("label.") and key not in episode.features]
    for name, label in episode.labels.items():
        if not any(key == f"label.{name}" or key.startswith(f"label.{name}.") for key in missing):
            continue
        made = labels.columns(episode, episode.length, name, label)
        wanted = {key: pair for key, pair in made.items() if key in missing}
        episode = episode.with_columns({k: p[0] for k, p in wanted.items()}, {k: p[1] for k, p in wanted.items()})
    return episode


def _made_table(episode: Episode, features: Mapping[str, Feature], sketches: dict[str, stats.Sketch]) -> pa.Table:
    """All columns but those of position; `task` points into the episode's own tasks."""
    columns: dict[str, pa.Array] = {}
    for key, feature in features.items():
        if feature.dtype == "video":
            continue
        if feature.dtype == "image":
            columns[key], sketches[key] = _pictures(episode, key, feature)
        else:
            columns[key] = to_arrow(episode.frames[key], feature).cast(arrow_type(feature))
    tasks = np.zeros(episode.length, np.int64) if episode.frame_tasks is None else episode.frame_tasks
    columns[TASK] = pa.array(np.asarray(tasks, np.int64))
    return pa.table(columns)


def _pictures(episode: Episode, key: str, feature: Feature) -> tuple[pa.Array, stats.Sketch]:
    if is_depth(feature):
        raise EpisodeError(episode.id, "depth can be stored as video, not as image", feature=key)
    seen, cells = PictureStats(feature), []
    for number, frame in enumerate(episode.clips[key].frames()):
        seen.update(frame)
        cells.append({"bytes": encode_png(frame), "path": f"frame-{number:06d}.png"})
    if len(cells) != episode.length:
        raise EpisodeError(episode.id, f"gives {len(cells)} pictures, {episode.length} are needed", feature=key)
    return pa.array(cells, IMAGE_TYPE), seen.sketch()


def _seal_video(
    episode: Episode, key: str, clip: Clip | Written | Callable[[], Written], work: Path, feature: Feature, codec: Codec
) -> tuple[dict[str, Any], stats.Sketch]:
    target, depth = work / f"{key}.mp4", DepthCoding.from_info(feature.info)
    settings: Codec | None = codec if depth is None else DEPTH
    clip, digest = clip() if callable(clip) else clip, ""
    if isinstance(clip, Written):
        clip.clip.path.rename(target)
        info, sketch, digest = clip.info, clip.sketch, clip.sha256
    elif isinstance(clip, VideoClip) and _as_it_is(clip, episode.fps, depth):
        info, settings = remux(clip, target), None
        sample = VideoClip(target, 0, clip.length, episode.fps, clip.height, clip.width, clip.kind, depth)
        sketch = sample_clip(sample, feature)
    else:
        seen = PictureStats(feature)
        with Encoder(target, clip.height, clip.width, episode.fps, codec, clip.kind, depth) as encoder:
            for frame in clip.frames():
                seen.update(frame)  # first: an encoder drives the frame out of the cache
                encoder.add(frame)
            info = encoder.close()
        sketch = seen.sketch()
    packets, count = info.digest, info.frames
    if not packets:
        packets, count = packet_digest(target, 0.0, episode.length, episode.fps)
    if not info.frames == count == episode.length:
        raise EpisodeError(episode.id, f"its video has {info.frames} frames, {episode.length} are needed", feature=key)
    return {**_named(target, digest), "packets": packets, "info": lerobot_info(info, settings, depth)}, sketch


def _same_camera(info: Mapping[str, Any], feature: Feature) -> bool:
    """Whether a sealed video has the size of a camera and, for depth, codes that mean the same metres."""
    size = (info["video.height"], info["video.width"])
    return size == feature.shape[:2] and DepthCoding.from_info(info) == DepthCoding.from_info(feature.info)


def _as_it_is(clip: VideoClip, fps: float, depth: DepthCoding | None) -> bool:
    """Whether a clip's packets can be taken over: same clock, and depth codes that mean the same metres."""
    same_depth = (clip.depth is None) == (depth is None) and (
        clip.depth is None or depth is None or replace(clip.depth, unit=depth.unit) == depth
    )
    return same_depth and abs(clip.fps - fps) <= 1e-3 * fps


def _seal_label(episode: Episode, name: str, work: Path) -> dict[str, str]:
    labels.check(episode.id, episode.length, name, episode.labels[name])
    table, groups = labels.pack(name, {episode.id: episode.labels[name]})
    path = work / f"label-{name}.parquet"
    files.write_table(path, table, row_groups=groups or [0], durable=False)
    return _named(path)


def _arrow(path: Path, table: pa.Table) -> dict[str, str]:
    files.write_arrow(path, table)
    return _named(path)


def _named(path: Path, digest: str = "") -> dict[str, str]:
    """Give a finished file its content's name. digest: its sha256, where that is known."""
    digest = digest or sha256_file(path)
    target = path.with_name(f"{path.stem}-{digest[:16]}{path.suffix}")
    path.rename(target)
    target.chmod(files.MODE)
    return {"file": target.name, "sha256": digest}
