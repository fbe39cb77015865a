"""EgoDex and what is laid out like it: `<task>/<n>.hdf5` with poses of the hands' joints and of the camera, and
`<n>.mp4` with the picture of every pose (Hoque et al. 2025, "EgoDex", and its README).

`transforms/<joint>` are poses `(T, 4, 4)` in a world that does not move, `transforms/camera` the camera's,
`camera/intrinsic` its matrix; `confidences/<joint>` `(T,)` may be missing. The joints are those of a headset's hand
skeleton: 21 of them are the landmarks that `dataengine.hands` numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

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
KEYS = ("format", "fps", "task", "embodiment", "licence")


class EgoDex:
    """Egocentric videos with poses of hands, one pair of files an episode."""

    name: ClassVar[str] = "egodex"
    version: ClassVar[str] = "1"
    reads: ClassVar[str] = "EgoDex: HDF5 with transforms of hand joints, beside an mp4 of the same name"

    def sniff(self, path: Path) -> bool:
        try:
            return any(_is_egodex(file) for file in _files(path)[:1])
        except (OSError, DataEngineError):
            return False

    def plan(self, path: Path, mapping: Mapping[str, Any] | None = None, *, hashed: bool = True) -> Plan:
        """Raises `SourceError` where nothing can be used, `ConfigError` for the mapping."""
        given = dict(mapping or {})
        if unknown := set(given) - set(KEYS):
            raise ConfigError(f"egodex: there is no {sorted(unknown)[0]!r} in its mapping, only {', '.join(KEYS)}")
        if given.get("format", self.name) != self.name:
            raise ConfigError(f"the mapping was written for {given['format']!r}, this source is {self.name!r}")
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
            mapping={"format": self.name, "fps": fps, **{k: given.get(k) for k in ("task", "embodiment", "licence")}},
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
        with open_hdf5(file) as source:
            columns, intrinsic = _columns(source, file, ref.name)
        if clip.length != ref.length:
            raise EpisodeError(ref.name, f"{video.name} has {clip.length} pictures, {file.name} {ref.length} poses")
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
    with open_hdf5(file) as source:
        return "camera/intrinsic" in source and any(f"transforms/{side}Hand" in source for side in hands.SIDES)


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
    """The description, the second one where the file says so."""
    attributes = source.attrs
    which = "llm_description2" if str(attributes.get("which_llm_description", "1")) == "2" else "llm_description"
    text = attributes.get(which, attributes.get("llm_description", ""))
    return text if isinstance(text, str) else ""


def _columns(source: h5py.File, file: Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Columns of both hands and the camera, and the intrinsics."""
    matrix = np.asarray(_numbers(source, "camera/intrinsic", name), np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or min(matrix[0, 0], matrix[1, 1]) <= 0:
        raise EpisodeError(name, f"{file.name}: camera/intrinsic is no matrix of a camera")
    camera = _poses(source, "camera", name)
    count = len(camera)
    there = {side: f"transforms/{side}Hand" in source for side in hands.SIDES}
    landmarks = {
        side: np.stack([_poses(source, f"{side}{joint}", name, count)[:, :3, 3] for joint in JOINTS], 1)
        for side, present in there.items()
        if present
    }
    seen = {side: seen_from(camera, points) for side, points in landmarks.items()}
    # ARKit's cameras look along -z with y up; the files are said to be turned, and what is before the camera tells.
    if seen and np.median(np.concatenate([points[..., 2].ravel() for points in seen.values()])) < 0:
        camera = camera @ np.diag([1.0, -1.0, -1.0, 1.0])
        seen = {side: seen_from(camera, points) for side, points in landmarks.items()}
    columns: dict[str, np.ndarray] = {}
    for side in hands.SIDES:
        points = seen.get(side)
        sure = np.zeros(count) if points is None else _confidence(source, side, count, name)
        tracked = np.where(sure >= SURE, hands.SEEN, hands.ABSENT)
        columns |= hand_columns(side, np.zeros((count, 21, 3)) if points is None else points, tracked, sure, matrix)
    columns[hands.CAMERA_POSE] = camera_column(camera)
    return columns, {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}


def _numbers(source: h5py.File, key: str, name: str) -> h5py.Dataset:
    """Raises `EpisodeError` for what is not there, or is no array of numbers."""
    import h5py

    found = source.get(key)
    if found is None:
        raise EpisodeError(name, f"has no {key}")
    if not isinstance(found, h5py.Dataset) or found.shape is None or found.dtype.kind not in "biuf":
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
    turn = poses[:, :3, :3]
    if np.abs(turn @ turn.swapaxes(1, 2) - np.eye(3)).max() > 1e-2 or (np.linalg.det(turn) < 0).any():
        raise EpisodeError(name, f"{key} holds what is no rotation")
    return poses


def _confidence(source: h5py.File, side: str, count: int, name: str) -> np.ndarray:
    """`(T,)` the wrist's, 1 where the file has none."""
    key = f"confidences/{side}Hand"
    if key not in source:
        return np.ones(count)
    sure = np.asarray(_numbers(source, key, name), np.float64)
    if sure.shape != (count,) or not np.isfinite(sure).all():
        raise EpisodeError(name, f"{key} has shape {sure.shape} or NaN, not {count} numbers")
    return np.clip(sure, 0, 1)
