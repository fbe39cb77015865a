"""One episode of tracks: its rows put on the clock of the pictures, its hands into the frame of the camera."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from converters.hand_clock import LOST, Tracks, Way, lay, size_fault, to_world
from converters.hand_columns import camera_column, hand_columns, seen_from
from converters.hand_tables import read_clock
from dataengine import hands
from dataengine.errors import EpisodeError
from dataengine.video import VideoClip


class Clock(NamedTuple):
    """How the tracker's time is that of the pictures. file: a time for each picture. start_ns: of the first. own: the
    video's own clock is right. carried: the camera's way stands with the tracks, row by row."""

    file: Path | None
    start_ns: int | None
    own: bool
    carried: bool


class Limits(Protocol):
    @property
    def bridge(self) -> float: ...
    @property
    def confidence(self) -> float: ...


def on_pictures(
    clip: VideoClip, tracks: Tracks, way: Way | None, clock: Clock, name: str
) -> tuple[np.ndarray, Tracks, Way | None]:
    """The pictures' times `(T,)` [ns] on the tracker's clock, and tracks and way on that clock. Raises `EpisodeError`,
    `SourceError`."""
    even = np.arange(clip.length) / clip.fps
    shown = clip.times() if clock.own else even
    shown = shown - shown[0]
    if (late := np.abs(shown - even)).max() > 0.5 / clip.fps:
        why = "its pictures come at uneven times: make a video of it that has an even clock"
        raise EpisodeError(name, why, frame=int(late.argmax()))
    since = np.round(shown * 1e9).astype(np.int64)
    if not tracks.by_picture:
        start = tracks.times[0] if clock.start_ns is None else clock.start_ns
        return (since + start if clock.file is None else _told(clock.file, clip, name)), tracks, way
    if tracks.every and len(tracks.times) != clip.length:
        raise EpisodeError(name, f"its tracks have {len(tracks.times)} rows, the video {clip.length} pictures")
    if len(tracks.times) and not 0 <= tracks.times[0] <= tracks.times[-1] < clip.length:
        wrong = tracks.times[0] if tracks.times[0] < 0 else tracks.times[-1]
        raise EpisodeError(name, f"its tracks speak of picture {wrong}; the video has {clip.length}, from 0 on")
    if way is None or clock.carried:
        way = None if way is None else replace(way, times=since[way.times])
        return since, replace(tracks, times=since[tracks.times]), way
    if clock.file is None and clock.start_ns is None:
        raise EpisodeError(name, "its trajectory has a clock and its tracks have none: write frame_times.csv")
    times = since + (clock.start_ns or 0) if clock.file is None else _told(clock.file, clip, name)
    return times, replace(tracks, times=times[tracks.times]), way


def columns_of(
    tracks: Tracks,
    way: Way | None,
    times: np.ndarray,
    on_device: np.ndarray,
    matrix: np.ndarray,
    fps: float,
    limits: Limits,
    name: str,
) -> dict[str, np.ndarray]:
    """Both hands at the pictures, and the camera's pose where there is a way. on_device: `(4, 4)` of the camera.
    matrix: `(3, 3)` of its pinhole. Raises `EpisodeError` for what is no hand, and for times and places that no
    picture shows."""
    given = tracks
    for side in hands.SIDES:
        if why := size_fault(tracks.landmarks[side][tracks.confidence[side] >= limits.confidence]):
            raise EpisodeError(name, f"the {side} hand is none: {why}")
    camera = on_device[None]
    columns: dict[str, np.ndarray] = {}
    if way is not None:
        camera = _cameras(way, on_device, times, name)
        tracks = to_world(tracks, way, on_device)
        columns[hands.CAMERA_POSE] = camera_column(camera)
    seen = False
    for side in hands.SIDES:
        laid = lay(tracks, side, times, fps, limits.bridge, limits.confidence)
        points = laid.points if tracks.space == "camera" else seen_from(camera, laid.points)
        columns |= hand_columns(side, points, laid.tracked, laid.confidence, matrix, laid.wait)
        seen |= bool((columns[hands.column(side, "tracked")] != hands.ABSENT).any())
    if not seen and any(
        np.isfinite(given.landmarks[side][given.confidence[side] >= limits.confidence]).any() for side in hands.SIDES
    ):
        raise EpisodeError(name, _apart(given, times))
    return columns


def _told(file: Path, clip: VideoClip, name: str) -> np.ndarray:
    times = read_clock(file)
    if len(times) != clip.length:
        raise EpisodeError(name, f"{file.name} has {len(times)} rows, the video {clip.length} pictures")
    return times


def _cameras(way: Way, on_device: np.ndarray, times: np.ndarray, name: str) -> np.ndarray:
    frame, near = way.at(times)
    if not near.all():
        first, last = (way.times[[0, -1]] - times[0]) * 1e-9
        why = (
            f"the trajectory has no pose within {LOST} s of this picture: it goes from {first:.3f} to {last:.3f} s "
            f"after the first one; cut the video to what it covers, and see that frame_times.csv is on its clock"
        )
        raise EpisodeError(name, why, frame=int(np.argmin(near)))
    return frame if way.of == "camera" else frame @ on_device


def _apart(tracks: Tracks, times: np.ndarray) -> str:
    rows = (tracks.times[[0, -1]] - times[0]) * 1e-9
    return (
        f"no picture shows what its tracks say: the rows go from {rows[0]:.3f} to {rows[1]:.3f} s after the first "
        f"picture, the pictures to {(times[-1] - times[0]) * 1e-9:.3f} s; see to start_ns, frame_times.csv and the "
        f"camera's T_device_camera"
    )
