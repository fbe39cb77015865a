"""Hands as MANO has them, beside a video: joints, or parameters together with a person's own copy of the model.

`<video>.mano.npz` (or `.hdf5`, `.h5`; or `mano.npz` beside the only video of a folder) holds, by side:

    <side>_joints (N, 21, 3)         16 joints and the fingertips from the thumb on, in MANO's order [m]; or
    <side>_pose (N, 48)              axis-angles, the wrist's first; or <side>_global_orient (N, 3) with
    <side>_hand_pose (N, 45)         axis-angles or <side>_hand_pca (N, n) coefficients of the model's components;
    <side>_betas (10,) or (N, 10)    and <side>_trans (N, 3) [m], zero where they are missing
    <side>_confidence (N,)           0 to 1; a row with NaN is no hand

and for both `space` ("camera", "device", "world"), `timestamps_ns` (N,) or a row a picture, `intrinsics` (3, 3) and
`camera_pose` (N, 4, 4) in the world where they are known. HOT3D's `mano_hand_pose_trajectory.jsonl` is read too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np
from scipy.spatial.transform import Rotation

from converters.hand_camera import pinhole_of
from converters.hand_clock import Space, Tracks, Way, in_order
from converters.hand_columns import MOST_FRAMES, sha256
from converters.hand_sequences import named
from converters.hand_tables import json_lines
from converters.hand_video import HandVideos, Loaded, Said, TrackSettings
from converters.mano_files import HOT3D, Parameters, arrays, hot3d_lines, names_in
from converters.mano_model import FROM_MANO, Mano, mirrored, read_model
from dataengine import hands
from dataengine.errors import SourceError
from dataengine.source import Assumption

PATTERNS = tuple(f"{stem}.{ending}" for stem in ("mano", "*.mano") for ending in ("npz", "hdf5", "h5"))
FOLDER = "DATAENGINE_MANO"  # where MANO_LEFT.npz and MANO_RIGHT.npz are, unless the mapping says it
_MEAN = Assumption(
    "mean",
    True,
    "the file does not say whether its angles begin at the model's mean pose, as those of smplx's MANO do; those of "
    "HaMeR and WiLoR do not (mean: false)",
)
_SPACE = Assumption("space", "camera", "the file does not say which frame it is in")


@dataclass(frozen=True, kw_only=True)
class ManoSettings(TrackSettings):
    """model_left, model_right: files of the model. mean: angles begin at its mean pose. left_shapes: mend the shapes of
    a left model that are not mirrored, where the right one shows it."""

    model_left: str | None = None
    model_right: str | None = None
    mean: bool = True
    left_shapes: Literal["repaired", "as_is"] = "repaired"


class ManoHands(HandVideos):
    """Videos with MANO's joints or parameters beside them."""

    name: ClassVar[str] = "mano"
    reads: ClassVar[str] = "a video with *.mano.npz, *.mano.hdf5 (MANO) or mano_hand_pose_trajectory.jsonl (HOT3D)"
    settings: ClassVar[type[TrackSettings]] = ManoSettings

    def ours(self, name: str) -> bool:
        return named(name, (*PATTERNS, HOT3D))

    def look(self, file: Path, settings: ManoSettings) -> Said:
        if named(file.name, (HOT3D,)):
            first = next(json_lines(file, MOST_FRAMES), None)
            if first is None or not isinstance(first[1].get("hand_poses"), dict):
                raise SourceError(file, "its first line has no hand_poses")
            for place, side in enumerate(hands.SIDES):
                if str(place) in first[1]["hand_poses"]:
                    _model_file(side, settings, file)
            return Said("world")
        names = names_in(file)
        sides = [side for side in hands.SIDES if any(name.startswith(f"{side}_") for name in names)]
        posed = [side for side in sides if f"{side}_joints" not in names]
        for side in posed:
            _model_file(side, settings, file)
        space = _space(names.get("space"), settings, file)
        assumed = (*([_MEAN] if posed else []), *([] if names.get("space") or settings.space else [_SPACE]))
        return Said(space, "intrinsics" in names, "camera_pose" in names, "timestamps_ns" not in names, assumed)

    def load(self, file: Path, settings: ManoSettings) -> Loaded:
        joints: Mapping[str, np.ndarray] = {}
        given: Mapping[str, Parameters]
        lens, way, every = None, None, False
        space: Space = "world"
        if named(file.name, (HOT3D,)):
            times, given = hot3d_lines(file)
            rows, remarks = in_order(times)
            sure = {side: hand.confidence for side, hand in given.items()}
        else:
            found = arrays(file)
            space = _space(found.space, settings, file)
            every, joints, given = found.times is None, found.joints, found.parameters
            sure = dict(found.confidence)
            times = np.arange(found.rows) if found.times is None else found.times
            rows, remarks = in_order(times)
            lens = None if found.intrinsics is None else pinhole_of(found.intrinsics)
            way = _way(found.camera, times, rows)
        if len(rows) > MOST_FRAMES:
            raise SourceError(file, f"has {len(rows)} rows; {MOST_FRAMES} are the most")
        if given:
            posed, more = _posed(given, settings, file)
            joints, remarks = {**joints, **posed}, (*remarks, *more)
        landmarks = {
            side: joints[side][rows][:, list(FROM_MANO)] if side in joints else np.full((len(rows), 21, 3), np.nan)
            for side in hands.SIDES
        }
        confidence = {side: sure[side][rows] if side in sure else np.zeros(len(rows)) for side in hands.SIDES}
        tracks = Tracks(times[rows], landmarks, confidence, space, every, every, remarks)
        return Loaded(tracks, lens, way)


def _posed(
    given: Mapping[str, Parameters], settings: ManoSettings, file: Path
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Joints `(N, 21, 3)` by side, NaN where a parameter is, and which models made them."""
    models: dict[str, Mano] = {}
    remarks = []
    for side in given:
        path = _model_file(side, settings, file)
        models[side] = read_model(path)
        remarks.append(f"{side} hand posed with {path.name}, sha256 {sha256(path)}")
    if "left" in models and settings.left_shapes == "repaired":
        right = models.get("right") or _other(settings, file)
        if right is not None and (mended := mirrored(models["left"], right)) is not None:
            models["left"] = mended
            remarks.append("the left model's shapes were the right one's; they were mirrored")
    return {side: _joints(models[side], hand, settings, file) for side, hand in given.items()}, tuple(remarks)


def _joints(model: Mano, hand: Parameters, settings: ManoSettings, file: Path) -> np.ndarray:
    most = model.joint_shapes.shape[2]
    if hand.shape.shape[1] > most:
        raise SourceError(file, f"has {hand.shape.shape[1]} betas, the model {most}")
    parts = (hand.root, hand.fingers, hand.shape, hand.place)
    there = np.logical_and.reduce([np.isfinite(part).all(1) & (np.abs(part) < 1e6).all(1) for part in parts])
    found = np.full((len(hand.root), 21, 3), np.nan)
    fingers = model.fingers(hand.fingers[there], components=hand.components, mean=settings.mean)
    shape = np.pad(hand.shape[there], ((0, 0), (0, most - hand.shape.shape[1])))
    pose = np.concatenate([hand.root[there, None], fingers], 1)
    found[there] = model.pose(shape, pose, hand.place[there])
    return found


def _model_file(side: str, settings: ManoSettings, file: Path) -> Path:
    """Where the model of a side is. Raises `SourceError` where nobody says it, or it is a pickle."""
    said = getattr(settings, f"model_{side}")
    name = f"MANO_{side.upper()}"
    folder = os.environ.get(FOLDER)
    if said is None and not folder:
        hint = f"give model_{side}, an npz of it, in the mapping, or its folder with {name}.npz in {FOLDER}"
        raise SourceError(
            file, f"holds parameters of MANO, and nobody says where the model of the {side} hand is", hint=hint
        )
    path = Path(said) if said is not None else Path(folder or "") / f"{name}.npz"
    if said is None and not path.is_file() and path.with_suffix(".pkl").is_file():
        path = path.with_suffix(".pkl")
    if path.suffix.lower() in (".pkl", ".pickle") or not path.is_file():
        read_model(path)  # says how to make an npz of it
    return path


def _other(settings: ManoSettings, file: Path) -> Mano | None:
    try:
        return read_model(_model_file("right", settings, file))
    except SourceError:
        return None


def _space(said: str | None, settings: ManoSettings, file: Path) -> Space:
    space = said or settings.space or "camera"
    for each in get_args(Space):
        if each == space:
            return each
    raise SourceError(file, f"space is {space!r}, not one of {', '.join(get_args(Space))}")


def _way(poses: np.ndarray | None, times: np.ndarray, rows: np.ndarray) -> Way | None:
    if poses is None:
        return None
    turn = Rotation.from_matrix(poses[rows, :3, :3]).as_quat()
    return Way(times[rows], np.concatenate([poses[rows, :3, 3], turn], 1), "camera")
