"""EgoDex and what is laid out like it: `<task>/<n>.hdf5` with poses of the hands' joints and of the camera, and
`<n>.mp4` with the picture of every pose (Hoque et al. 2025, "EgoDex", and its README).

`transforms/<joint>` are poses `(T, 4, 4)` in a world that does not move, `transforms/camera` the camera's,
`camera/intrinsic` its matrix; `confidences/<joint>` `(T,)` may be missing. The joints are those of a headset's hand
skeleton: 21 of them are the landmarks that `dataengine.hands` numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from converters.hand_camera import pinhole_of
from converters.hand_clock import size_fault
from converters.hand_columns import (
    CAMERA,
    MOST_FRAMES,
    SIGMA,
    SURE,
    TURN,
    UNSAID,
    camera_column,
    features,
    hand_columns,
    seen_from,
    sha256,
)
from converters.hand_sequences import unwalkable
from dataengine import hands
from dataengine.episode import Episode, Meta, Step, episode_id
from dataengine.errors import ConfigError, DataEngineError, EpisodeError, SourceError
from dataengine.guard import open_hdf5, regular_files
from dataengine.source import Assumption, EpisodeRef, Plan
from dataengine.video import VideoClip, probe_guarded

if TYPE_CHECKING:
    import h5py

SUFFIX = ".hdf5"
FPS = 30.0
DEEPEST = 4  # folders below the one that is given
_FINGERS = {finger: f"{finger.capitalize()}Finger" for finger in hands.FINGERS[1:]}
# A headset's skeleton has a metacarpal more in each finger, and none in the thumb.
JOINTS = (
    "Hand",
    *(f"Thumb{joint}" for joint in ("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")),
    *(f"{f}{joint}" for f in _FINGERS.values() for joint in ("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")),
)
KEYS = ("format", "fps", "task", "embodiment", "licence", "width", "height")
LOOKED = 20  # files that are tried before a folder is none of these


class EgoDex:
    """Egocentric videos with poses of hands, one pair of files an episode."""

    name: ClassVar[str] = "egodex"
    version: ClassVar[str] = "1"
    reads: ClassVar[str] = "EgoDex: HDF5 with transforms of hand joints, beside an mp4 of the same name"

    def sniff(self, path: Path) -> bool:
        try:
            return any(_is_egodex(file) for file in _files(path)[:LOOKED])
        except (OSError, DataEngineError):
            return False

    def refusal(self, path: Path) -> SourceError | None:
        """Why a folder with HDF5 files cannot be looked through."""
        return unwalkable(path, lambda name: name.endswith(SUFFIX))

    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
        """Raises `SourceError` where nothing can be used, `ConfigError` for the mapping."""
        given = dict(mapping or {})
        if unknown := set(given) - set(KEYS):
            raise ConfigError(f"egodex: there is no {sorted(unknown)[0]!r} in its mapping, only {', '.join(KEYS)}")
        if given.get("format", self.name) != self.name:
            raise ConfigError(f"the mapping was written for {given['format']!r}, this source is {self.name!r}")
        measured = {side: given.get(side) for side in ("width", "height")}
        if any(n is not None and not (isinstance(n, int) and 0 < n < 1 << 16) for n in measured.values()):
            raise ConfigError("egodex: width and height, of the pictures that camera/intrinsic is of, are whole pixels")
        files = _files(path)
        base = path if path.is_dir() else path.parent
        refs = [_ref(file, base, given.get("task"), hashed) for file in files]
        good = [ref for ref in refs if ref.problem is None]
        if not good:
            raise SourceError(path, f"holds no episode that can be used: {refs[0].problem if refs else 'no HDF5 file'}")
        info = probe_guarded(base / good[0].extra["video"])
        size = (info.height, info.width)
        fps = float(given.get("fps") or info.fps or FPS)
        refs = [_sized(ref, base, size) for ref in refs]
        return Plan(
            path=str(path),
            format=self.name,
            fps=fps,
            features=features(info),
            episodes=tuple(refs),
            mapping={"format": self.name, "fps": fps, **{k: given.get(k) for k in KEYS[2:]}},
            assumptions=(Assumption("sigma", [SIGMA, TURN], UNSAID),),
            embodiment=given.get("embodiment") or "human_hands",
            licence=given.get("licence"),
        )

    def read(self, plan: Plan, ref: EpisodeRef) -> Episode:
        """Raises `SourceError`, `EpisodeError`."""
        file, video = (Path(ref.extra["base"]) / ref.extra[what] for what in ("file", "video"))
        if sha256(file) != ref.extra["sha256"]:
            raise EpisodeError(ref.name, f"{file.name} has changed since it was planned")
        clip = VideoClip.from_file(video, fps=plan.fps)
        if clip.length != ref.length:
            raise EpisodeError(ref.name, f"{video.name} has {clip.length} pictures, {file.name} {ref.length} poses")
        with open_hdf5(file) as source:
            matrix = _matrix(source, file, ref.name, clip, plan.mapping)
            columns = _columns(source, matrix, ref.name)
        intrinsic = {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}
        return Episode(
            id=episode_id(ref.extra["sha256"], "egodex"),
            fps=plan.fps,
            features=plan.features,
            frames=columns,
            clips={CAMERA: clip},
            meta=Meta(
                tasks=ref.tasks,
                embodiment=plan.embodiment,
                licence=plan.licence,
                source={"format": self.name, "file": ref.name, "sha256": ref.extra["sha256"]},
                lineage=(Step(self.name, self.version, {}, tuple(map(str, plan.assumptions))),),
                extra={"camera": intrinsic | {"width": clip.width, "height": clip.height}},
            ),
        ).check()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == SUFFIX else []
    found = [file for name, file in regular_files(path) if file.suffix == SUFFIX and name.count("/") < DEEPEST]
    return sorted(
        found, key=lambda file: [(not p.isdigit(), int(p) if p.isdigit() else 0, p) for p in _parts(file, path)]
    )


def _parts(file: Path, base: Path) -> tuple[str, ...]:
    return (*file.relative_to(base).parts[:-1], file.stem)


def _is_egodex(file: Path) -> bool:
    try:
        with open_hdf5(file) as source:
            return "camera/intrinsic" in source and any(f"transforms/{side}Hand" in source for side in hands.SIDES)
    except (OSError, DataEngineError):  # the others may be whole
        return False


def _ref(file: Path, base: Path, task: str | None, hashed: bool) -> EpisodeRef:
    name = file.relative_to(base).as_posix()
    video = file.with_suffix(".mp4")
    try:
        if not video.is_file():
            raise SourceError(video, "is not there: every HDF5 file has its video beside it")
        with open_hdf5(file) as source:
            if "transforms/camera" not in source or "camera/intrinsic" not in source:
                raise SourceError(file, "has no transforms/camera or no camera/intrinsic")
            length = (*_numbers(source, "transforms/camera", name).shape, 0)[0]
            told = task or _told(source)
        if not 0 < length <= MOST_FRAMES:
            raise SourceError(file, f"has {length} poses of its camera")
        probe_guarded(video)
    except DataEngineError as error:
        return EpisodeRef(name, 0, problem=str(error))
    extra = {"file": name, "video": video.relative_to(base).as_posix(), "base": str(base), "place": "egodex"}
    extra["sha256"] = sha256(file) if hashed else ""
    return EpisodeRef(name, length, bytes=video.stat().st_size, tasks=(told,), extra=extra)


def _sized(ref: EpisodeRef, base: Path, size: tuple[int, int]) -> EpisodeRef:
    if ref.problem is not None:
        return ref
    info = probe_guarded(base / ref.extra["video"])
    if (info.height, info.width) == size:
        return ref
    problem = f"its pictures are {info.width}×{info.height}, those of the first {size[1]}×{size[0]}"
    return EpisodeRef(ref.name, ref.length, problem=problem)


def _told(source: h5py.File) -> str:
    """The model's description, the second one where the file says so; the annotator's where there is none."""
    second = _text(source, "which_llm_description") == "2" and _text(source, "llm_type") in ("", "reversible")
    wanted = (*(["llm_description2"] if second else []), "llm_description", "description")
    return next(filter(None, (_text(source, name) for name in wanted)), "")


def _text(source: h5py.File, name: str) -> str:
    """Of an attribute; "" where there is none, it is no text, or it says None."""
    try:
        said = source.attrs.get(name)
    except (OSError, TypeError, ValueError):  # of a type that h5py does not read
        return ""
    if isinstance(said, bytes):
        said = said.decode("utf-8", "replace")
    said = str(said).strip() if isinstance(said, str | int | np.integer) else ""
    return "" if said == "None" else said


def _matrix(source: h5py.File, file: Path, name: str, clip: VideoClip, mapping: Mapping[str, Any]) -> np.ndarray:
    """`(3, 3)` of the camera for the video's pictures."""
    found = _numbers(source, "camera/intrinsic", name)
    if found.shape != (3, 3):
        raise EpisodeError(name, f"{file.name}: camera/intrinsic has shape {found.shape}, not (3, 3)")
    try:
        lens = pinhole_of(np.asarray(found, np.float64))
        return replace(lens, width=mapping.get("width"), height=mapping.get("height")).matrix(clip.width, clip.height)
    except ConfigError as error:
        raise EpisodeError(name, f"{file.name}: {error}") from error


def _columns(source: h5py.File, matrix: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Columns of both hands and the camera. matrix: `(3, 3)` of the camera."""
    camera = _poses(source, "camera", name)
    count = len(camera)
    there = {side: f"transforms/{side}Hand" in source for side in hands.SIDES}
    landmarks = {
        side: np.stack([_poses(source, f"{side}{joint}", name, count)[:, :3, 3].copy() for joint in JOINTS], 1)
        for side, present in there.items()
        if present
    }
    sures = {side: _confidence(source, side, count, name) for side in landmarks}
    for side, points in landmarks.items():
        if why := size_fault(points[sures[side] >= SURE]):
            raise EpisodeError(name, f"the {side} hand is none: {why}")
    seen = {side: seen_from(camera, points) for side, points in landmarks.items()}
    # ARKit's cameras look along -z with y up; the files are said to be turned, and what is before the camera tells.
    # A hand that was not found is anywhere.
    ahead = [points[sures[side] >= SURE][..., 2].ravel() for side, points in seen.items()]
    if sum(map(len, ahead)) and np.median(np.concatenate(ahead)) < 0:
        camera = camera @ np.diag([1.0, -1.0, -1.0, 1.0])
        seen = {side: seen_from(camera, points) for side, points in landmarks.items()}
    columns: dict[str, np.ndarray] = {}
    for side in hands.SIDES:
        points, sure = seen.get(side, np.zeros((count, 21, 3))), sures.get(side, np.zeros(count))
        tracked = np.where(sure >= SURE, hands.SEEN, hands.ABSENT)
        columns |= hand_columns(side, points, tracked, sure, matrix)
    columns[hands.CAMERA_POSE] = camera_column(camera)
    return columns


def _numbers(source: h5py.File, key: str, name: str) -> h5py.Dataset:
    """Raises `EpisodeError` for what is not there, or is no array of numbers."""
    import h5py

    found = source.get(key)
    if found is None:
        raise EpisodeError(name, f"has no {key}")
    try:
        kind = found.dtype.kind if isinstance(found, h5py.Dataset) and found.shape is not None else ""
    except (TypeError, ValueError):  # a type that numpy does not have
        kind = ""
    if not kind or kind not in "biuf":
        raise EpisodeError(name, f"{key} holds no numbers")
    return found


def _poses(source: h5py.File, joint: str, name: str, count: int | None = None) -> np.ndarray:
    key = f"transforms/{joint}"
    shape = _numbers(source, key, name).shape
    if len(shape) != 3 or shape[1:] != (4, 4) or (count is not None and shape[0] != count) or shape[0] > MOST_FRAMES:
        raise EpisodeError(name, f"{key} has shape {shape}, not ({'T' if count is None else count}, 4, 4)")
    poses = np.asarray(source[key], np.float64)
    if not np.isfinite(poses).all():
        raise EpisodeError(name, f"{key} holds NaN or Inf", frame=int(np.argmin(np.isfinite(poses).all((1, 2)))))
    if len(poses) and (far := np.abs(poses).max()) >= 1e6:
        raise EpisodeError(name, f"{key} holds {far:.3g}: places are metres")
    turn = poses[:, :3, :3]
    if np.abs(turn @ turn.swapaxes(1, 2) - np.eye(3)).max() > 1e-2 or (np.linalg.det(turn) < 0).any():
        raise EpisodeError(name, f"{key} holds what is no rotation")
    if np.abs(poses[:, 3] - [0, 0, 0, 1]).max() > 1e-3:
        raise EpisodeError(name, f"{key} holds no poses in a world: their last row is 0 0 0 1")
    return poses


def _confidence(source: h5py.File, side: str, count: int, name: str) -> np.ndarray:
    """`(T,)` the wrist's, 1 where the file has none."""
    key = f"confidences/{side}Hand"
    if key not in source:
        return np.ones(count)
    found = _numbers(source, key, name)
    if found.shape != (count,) or not np.isfinite(sure := np.asarray(found, np.float64)).all():
        raise EpisodeError(name, f"{key} has shape {found.shape} or NaN, not {count} numbers")
    return np.clip(sure, 0, 1)
