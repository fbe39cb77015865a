"""Videos of hands as a source of episodes: one video is one episode, which a stage cuts by what the hands do.

A source for `dataengine run` like any other format: planned without looking at a picture, read by any worker, a video
that crashes its decoder is quarantined and the rest goes on.
"""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from collectors.egocentric.board import Board
from collectors.egocentric.camera import Camera, camera_of
from collectors.egocentric.columns import hand_columns
from collectors.egocentric.faces import assumption, hides, look, prepared
from collectors.egocentric.footage import PHOTOS, Footage, inside, open_footage
from collectors.egocentric.identity import assign
from collectors.egocentric.motion import assumptions, camera_columns, features, over_board
from collectors.egocentric.scale import sizes
from collectors.egocentric.settings import EgoSettings
from collectors.egocentric.sightings import sightings
from collectors.egocentric.stereo import stereo_of, without_others
from dataengine import hands, plugins
from dataengine.episode import Episode, Feature, Meta, Step, episode_id
from dataengine.errors import ConfigError, DataEngineError, EpisodeError, SourceError
from dataengine.plugins import HandTracker
from dataengine.source import Assumption, EpisodeRef, Plan
from dataengine.video import VideoClip, lerobot_info, probe_guarded

VIDEOS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
DATASETS = (".hdf5", ".h5", ".parquet", ".mcap", ".bag", ".db3", ".zarr", ".tfrecord")
MOST = 100_000  # videos in a folder
TASK_BYTES = 4096


class EgoVideos:
    """Videos and folders of pictures that show a person's hands."""

    name: ClassVar[str] = "ego"
    version: ClassVar[str] = "2"
    reads: ClassVar[str] = f"videos of hands ({', '.join(VIDEOS)}), pictures, and folders of them"

    def sniff(self, path: Path) -> bool:
        try:
            return (bool(_videos(path)) or _is_photos(path)) and not hands.has_tracks(path)
        except (OSError, SourceError):
            return False

    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
        """Every video's size, rate and length. Raises `SourceError` where none can be used, `ConfigError` for the
        mapping."""
        settings = _settings(mapping)
        listed = _videos(path) or ([path] if _is_photos(path) else [])
        if settings.stereo:
            listed = without_others(listed, stereo_of(settings.stereo))
        if not listed:
            deeper = path.is_dir() and any(each.is_dir() for each in inside(path))
            hint = "folders inside it are not looked into: give them" if deeper else ""
            raise SourceError(
                path, f"holds no video ({', '.join(VIDEOS)}) and no pictures ({', '.join(PHOTOS)})", hint=hint
            )
        tracker = _tracker(settings)  # said at once where its model is missing, not of every video
        settings = replace(settings, faces=prepared(settings.faces))
        found: dict[Path, Footage | DataEngineError] = {}
        for each in listed:
            try:
                _usable(each, path)
                found[each] = open_footage(each, settings.fps)
            except DataEngineError as error:
                found[each] = error
        good = [footage for footage in found.values() if isinstance(footage, Footage)]
        if not good:
            first = next(error for error in found.values() if isinstance(error, DataEngineError))
            if len(found) == 1:
                raise first
            raise SourceError(path, f"none of its {len(found)} videos can be read; the first: {first}")
        size = Counter((footage.clip.height, footage.clip.width) for footage in good).most_common(1)[0][0]
        fps = settings.fps or Counter(footage.clip.fps for footage in good).most_common(1)[0][0]
        camera = camera_of(settings.intrinsics, size[1], size[0])
        base = path if path.is_dir() and not _is_photos(path) else path.parent
        coding = _coding(good, size, settings)
        picture = Feature("video", (*size, 3), ("height", "width", "channels"), "image", info=coding)
        return Plan(
            path=str(path),
            format=self.name,
            fps=fps,
            features={
                f"observation.images.{settings.camera}": picture,
                **{key: feature for side in hands.SIDES for key, feature in hands.features(side).items()},
                **features(settings.motion),
            },
            episodes=tuple(_ref(each, base, footage, size, fps, settings) for each, footage in found.items()),
            mapping={
                "format": self.name,
                **asdict(settings),
                "sides": list(settings.sides),
                "fps": fps,
                "tracker_version": tracker.version,
            },
            assumptions=_assumed(settings, camera) + _untold([footage.path for footage in good], settings),
            embodiment="human_hands",
            licence=settings.licence,
            notes=tuple(f"{footage.path.name}: {note}" for footage in good for note in footage.notes),
        )

    def read(self, plan: Plan, ref: EpisodeRef) -> Episode:
        """Track the hands of one video. Raises `SourceError`, `EpisodeError`."""
        settings = _settings(plan.mapping)
        path = Path(ref.extra["base"]) / ref.extra["file"]
        footage = open_footage(path, plan.fps)
        if footage.sha256 != ref.extra["sha256"]:
            raise EpisodeError(ref.name, f"{path.name} has changed since it was planned")
        clip = footage.clip
        camera = camera_of(settings.intrinsics, clip.width, clip.height)
        tracker = _tracker(settings)
        seen = sightings(footage, tracker)
        tracks = assign(seen, clip.fps, settings.sides)
        wanted = settings.board if settings.motion == "board" or not settings.sized else None
        over = over_board(footage, Board.said(wanted), camera) if wanted else None
        measured = sizes(footage, tracks, camera, settings, tracker, over)
        made = hand_columns(tracks, camera, settings, clip.fps, measured)
        board = {"board": {"said": wanted, "frames": int((over.quality == 1).sum())}} if over is not None else {}
        moved = camera_columns(footage, seen, camera, settings.motion, tracker.version, over)
        params = {"tracker": tracker.version, "cutoff_hz": settings.cutoff, "bridge_s": settings.bridge}
        assumed = tuple(map(str, _assumed(settings, camera)))
        shown = look(footage, settings.faces)  # the hands were tracked in the pictures as they are
        return Episode(
            id=episode_id(footage.sha256, f"ego:{clip.length}{shown.place}"),
            fps=plan.fps,
            features=plan.features,
            frames={**made.columns, **moved.columns},
            clips={f"observation.images.{settings.camera}": shown.clip},
            labels=shown.labels,
            meta=Meta(
                tasks=ref.tasks,
                operator=settings.operator,
                embodiment=plan.embodiment,
                licence=plan.licence,
                source={"format": self.name, "file": path.name, "sha256": footage.sha256},
                lineage=(Step("ego", self.version, params, assumed),),
                extra={
                    "camera": camera.to_json(),
                    "hands": made.about,
                    "other_hands": tracks.others,
                    **board,
                    **moved.about,
                    **shown.about,
                },
            ),
        ).check()


def names_of(paths: Iterable[Path]) -> Counter[str]:
    """How many of the videos in these files and folders have each name."""
    return Counter(video.name for path in paths for video in _videos(path) or [path])


def _settings(mapping: Mapping[str, Any] | None) -> EgoSettings:
    given = dict(mapping or {})
    if given.pop("format", "ego") != "ego":
        raise ConfigError(f"the mapping was written for {(mapping or {})['format']!r}, this source is 'ego'")
    return plugins.build(EgoSettings, given, "a source of hands", "ego")


def _tracker(settings: EgoSettings) -> HandTracker:
    tracker = plugins.make("hand_trackers", settings.tracker, settings.tracker_params)
    if settings.tracker_version not in (None, tracker.version):
        raise ConfigError(f"the mapping wants the tracker {settings.tracker_version!r}; here it is {tracker.version!r}")
    return tracker


def _videos(path: Path) -> list[Path]:
    """The file itself, or the videos right inside a folder that is no dataset."""
    if path.is_file():
        return [path] if path.suffix.lower() in VIDEOS else []
    if not path.is_dir() or (path / "meta").exists():
        return []
    there = inside(path)
    if any(each.suffix.lower() in DATASETS for each in there):
        return []
    found = [each for each in there if each.is_file() and each.suffix.lower() in VIDEOS]
    if len(found) > MOST:
        raise SourceError(path, f"holds {len(found)} videos; {MOST} are the most")
    return sorted(
        found, key=lambda each: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", each.name.lower())]
    )


def _usable(video: Path, given: Path) -> None:
    """Raise `SourceError` where a video of a folder, or the text beside it, is a link to somewhere else, or its name or
    that text is none."""
    if _said(video) != video.name:
        raise SourceError(_said(video), "its name is no text in UTF-8", hint="rename it")
    for each in (video, video.with_suffix(".txt")) if video != given else ():
        if each.is_file() and not each.resolve().is_relative_to(given.resolve()):
            raise SourceError(each, "leads out of its folder")
    _task(video)


def _said(video: Path) -> str:
    """A file's name as it can be written down."""
    return os.fsencode(video.name).decode("utf-8", "replace")


def _is_photos(path: Path) -> bool:
    if path.is_file():
        return path.suffix.lower() in PHOTOS
    if not path.is_dir() or (path / "meta").exists() or _videos(path):
        return False
    there = inside(path)
    return any(e.suffix.lower() in PHOTOS for e in there) and not any(e.suffix.lower() in DATASETS for e in there)


def _ref(
    path: Path, base: Path, footage: Footage | DataEngineError, size: tuple[int, int], fps: float, settings: EgoSettings
) -> EpisodeRef:
    problem = None
    if isinstance(footage, DataEngineError):
        return EpisodeRef(_said(path), 0, problem=str(footage))
    if (found := (footage.clip.height, footage.clip.width)) != size:
        problem = (
            f"its pictures are {found[1]}×{found[0]}, those of most {size[1]}×{size[0]}: "
            f"make a dataset of its own for each size"
        )
    length = max(1, round(footage.clip.length / footage.clip.fps * fps))
    task = _task(path) or settings.task or ""
    return EpisodeRef(
        path.name,
        length,
        bytes=path.stat().st_size if path.is_file() else 0,
        tasks=(task,),
        problem=problem,
        extra={"file": path.name, "base": str(base), "sha256": footage.sha256},
    )


def _task(path: Path) -> str | None:
    """The first line of `<video>.txt` beside a video, that says something. Raises `SourceError` where it is no text."""
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        return None
    try:
        with beside.open("rb") as file:
            said = file.read(TASK_BYTES)
    except OSError as error:
        raise SourceError(beside, error.strerror or str(error)) from error
    coded = "utf-16" if said[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:  # the last letter may be cut
        lines = codecs.getincrementaldecoder(coded)().decode(said).strip().splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(beside, "is no text in UTF-8", hint="its first line is the task") from error
    line = lines[0] if lines else ""
    if "\0" in line or (len(lines) == 1 and len(said) == TASK_BYTES):
        raise SourceError(beside, f"has no line of text of up to {TASK_BYTES} bytes", hint="its first is the task")
    plain = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in line)
    return " ".join(plain.split()) or None


def _assumed(settings: EgoSettings, camera: Camera) -> tuple[Assumption, ...]:
    found = []
    if not settings.intrinsics:
        why = f"nobody says what lens this is; distances are ±{camera.spread:.0%} for that alone"
        found.append(Assumption("intrinsics", {"fx": round(camera.fx, 1), "fy": round(camera.fy, 1)}, why))
    if settings.depth or settings.stereo or (settings.board and not settings.sized):
        why = "by depth" if settings.depth else "by a second camera" if settings.stereo else "beside the board"
        why += "; an average adult's where a hand is not seen enough"
        found.append(Assumption("hand_size", "measured", why))
    elif settings.hand_size is None:
        why = f"an average adult's, wrist to middle knuckle [m]; distances are ±{hands.SIZE_SPREAD:.0%} for that alone"
        found.append(Assumption("hand_size", hands.SIZE, why))
    return (*found, *assumptions(settings.motion), assumption(settings.faces))


def _untold(listed: list[Path], settings: EgoSettings) -> tuple[Assumption, ...]:
    without = [] if settings.task else [path.name for path in listed if not _task(path)]
    if not without:
        return ()
    why = f"{len(without)} of {len(listed)} videos have no task: write it to {Path(without[0]).stem}.txt beside each"
    return (Assumption("task", "", why),)


def _coding(good: list[Footage], size: tuple[int, int], settings: EgoSettings) -> dict[str, Any]:
    """What LeRobot keeps of a video that is copied as it is; where faces may be hidden in it, nobody knows yet."""
    first = next(footage for footage in good if (footage.clip.height, footage.clip.width) == size)
    copied = isinstance(first.clip, VideoClip) and not hides(settings.faces)
    return lerobot_info(probe_guarded(first.path)) if copied else {}
