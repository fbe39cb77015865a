"""What files of MANO's joints and parameters hold, checked: arrays of npz and HDF5, lines of HOT3D."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from converters.hand_columns import MOST_FRAMES
from converters.hand_tables import LATEST, json_lines, numbers
from dataengine import hands
from dataengine.errors import SourceError
from dataengine.guard import check_allocation, check_zip, load_npz, open_hdf5, reject_objects

HOT3D = "mano_hand_pose_trajectory.jsonl"
MOST_BYTES = 4 << 30
BETAS, ANGLES = 10, 45
SHARED = ("space", "timestamps_ns", "intrinsics", "camera_pose")
OWN = ("joints", "pose", "global_orient", "hand_pose", "hand_pca", "betas", "trans", "confidence")
KNOWN = (*SHARED, *(f"{side}_{what}" for side in hands.SIDES for what in OWN))


class Parameters(NamedTuple):
    """One hand's. root `(N, 3)` and fingers `(N, n)`: axis-angles, or coefficients where `components`. shape `(N, B)`,
    place `(N, 3)`, confidence `(N,)`."""

    root: np.ndarray
    fingers: np.ndarray
    shape: np.ndarray
    place: np.ndarray
    confidence: np.ndarray
    components: bool


class Arrays(NamedTuple):
    """One file of so many rows. camera: `(N, 4, 4)` poses."""

    rows: int
    joints: Mapping[str, np.ndarray]
    parameters: Mapping[str, Parameters]
    confidence: Mapping[str, np.ndarray]
    times: np.ndarray | None
    space: str | None
    intrinsics: np.ndarray | None
    camera: np.ndarray | None


def names_in(file: Path) -> dict[str, str]:
    """The known names in an npz or HDF5 file, each with its text if it has one, without reading the arrays. Raises
    `SourceError`, also where it holds neither joints nor parameters."""
    if file.suffix.lower() == ".npz":
        check_zip(file, max_bytes=MOST_BYTES)
        with zipfile.ZipFile(file) as archive:
            found = {name: "" for name in KNOWN if f"{name}.npy" in archive.namelist()}
        if "space" in found:
            found["space"] = _text(load_npz(file, MOST_BYTES, ("space",))["space"], file)
    else:
        with open_hdf5(file) as source:
            found = {name: "" for name in KNOWN if name in source}
            if (said := _hdf5_space(source, file)) is not None:
                found["space"] = said
    if not any(
        f"{side}_{what}" in found for side in hands.SIDES for what in ("joints", "pose", "hand_pose", "hand_pca")
    ):
        wanted = "<side>_joints, <side>_pose, or <side>_global_orient with <side>_hand_pose or <side>_hand_pca"
        raise SourceError(file, f"holds no hand: it has neither {wanted}")
    return found


def arrays(file: Path) -> Arrays:
    """Everything known in the file. Raises `SourceError`, `UnsafeSource`."""
    names_in(file)
    given: dict[str, np.ndarray]
    if file.suffix.lower() == ".npz":
        given = load_npz(file, MOST_BYTES, KNOWN)
        space = _text(given.pop("space"), file) if "space" in given else None
    else:
        with open_hdf5(file) as source:
            space = _hdf5_space(source, file)
            given = _hdf5_arrays(source, file)
    first = next(name for name in KNOWN if name in given and name.rpartition("_")[2] in ("joints", "pose", "pca"))
    count = len(given[first]) if given[first].ndim else 0
    if not 0 < count <= MOST_FRAMES:
        raise SourceError(file, f"{first} has {count} rows; 1 to {MOST_FRAMES} are read")
    joints, parameters, confidence = {}, {}, {}
    for side in hands.SIDES:
        if f"{side}_joints" in given:
            joints[side] = _array(given, f"{side}_joints", (count, 21, 3), file)
        elif any(f"{side}_{what}" in given for what in ("pose", "hand_pose", "hand_pca")):
            parameters[side] = _parameters(given, side, count, file)
        else:
            continue
        said = _array(given, f"{side}_confidence", (count,), file, 1.0)
        confidence[side] = np.clip(np.nan_to_num(said), 0, 1)
    return Arrays(
        count,
        joints,
        parameters,
        confidence,
        _times(given, count, file),
        space,
        _intrinsics(given, file),
        _camera(given, count, file),
    )


def hot3d_lines(file: Path) -> tuple[np.ndarray, dict[str, Parameters]]:
    """Times `(N,)` [ns] and the hands that the lines hold, NaN in lines without them: the pose as coefficients, in the
    world. Raises `SourceError`."""
    times: list[int] = []
    rows: dict[str, list[np.ndarray]] = {side: [] for side in hands.SIDES}
    nothing = np.full(ANGLES + 7 + BETAS, np.nan)
    for number, line in json_lines(file, MOST_FRAMES):
        at, poses = line.get("timestamp_ns"), line.get("hand_poses")
        if not isinstance(at, int) or isinstance(at, bool) or abs(at) >= LATEST or not isinstance(poses, dict):
            raise SourceError(file, f"line {number}: expected timestamp_ns, a whole number, and hand_poses")
        times.append(at)
        for index, side in enumerate(hands.SIDES):
            hand = poses.get(str(index))
            rows[side].append(nothing if hand is None else _hot3d_hand(hand, file, f"line {number}: hand {index}"))
    if not times:
        raise SourceError(file, "has no line")
    found = {}
    for side, lines in rows.items():
        values = np.stack(lines)
        if not np.isfinite(values).all(1).any():
            continue
        fingers, place, turn, shape = np.split(values, [ANGLES, ANGLES + 3, ANGLES + 7], 1)
        there = np.isfinite(values).all(1)
        root = np.full((len(values), 3), np.nan)
        root[there] = _rotvec(turn[there])
        found[side] = Parameters(root, fingers, shape, place, there.astype(np.float64), True)
    return np.array(times, np.int64), found


def _rotvec(quaternions: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]).as_rotvec()


def _hot3d_hand(hand: Any, file: Path, where: str) -> np.ndarray:
    """Coefficients, place, quaternion w x y z, shape."""
    wrist = hand.get("wrist_xform") if isinstance(hand, dict) else None
    pose = hand.get("pose") if isinstance(hand, dict) else None
    if not isinstance(wrist, dict) or not isinstance(pose, list) or not 0 < len(pose) <= ANGLES:
        raise SourceError(file, f"{where}: expected wrist_xform and pose, 1 to {ANGLES} numbers")
    turn = numbers(wrist.get("q_wxyz"), (4,), file, f"{where}: q_wxyz")
    if np.isfinite(turn).all() and abs(np.linalg.norm(turn) - 1) > 0.01:
        raise SourceError(file, f"{where}: q_wxyz is no quaternion of length one")
    coefficients = np.zeros(ANGLES)
    coefficients[: len(pose)] = numbers(pose, (len(pose),), file, f"{where}: pose")
    place = numbers(wrist.get("t_xyz"), (3,), file, f"{where}: t_xyz")
    return np.concatenate([coefficients, place, turn, numbers(hand.get("betas"), (BETAS,), file, f"{where}: betas")])


def _parameters(given: Mapping[str, np.ndarray], side: str, count: int, file: Path) -> Parameters:
    components = False
    if f"{side}_pose" in given:
        pose = _array(given, f"{side}_pose", (count, 3 + ANGLES), file)
        root, fingers = pose[:, :3], pose[:, 3:]
    else:
        root = _array(given, f"{side}_global_orient", (count, 3), file)
        components = f"{side}_hand_pose" not in given
        if components:
            wide = given[f"{side}_hand_pca"].shape[-1] if given[f"{side}_hand_pca"].ndim else 0
            if not 0 < wide <= ANGLES:
                raise SourceError(file, f"{side}_hand_pca has {wide} coefficients; 1 to {ANGLES} are read")
            fingers = _array(given, f"{side}_hand_pca", (count, wide), file)
        else:
            fingers = _array(given, f"{side}_hand_pose", (count, ANGLES), file)
    key = f"{side}_betas"
    wide = given[key].shape[-1] if key in given and given[key].ndim else BETAS
    if key in given and given[key].ndim == 1:
        shape = np.tile(_array(given, key, (wide,), file), (count, 1))
    else:
        shape = _array(given, key, (count, wide), file, 0.0)
    place = _array(given, f"{side}_trans", (count, 3), file, 0.0)
    return Parameters(root, fingers, shape, place, np.ones(count), components)


def _array(
    given: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], file: Path, otherwise: float | None = None
) -> np.ndarray:
    if name not in given:
        if otherwise is None:
            raise SourceError(file, f"has no {name}")
        return np.full(shape, otherwise)
    array = given[name]
    if array.shape != shape or array.dtype.kind not in "iufb":
        raise SourceError(file, f"{name} has shape {array.shape} of {array.dtype}, not numbers {shape}")
    return array.astype(np.float64)


def _times(given: Mapping[str, np.ndarray], count: int, file: Path) -> np.ndarray | None:
    if "timestamps_ns" not in given:
        return None
    times = given["timestamps_ns"]
    if times.shape != (count,) or times.dtype.kind not in "iu" or (np.abs(times.astype(np.float64)) >= LATEST).any():
        raise SourceError(file, f"timestamps_ns is no {count} whole numbers below 2^62")
    return times.astype(np.int64)


def _intrinsics(given: Mapping[str, np.ndarray], file: Path) -> np.ndarray | None:
    if "intrinsics" not in given:
        return None
    return _array(given, "intrinsics", (3, 3), file)


def _camera(given: Mapping[str, np.ndarray], count: int, file: Path) -> np.ndarray | None:
    if "camera_pose" not in given:
        return None
    poses = _array(given, "camera_pose", (count, 4, 4), file)
    turn = poses[:, :3, :3]
    straight = np.isfinite(poses).all() and np.abs(turn @ turn.swapaxes(1, 2) - np.eye(3)).max() < 1e-2
    if not straight or (np.linalg.det(turn) < 0).any() or np.abs(poses[:, :3, 3]).max() > 1e6:
        raise SourceError(file, "camera_pose holds what is no rotation and place")
    return poses


def _text(value: Any, file: Path) -> str:
    found = np.asarray(value).reshape(-1)
    text = found[0] if found.size == 1 else None
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if not isinstance(text, str):
        raise SourceError(file, "space is no text")
    return str(text)


def _hdf5_space(source: Any, file: Path) -> str | None:
    """An attribute or a dataset of one text."""
    if "space" in source.attrs:
        return _text(source.attrs["space"], file)
    if "space" not in source:
        return None
    if getattr(source["space"], "size", 0) != 1:
        raise SourceError(file, "space is no text")
    return _text(source["space"][()], file)


def _hdf5_arrays(source: Any, file: Path) -> dict[str, np.ndarray]:
    import h5py

    found = {name: source[name] for name in KNOWN[1:] if name in source}
    whole = 0
    for name, item in found.items():
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            raise SourceError(file, f"{name} is no dataset")
        try:
            kind = item.dtype
        except (TypeError, ValueError) as error:
            raise SourceError(file, f"{name} holds what numpy has no type for") from error
        reject_objects(file, name, kind)
        whole += kind.itemsize * item.size
        check_allocation(file, name, whole, MOST_BYTES)
    return {name: np.asarray(item[()]) for name, item in found.items()}
