"""Episodes as ALOHA HDF5, which ACT and act-plus-plus read as they are.

Beside ACT's own layout (`aloha_layout`) every file carries one JSON attribute, `dataengine`, and a group of that
name: rate, tasks, names, units and the columns ACT has no place for. ACT never looks there; our reader does, so
that nothing is lost on the way out and back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.aloha_layout import BASE, IMAGES
from dataengine.episode import Clip, Episode
from dataengine.errors import ConfigError, EpisodeError, MissingDependency
from dataengine.guard import safe_name

if TYPE_CHECKING:
    import h5py

OWN = "dataengine"
# Where ACT wants what, by feature.
PLACES = {
    "observation.state": "observations/qpos",
    "observation.velocity": "observations/qvel",
    "observation.effort": "observations/effort",
    "action": "action",
}
FRAME_TASKS = f"{OWN}/frame_tasks"
_STEP = 4096  # a JPEG camera's rows are widened by whole chunks of this many bytes


def write_episodes(episodes: Iterable[Episode], target: Path, *, jpeg_quality: int | None = None) -> list[Path]:
    """Write `episode_0.hdf5`, `episode_1.hdf5`, … into `target`, each whole or not at all, one frame in memory.

    jpeg_quality: 1..100 for act-plus-plus's JPEG rows; None for raw pictures. Raises `ConfigError` when the
    folder already holds episodes, `EpisodeError` for an episode without `observation.state` or `action`.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependency("h5py", extra="convert") from error
    if jpeg_quality is not None and not 1 <= jpeg_quality <= 100:
        raise ConfigError(f"jpeg_quality: {jpeg_quality} is not between 1 and 100")
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    if any(target.glob("episode_*.hdf5")):
        raise ConfigError(f"{target} already holds episodes; write into an empty folder")
    written = []
    for number, episode in enumerate(episodes):
        path = target / f"episode_{number}.hdf5"
        draft = target / f".episode_{number}.hdf5.tmp"
        try:
            with h5py.File(draft, "w", rdcc_nbytes=4 << 20) as file:
                _write(file, episode, jpeg_quality)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        written.append(path)
    return written


def _write(file: h5py.File, episode: Episode, jpeg_quality: int | None) -> None:
    for key in ("observation.state", "action"):
        if key not in episode.frames:
            raise EpisodeError(
                episode.id, "ALOHA files need it; choose it in the mapping or leave the episode out", feature=key
            )
    kept = [k for k, f in episode.features.items() if f.dtype != "string"]
    file.attrs["sim"] = bool(episode.meta.extra.get("sim", True))  # True: ACT takes row t's action for row t
    file.attrs[OWN] = json.dumps(
        {
            "fps": episode.fps,
            "tasks": list(episode.meta.tasks),
            "success": episode.meta.success,
            "embodiment": episode.meta.embodiment,
            "licence": episode.meta.licence,
            "id": episode.id,
            "features": {k: _described(episode, k) for k in kept},
        },
        ensure_ascii=False,
    )
    for key in (k for k in kept if k in episode.frames):
        if key == "action":
            _write_action(file, episode)
        else:
            file[PLACES.get(key, f"{OWN}/{key}")] = episode.frames[key]
    if "observation.velocity" not in episode.frames:  # ACT's loader opens it, and never trains on it
        state = episode.frames["observation.state"]
        speed = np.gradient(state, 1 / episode.fps, axis=0) if episode.length > 1 else np.zeros_like(state)
        file["observations/qvel"] = np.asarray(speed, np.float32)
        file["observations/qvel"].attrs["derived"] = "differences of qpos; the episode holds no velocities"
    if episode.frame_tasks is not None:
        file[FRAME_TASKS] = episode.frame_tasks
    _write_clips(file, episode, jpeg_quality)


def _write_action(file: h5py.File, episode: Episode) -> None:
    """Mobile ALOHA keeps the base apart from the arms."""
    action, names = episode.frames["action"], episode.features["action"].names
    if names is not None and names[-2:] == BASE and len(names) > 2:
        file["action"], file["base_action"] = action[:, :-2], action[:, -2:]
    else:
        file["action"] = action


def _described(episode: Episode, key: str) -> dict[str, Any]:
    feature = asdict(episode.features[key])
    return {k: feature[k] for k in ("dtype", "names", "role", "unit", "info") if feature[k]}


def _write_clips(file: h5py.File, episode: Episode, jpeg_quality: int | None) -> None:
    cameras = {safe_name(key.removeprefix("observation.images.")): clip for key, clip in sorted(episode.clips.items())}
    sizes = []
    for name, clip in cameras.items():
        if jpeg_quality is not None and clip.kind == "rgb":
            sizes.append(_write_jpeg(file, IMAGES + name, clip, jpeg_quality, episode.id))
            continue
        shape = (clip.height, clip.width, 3 if clip.kind == "rgb" else 1)
        dtype = np.uint8 if clip.kind == "rgb" else np.float32
        dataset = file.create_dataset(IMAGES + name, (clip.length, *shape), dtype, chunks=(1, *shape))
        for row, frame in _counted(clip, episode.id, name):
            dataset[row] = frame
    file.require_group(IMAGES.rstrip("/"))
    if sizes:
        file.attrs["compress"] = True
        file["compress_len"] = np.asarray(sizes, np.float32)


def _write_jpeg(file: h5py.File, place: str, clip: Clip, quality: int, episode: str) -> list[int]:
    """Rows of JPEG bytes padded with zeros to the longest. RGB goes into the encoder as it is, ALOHA's custom."""
    import cv2

    dataset = file.create_dataset(
        place, (clip.length, _STEP), np.uint8, maxshape=(clip.length, None), chunks=(1, _STEP)
    )
    sizes = []
    for row, frame in _counted(clip, episode, place):
        done, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise EpisodeError(episode, "the picture cannot be encoded", feature=place, frame=row)
        if len(data) > dataset.shape[1]:
            dataset.resize(-(-len(data) // _STEP) * _STEP, axis=1)
        dataset[row, : len(data)] = data.ravel()
        sizes.append(len(data))
    dataset.resize(max(sizes), axis=1)
    return sizes


def _counted(clip: Clip, episode: str, camera: str) -> Iterator[tuple[int, np.ndarray]]:
    count = 0
    for row, frame in enumerate(clip.frames()):
        count += 1
        yield row, frame
    if count != clip.length:
        raise EpisodeError(episode, f"gave {count} of {clip.length} frames", feature=camera)


def own_facts(described: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of ours says, reduced to what has the right kind; anything else is as if it were not there."""
    facts: dict[str, Any] = {}
    fps = described.get("fps")
    if isinstance(fps, int | float) and not isinstance(fps, bool) and 0 < fps < 1e5:
        facts["fps"] = float(fps)
    tasks = described.get("tasks")
    if isinstance(tasks, list) and all(isinstance(t, str) for t in tasks):
        facts["tasks"] = tuple(tasks)
    for key in ("embodiment", "licence", "id"):
        if isinstance(described.get(key), str):
            facts[key] = described[key]
    if isinstance(described.get("success"), bool):
        facts["success"] = described["success"]
    features = described.get("features")
    if isinstance(features, dict) and all(isinstance(f, dict) for f in features.values()):
        facts["features"] = features
    return facts
