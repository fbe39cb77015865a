"""A LeRobot camera as a clip: a whole mp4 (v2.x), a span of one (v3.0), or pictures in the table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from converters.lerobot_images import TablePictures, first_size
from converters.lerobot_rows import Rows
from converters.mapping import CameraRule, SourceMapping
from converters.raw import Camera
from dataengine.episode import Clip, Feature
from dataengine.errors import ConfigError, EpisodeError, SourceError, VideoError
from dataengine.source import EpisodeRef, Plan
from dataengine.video import DepthCoding, VideoClip, probe_guarded

_TRIES = 3


def find_camera(key: str, feature: Feature, places: Iterable[Path | Rows], notes: list[str]) -> Camera:
    """A camera with the size its first readable file has. Where none can be read, info.json is believed."""
    declared = feature.shape[:2]
    size, kind = declared, feature.role if feature.role == "depth" else "rgb"
    for _, place in zip(range(_TRIES), places, strict=False):
        try:
            if isinstance(place, Rows):
                size = first_size(place, key)
            else:
                video = probe_guarded(place)
                size = (video.height, video.width)
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
    return Camera(key, size[0], size[1], "depth" if kind == "depth" else "rgb")


def video_clip(
    path: Path, camera: CameraRule, feature: Feature, fps: float, ref: EpisodeRef, start: int | None = None
) -> Clip:
    """Frames from `start` of a file (None: the whole file) for the rows of an episode, never decoded here.

    Whether a whole file has a frame for every row is seen when the episode is checked. Raises: `EpisodeError`
    when the file is damaged.
    """
    try:
        depth = DepthCoding.from_info(feature.info) if camera.kind == "depth" else None
        return VideoClip.from_file(
            path, start=start or 0, length=None if start is None else ref.length, fps=fps, depth=depth
        )
    except ConfigError as error:
        raise EpisodeError(ref.name, f"info.json says of its depth coding: {error}", feature=camera.source) from None
    except VideoError as error:
        raise EpisodeError(ref.name, f"{path.name} {error.reason}", feature=camera.source) from None


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
