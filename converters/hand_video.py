"""What converters of tracked hands share: a video is copied, and the tracks beside it are laid on its pictures in the
frame of its camera. A format says which files are its own and what they hold.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from converters import hand_columns as made
from converters.hand_camera import WANTED, Lens, lens_of, read_lens
from converters.hand_clock import Space, Tracks, Way
from converters.hand_laid import Clock, columns_of, on_pictures
from converters.hand_sequences import VRS_CLOCK, Sequence, sequences, unwalkable
from converters.hand_tables import read_way
from dataengine import hands, plugins
from dataengine.episode import Episode, Meta, Step, episode_id
from dataengine.errors import ConfigError, DataEngineError, EpisodeError, RateUnknown, SourceError, UnsafeSource
from dataengine.guard import safe_join
from dataengine.source import Assumption, EpisodeRef, Plan
from dataengine.video import VideoClip, probe_guarded

PARTS = ("file", "video", "camera", "way", "clock")  # what an episode is made of
UNTOLD = "nobody says when the pictures were taken: the first is taken for the time of the first row"


@dataclass(frozen=True, kw_only=True)
class TrackSettings:
    """fps: of the video, where its file says it wrong. camera: instead of `camera.yaml`. space: the frame the tracks
    are in, where their file does not say it. start_ns: the tracker's clock at the first picture. bridge: gaps between
    two samples that are filled, at most [s]. confidence: below it a sample is no hand."""

    fps: float | None = None
    task: str | None = None
    embodiment: str | None = None
    licence: str | None = None
    camera: Mapping[str, Any] | None = None
    space: Space | None = None
    start_ns: int | None = None
    bridge: float = 0.25
    confidence: float = made.SURE

    def __post_init__(self) -> None:
        if self.fps is not None and not 1 <= self.fps <= 240:
            raise ConfigError(f"fps is 1 to 240, not {self.fps:g}")
        if not 0 <= self.bridge <= 5 or not 0 <= self.confidence <= 1:
            raise ConfigError(f"bridge={self.bridge} s is 0 to 5, confidence={self.confidence} 0 to 1")
        if self.start_ns is not None and abs(self.start_ns) >= 1 << 62:
            raise ConfigError(f"start_ns={self.start_ns} is beyond any clock")
        if self.camera is not None:
            lens_of(self.camera)


class Said(NamedTuple):
    """What a file of tracks says without being read through. lens, moving: it holds the lens, the camera's way."""

    space: Space
    lens: bool = False
    moving: bool = False
    by_picture: bool = False
    assumptions: tuple[Assumption, ...] = ()


class Loaded(NamedTuple):
    tracks: Tracks
    lens: Lens | None = None
    way: Way | None = None


class HandVideos(ABC):
    """Base of formats that hold tracks of hands beside a video. Has no state."""

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    reads: ClassVar[str]
    settings: ClassVar[type[TrackSettings]] = TrackSettings

    @abstractmethod
    def ours(self, name: str) -> bool:
        """Whether a file is one of this format's, by its name."""

    @abstractmethod
    def look(self, file: Path, settings: Any) -> Said:
        """What a file says in its header. Raises `SourceError` where it cannot be used."""

    @abstractmethod
    def load(self, file: Path, settings: Any) -> Loaded:
        """The tracks. Raises `SourceError`."""

    def sniff(self, path: Path) -> bool:
        try:
            return any(each.video for each in self._found(path))
        except (OSError, DataEngineError):
            return False

    def refusal(self, path: Path) -> SourceError | None:
        """Why a folder that has such tracks cannot be looked through."""
        return unwalkable(path, self.ours)

    def copied(self, plan: Plan) -> Mapping[str, int]:
        return {made.CAMERA: sum(ref.bytes for ref in plan.episodes if ref.problem is None)}

    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
        """Raises `SourceError` where nothing can be used, `ConfigError` for the mapping."""
        settings = self._settings(mapping)
        found = self._found(path)
        if not found:
            raise SourceError(path, f"holds no tracks that {self.name} reads")
        looked = [self._ref(each, settings, hashed) for each in found]
        good = [ref for ref, _ in looked if ref.problem is None]
        if not good:
            raise SourceError(path, f"holds no episode that can be used: {looked[0][0].problem}")
        info = probe_guarded(Path(good[0].extra["base"]) / good[0].extra["video"])
        fps = float(settings.fps or info.fps)
        if not fps > 0:
            raise RateUnknown(f"{good[0].extra['video']}: does not say how many pictures make a second; give fps")
        own = abs(float(info.fps) - fps) <= 1e-3 * fps  # else somebody says that the files are wrong
        refs = tuple(_alike(ref, (info.height, info.width), fps, own) for ref, _ in looked)
        good = [ref for ref in refs if ref.problem is None]
        moving = all(ref.extra["moving"] for ref in good)
        lacking = [ref.name for ref in good if not ref.extra["moving"]]
        notes = [f"{ref.name}: where its camera is, is left out: {lacking[0]} does not say it" for ref in good
                 if ref.extra["moving"] and lacking]  # fmt: skip
        assumptions = dict.fromkeys(a for ref, said in looked if ref.problem is None and said for a in said.assumptions)
        untold = [ref for ref in good if ref.extra["untold"]]
        return Plan(
            path=str(path),
            format=self.name,
            fps=fps,
            features=made.features(info, moving=moving),
            episodes=refs,
            mapping={"format": self.name, **asdict(settings), "fps": fps},
            assumptions=(
                Assumption("sigma", [made.SIGMA, made.TURN], made.UNSAID),
                *assumptions,
                *([Assumption("start_ns", None, f"{UNTOLD} (or write frame_times.csv)")] if untold else []),
            ),
            embodiment=settings.embodiment or "human_hands",
            licence=settings.licence,
            notes=tuple(notes),
        )

    def read(self, plan: Plan, ref: EpisodeRef) -> Episode:
        """Raises `EpisodeError`, `UnsafeSource`."""
        if ref.problem is not None:
            raise EpisodeError(ref.name, ref.problem)
        try:
            return self._read(plan, ref, self._settings(plan.mapping))
        except UnsafeSource:
            raise
        except SourceError as error:
            raise EpisodeError(ref.name, _told(error)) from error
        except ConfigError as error:
            raise EpisodeError(ref.name, str(error)) from error

    def _read(self, plan: Plan, ref: EpisodeRef, settings: TrackSettings) -> Episode:
        base = Path(ref.extra["base"])
        files = {what: safe_join(base, ref.extra[what]) for what in PARTS if ref.extra[what]}
        if _joint_hash(files) != ref.extra["sha256"]:
            raise EpisodeError(ref.name, "its files have changed since they were planned")
        clip = VideoClip.from_file(files["video"], fps=plan.fps)
        tracks, lens, way = self.load(files["file"], settings)
        lens = _lens(settings, files.get("camera"), lens)
        carried, remarks = way is not None, tracks.remarks
        if way is None and ref.extra["moving"] and "way" in files:
            way, more = read_way(files["way"])
            remarks += more
        clock = Clock(files.get("clock"), settings.start_ns, ref.extra["own_clock"], carried)
        times, tracks, way = on_pictures(clip, tracks, way, clock, ref.name)
        on_device = np.eye(4) if lens.on_device is None else lens.on_device
        matrix = lens.matrix(clip.width, clip.height)
        columns = columns_of(tracks, way, times, on_device, matrix, plan.fps, settings, ref.name)
        if hands.CAMERA_POSE not in plan.features:
            columns.pop(hands.CAMERA_POSE, None)
        params = {"bridge_s": settings.bridge, "confidence": settings.confidence, "space": tracks.space}
        return Episode(
            id=episode_id(ref.extra["sha256"], self.name),
            fps=plan.fps,
            features=plan.features,
            frames=columns,
            clips={made.CAMERA: clip},
            meta=Meta(
                tasks=ref.tasks,
                embodiment=plan.embodiment,
                licence=plan.licence,
                source={"format": self.name, "file": ref.name, "sha256": ref.extra["sha256"]},
                lineage=(Step(self.name, self.version, params, (*map(str, plan.assumptions), *remarks)),),
                extra={"camera": _pinhole(matrix) | {"width": clip.width, "height": clip.height}},
            ),
        ).check()

    def _settings(self, mapping: Mapping[str, Any] | None) -> Any:
        given = dict(mapping or {})
        if given.pop("format", self.name) != self.name:
            raise ConfigError(
                f"the mapping was written for {(mapping or {})['format']!r}, this source is {self.name!r}"
            )
        return plugins.build(self.settings, given, f"a source of {self.name}", self.name)

    def _found(self, path: Path) -> list[Sequence]:
        if path.is_file() and not self.ours(path.name):
            return []
        return sequences(path, self.ours)

    def _ref(self, each: Sequence, settings: Any, hashed: bool) -> tuple[EpisodeRef, Said | None]:
        try:
            if each.problem is not None:
                raise SourceError(each.file, each.problem)
            info = probe_guarded(each.base / each.video)
            said = self.look(each.base / each.file, settings)
            if not 0 < info.frames <= made.MOST_FRAMES:
                raise SourceError(each.video, f"has {info.frames} pictures")
            lens = None if said.lens and not each.camera else _lens(settings, _below(each, each.camera), None)
            placed = lens is not None and lens.on_device is not None
            moving = said.moving or (bool(each.way) and placed)
            if lens is not None and (why := _turned(lens, said.space, each)) is not None:
                raise SourceError(each.camera or each.file, why)
            if said.space == "device" and not placed:
                raise SourceError(each.camera or each.file, "says no T_device_camera, and its tracks are the device's")
            if said.space == "world" and not moving:
                lacking = f"{each.way} needs T_device_camera in camera.yaml" if each.way else "there is no trajectory"
                raise SourceError(each.file, f"its tracks are a world's: {lacking}, so the camera's place is unknown")
            files = {what: each.base / getattr(each, what) for what in PARTS if getattr(each, what)}
            told = settings.task if settings.task is not None else each.task
        except DataEngineError as error:
            return EpisodeRef(each.file, 0, problem=_told(error), extra={"file": each.file}), None
        extra: dict[str, Any] = {what: getattr(each, what) for what in PARTS} | {"base": str(each.base)}
        extra |= {"place": self.name, "moving": moving, "sha256": _joint_hash(files) if hashed else ""}
        extra["untold"] = not (said.by_picture or each.clock or settings.start_ns is not None)
        size = (each.base / each.video).stat().st_size
        return EpisodeRef(each.file, info.frames, bytes=size, tasks=(told,), extra=extra), said


def _turned(lens: Lens, space: Space, each: Sequence) -> str | None:
    """Why it has to be said how the pictures were turned, or how they were turned cannot be taken."""
    if lens.turned and space == "camera":
        return f"turned: {lens.turned} is not for tracks in the camera's frame: give the numbers of the turned pictures"
    if space == "camera" or lens.turned is not None or not each.clock.endswith(VRS_CLOCK):
        return None
    return (
        f"{each.clock} says that vrs_to_mp4 made the video, which turns pictures by 90° clockwise: add `turned: 90` "
        f"where fx … T_device_camera are of the calibration, `turned: 0` where they are of the turned pictures"
    )


def _told(error: DataEngineError) -> str:
    """What is wrong, without the folders above the file."""
    if not isinstance(error, SourceError):
        return str(error)
    return f"{Path(error.path).name}: {error.reason}" + (f" – {error.hint}" if error.hint else "")


def _alike(ref: EpisodeRef, size: tuple[int, int], fps: float, own: bool) -> EpisodeRef:
    if ref.problem is not None:
        return ref
    info = probe_guarded(Path(ref.extra["base"]) / ref.extra["video"])
    problem = None
    if (info.height, info.width) != size:
        problem = f"its pictures are {info.width}×{info.height}, those of the first {size[1]}×{size[0]}"
    elif own and abs(float(info.fps) - fps) > 1e-3 * fps:
        problem = f"its pictures come at {float(info.fps):g} Hz, those of the first at {fps:g}"
    if problem is not None:
        return EpisodeRef(ref.name, ref.length, problem=problem, extra=ref.extra)
    return replace(ref, extra={**ref.extra, "own_clock": own})


def _lens(settings: TrackSettings, file: Path | None, carried: Lens | None) -> Lens:
    if settings.camera is not None:
        return lens_of(settings.camera)
    if file is not None:
        return read_lens(file)
    if carried is None:
        raise ConfigError(f"there is no camera.yaml beside the video: write one that says {WANTED}")
    return carried


def _below(each: Sequence, name: str) -> Path | None:
    return safe_join(each.base, name) if name else None


def _pinhole(matrix: np.ndarray) -> dict[str, float]:
    return {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}


def _joint_hash(files: Mapping[str, Path]) -> str:
    parts = [f"{what} {made.sha256(files[what])}" for what in PARTS if what in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
