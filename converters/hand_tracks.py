"""Landmarks of hands that somebody else's tracker wrote beside a video.

`hand_tracking_results.csv` of Project Aria's machine perception services: 21 landmarks of each hand in the frame of the
glasses, at a rate of its own. `<video>.hands.jsonl` (or `hands.jsonl`), for everything else: a first line
`{"space": "camera", "order": "mediapipe"}`, then one line a time,

    {"timestamp_ns": 17, "left": null, "right": {"landmarks": [[x, y, z], …], "confidence": 0.9}}

with `picture`, counted from 0, where there are no times. Places in m; spaces: camera, device, world.

Wrists without fingers (`wrist_and_palm_poses.csv`) and joint angles of a hand model that is not here (UmeTrack) are
refused: landmarks, and with them how far a gripper is open, would be invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np

from converters.hand_clock import Space, Tracks, in_order
from converters.hand_columns import MOST_FRAMES
from converters.hand_sequences import named, sequences
from converters.hand_tables import LATEST, header, json_lines, numbers, read_table
from converters.hand_video import HandVideos, Loaded, Said, TrackSettings
from converters.mano_model import FROM_MANO
from dataengine import hands
from dataengine.errors import DataEngineError, SourceError
from dataengine.source import Assumption

ARIA, LINES = "hand_tracking_results*.csv", ("hands.jsonl", "*.hands.jsonl")
REFUSED = {
    "wrist_and_palm_poses*.csv": "holds wrists and palms without fingers; landmarks would be invented",
    "umetrack_hand_pose_trajectory.jsonl": "holds joint angles of UmeTrack's hand model, which is not read here; "
    "HOT3D has the same hands as mano_hand_pose_trajectory.jsonl",
}
# By our number, theirs: `HandLandmark` in projectaria_tools (core/mps/HandTracking.h): fingertips from the thumb on,
# the wrist, two joints of the thumb (they turn on from its metacarpal: MCP, IP), three of each finger, the palm's
# middle. -1: the root of the thumb (CMC), which they do not have.
FROM_ARIA = (5, -1, 6, 7, 0, 8, 9, 10, 1, 11, 12, 13, 2, 14, 15, 16, 3, 17, 18, 19, 4)
THUMB_ROOT = 1
ORDERS: Mapping[str, tuple[int, ...]] = {"mediapipe": tuple(range(21)), "aria": FROM_ARIA, "mano": FROM_MANO}
_ROOT = Assumption(
    "thumb_cmc", "average", "the tracker has no root of the thumb; it stands where an average palm has it"
)


class HandTracks(HandVideos):
    """Videos with landmarks of hands beside them."""

    name: ClassVar[str] = "hand_tracks"
    reads: ClassVar[str] = "a video with hand_tracking_results.csv (Project Aria) or *.hands.jsonl"

    def ours(self, name: str) -> bool:
        return named(name, (ARIA, *LINES))

    def refusal(self, path: Path) -> SourceError | None:
        """Why tracks beside a video cannot be read, where there are only such."""
        try:
            found = [each for each in sequences(path, lambda name: named(name, REFUSED)) if path.is_dir() or
                     named(each.file, REFUSED)]  # fmt: skip
        except (OSError, DataEngineError):
            found = []
        if not found:
            return super().refusal(path)
        why = next(why for pattern, why in REFUSED.items() if named(found[0].file, (pattern,)))
        hint = "to have the hands tracked in the pictures: dataengine collect ego, with the video itself"
        return SourceError(found[0].base / found[0].file, why, hint=hint)

    def look(self, file: Path, settings: TrackSettings) -> Said:
        if named(file.name, (ARIA,)):
            if lacking := [name for name in _aria_columns() if name not in header(file)]:
                raise SourceError(file, f"has no column {lacking[0]}")
            return Said(settings.space or "device", assumptions=(_ROOT,))
        first = next(json_lines(file, MOST_FRAMES), None)
        if first is None:
            raise SourceError(file, "has no line")
        space, order = _head(file, first[1], settings)
        second = next((line for n, line in json_lines(file, MOST_FRAMES) if n > first[0]), {})
        return Said(space, by_picture="picture" in second, assumptions=(_ROOT,) if order == "aria" else ())

    def load(self, file: Path, settings: TrackSettings) -> Loaded:
        return Loaded(_aria(file, settings) if named(file.name, (ARIA,)) else _lines(file, settings))


def with_thumb_root(points: np.ndarray, *, right: bool) -> np.ndarray:
    """`(N, 21, 3)` with the root of the thumb where the average palm has it, laid over wrist and knuckles with its size
    (Umeyama 1991). NaN where the others are."""
    others = [mark for mark in hands.PALM if mark != THUMB_ROOT]
    average = hands.palm(right=right)
    model = average[[hands.PALM.index(mark) for mark in others]]
    theirs = points[:, others]
    there = np.isfinite(theirs).all((1, 2))
    middle, about = theirs[there].mean(1, keepdims=True), model - model.mean(0)
    away = theirs[there] - middle
    u, strengths, vt = np.linalg.svd(np.einsum("tki,kj->tij", away, about))
    flip = np.ones((len(u), 3))
    flip[:, 2] = np.sign(np.linalg.det(u @ vt))
    scale = (strengths * flip).sum(1) / (about**2).sum()
    root = average[hands.PALM.index(THUMB_ROOT)] - model.mean(0)
    placed = points.copy()
    placed[:, THUMB_ROOT] = np.nan
    placed[there, THUMB_ROOT] = middle[:, 0] + scale[:, None] * (((u * flip[:, None]) @ vt) @ root)
    return placed


def ordered(points: np.ndarray, order: str, *, right: bool) -> np.ndarray:
    """Landmarks `(N, 21, 3)` of one of `ORDERS` as `hands` numbers them."""
    found = points[:, list(ORDERS[order])]
    return with_thumb_root(found, right=right) if order == "aria" else found


def _aria_columns() -> list[str]:
    return [name for side in hands.SIDES for name in (f"{side}_tracking_confidence", *_aria_places(side))]


def _aria_places(side: str) -> list[str]:
    return [f"t{axis}_{side}_landmark_{mark}_device" for mark in range(21) for axis in "xyz"]


def _aria(file: Path, settings: TrackSettings) -> Tracks:
    """A confidence of -1 and zeros everywhere is no hand."""
    times, values = read_table(file, _aria_columns(), MOST_FRAMES)
    rows, remarks = in_order(times)
    landmarks, confidence = {}, {}
    for side, told in zip(hands.SIDES, np.split(values[rows], 2, 1), strict=True):
        sure, points = told[:, 0], told[:, 1:].reshape(-1, 21, 3)
        gone = ~np.isfinite(sure) | (sure < 0) | (points == 0).all((1, 2)) | ~np.isfinite(points).all((1, 2))
        points[gone] = np.nan
        landmarks[side] = ordered(points, "aria", right=side == "right")
        confidence[side] = np.where(gone, 0.0, np.clip(sure, 0, 1))
    return Tracks(times[rows], landmarks, confidence, settings.space or "device", remarks=remarks)


def _head(file: Path, said: Mapping[str, Any], settings: TrackSettings) -> tuple[Space, str]:
    space, order = said.get("space", settings.space), said.get("order", "mediapipe")
    if space not in get_args(Space) or not isinstance(order, str) or order not in ORDERS:
        hint = 'its first line is {"space": "camera", "order": "mediapipe"}'
        why = f"space is one of {', '.join(get_args(Space))}, order one of {', '.join(ORDERS)}"
        raise SourceError(file, f"line 1: {why}", hint=hint)
    return space, order


def _confidence(hand: Mapping[str, Any] | None) -> Any:
    """1 where nobody says it."""
    said = (hand or {}).get("confidence")
    return 1.0 if said is None else said


def _lines(file: Path, settings: TrackSettings) -> Tracks:
    lines = json_lines(file, MOST_FRAMES)
    head = next(lines, None)
    if head is None:
        raise SourceError(file, "has no line")
    space, order = _head(file, head[1], settings)
    clock: str | None = None
    times: list[int] = []
    found: dict[str, list[np.ndarray]] = {side: [] for side in hands.SIDES}
    sure: dict[str, list[float]] = {side: [] for side in hands.SIDES}
    nowhere = np.full((21, 3), np.nan)
    for number, line in lines:
        clock = clock or ("picture" if "picture" in line else "timestamp_ns")
        at = line.get(clock)
        if not isinstance(at, int) or isinstance(at, bool) or abs(at) >= LATEST:
            raise SourceError(file, f"line {number}: {clock} is a whole number, as in the lines above")
        times.append(at)
        for side in hands.SIDES:
            hand = line.get(side)
            if hand is not None and (not isinstance(hand, dict) or "landmarks" not in hand):
                raise SourceError(file, f"line {number}: {side} is null or has landmarks, 21 times x, y, z [m]")
            places = nowhere if hand is None else numbers(hand["landmarks"], (21, 3), file, f"line {number}: {side}")
            score = numbers(_confidence(hand), (), file, f"line {number}: confidence")
            found[side].append(places)
            sure[side].append(float(np.clip(np.nan_to_num(score), 0, 1)) if np.isfinite(places).all() else 0.0)
    if not times:
        raise SourceError(file, "has no line below its first")
    rows, remarks = in_order(np.array(times, np.int64))
    landmarks = {side: ordered(np.stack(found[side])[rows], order, right=side == "right") for side in hands.SIDES}
    confidence = {side: np.array(sure[side])[rows] for side in hands.SIDES}
    return Tracks(np.array(times, np.int64)[rows], landmarks, confidence, space, clock == "picture", remarks=remarks)
