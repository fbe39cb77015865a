"""A LeRobot camera as a clip: a whole mp4 (v2.x), a span of one (v3.0), or pictures in the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from converters.lerobot_images import TablePictures, first_size
from converters.lerobot_rows import Rows
from converters.mapping import CameraRule, SourceMapping
from converters.raw import Camera
from dataengine.episode import Clip, Feature
from dataengine.errors import ConfigError, EpisodeError, SourceError, VideoError
from dataengine.guard import run_guarded
from dataengine.source import EpisodeRef, Plan
from dataengine.video import DepthCoding, VideoClip, probe_guarded
from dataengine.video.container import open_video

_TRIES = 3


def find_camera(key: str, feature: Feature, places: Iterable[Path | Rows], notes: list[str]) -> Camera:
    """A camera with the size its first readable file has. Where none can be read, info.json is believed."""
    declared = feature.shape[:2]
    size, kind, turn = declared, feature.role if feature.role == "depth" else "rgb", 0
    for _, place in zip(range(_TRIES), places, strict=False):
        try:
            if isinstance(place, Rows):
                size = first_size(place, key)
            else:
                video = probe_guarded(place)
                size, turn = (video.height, video.width), -video.rotation % 360
                if kind == "depth" and video.kind == "rgb":
                    kind = "rgb"
                    notes.append(
                        f"{key} is declared a depth map, its video ({video.pix_fmt}) holds colour: read as that"
                    )
            break
        except SourceError:
            continue
    if size != declared:
        notes.append(f"{key} is declared as {declared[0]}×{declared[1]}; its pictures are {size[0]}×{size[1]}")
    return Camera(key, size[0], size[1], "depth" if kind == "depth" else "rgb", turn)


def frames_of(path: Path) -> int | None:
    """How many frames the header of a video promises, None where it says nothing. Raises `SourceError`.

    Demuxes nothing: a survey asks for every file.
    """
    if not path.is_file():
        raise SourceError(path, "is missing")
    frames: int | None = run_guarded(_promised, path, seconds=30)
    return frames


def _promised(path: Path) -> int | None:
    container, stream = open_video(path)
    with closing(container):
        return stream.frames or None


def video_clip(
    path: Path, camera: CameraRule, feature: Feature, fps: float, ref: EpisodeRef, start: int | None = None
) -> Clip:
    """Frames from `start` of a file (None: the whole file) for the rows of an episode, never decoded here.

    What a whole file shows after the last row is left out; whether it has a frame for every row is seen when the
    episode is checked. Raises: `EpisodeError` when the file is damaged or runs at another rate than the rows.
    """
    try:
        depth = DepthCoding.from_info(feature.info) if camera.kind == "depth" else None
        length = None if start is None else ref.length
        clip = VideoClip.from_file(path, start=start or 0, length=length, fps=fps, depth=depth)
        if clip.length > ref.length and not on_time(clip.times()[: ref.length], fps):
            raise VideoError(path, f"has {clip.length} frames for {ref.length} rows and shows them at other times")
        return clip.slice(0, ref.length) if clip.length > ref.length else clip
    except ConfigError as error:
        raise EpisodeError(ref.name, f"info.json says of its depth coding: {error}", feature=camera.source) from None
    except VideoError as error:
        raise EpisodeError(ref.name, f"{path.name} {error.reason}", feature=camera.source) from None


def on_time(times: np.ndarray, fps: float) -> bool:
    """Whether frame k of `(T,)` times in [s] is the one nearest to k / fps, which LeRobot's readers would take."""
    return bool((np.abs(times - np.arange(len(times)) / fps) < 0.5 / fps).all())


def left_out(surplus: Mapping[str, int]) -> tuple[str, ...]:
    """What to say of an episode whose videos go on after its last row. surplus: frames by camera."""
    return tuple(
        f"{camera} has {count} frame{'s' if count > 1 else ''} more than rows: left out, as LeRobot's readers do"
        for camera, count in surplus.items()
        if count > 0
    )


def picture_clip(rows: Rows, key: str, feature: Feature, fps: float, ref: EpisodeRef) -> Clip:
    """Pictures of a table column; their size is that of the episode's first one."""
    try:
        height, width = first_size(rows, key)
    except SourceError as error:
        raise EpisodeError(ref.name, error.reason, feature=key) from None
    return TablePictures(rows, key, fps, height, width, "depth" if feature.role == "depth" else "rgb")


def keep_coding(plan: Plan, cameras: Mapping[str, Feature]) -> Plan:
    """A plan whose depth cameras keep the source's coding, so that their video can be copied as it is."""
    features = dict(plan.features)
    for key, rule in SourceMapping.from_dict(plan.mapping).cameras.items():
        source = cameras[rule.source]
        if rule.kind == "depth" and source.dtype == "video" and source.info:
            features[key] = replace(features[key], info=dict(source.info))
    return replace(plan, features=features)


def copied_videos(plan: Plan, cameras: Mapping[str, Feature]) -> dict[str, int]:
    """Bytes of video that is taken over as it is, by camera. cameras: of the source."""
    rules = SourceMapping.from_dict(plan.mapping).cameras
    good = [ref for ref in plan.episodes if ref.problem is None]
    return {
        key: sum(ref.extra["videos"].get(rule.source, 0) for ref in good)
        for key, rule in rules.items()
        if rule.plain and rule.dtype == "video" and cameras[rule.source].dtype == "video"
    }
