"""What an episode says of how its camera moved: nothing, that it stood still, what the background tells, or a board.

Kept in the cache: another smoothing of the hands needs no second look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from collectors.egocentric.board import PRINTED, Board
from collectors.egocentric.camera import Camera
from collectors.egocentric.footage import Footage
from collectors.egocentric.over_board import OverBoard, camera_over
from collectors.egocentric.sightings import keep
from dataengine import hands
from dataengine.episode import Feature
from dataengine.errors import SourceError
from dataengine.guard import load_npz
from dataengine.plugins import Sighting
from dataengine.source import Assumption
from dataengine.store.remote import cache_folder

Motion = Literal["none", "still", "estimate", "board"]

VERSION = "2"  # of what is found; what is in the cache is of it
LARGEST = 256 << 20  # [bytes] of what is kept
UNKNOWN = "unknown: its unit is the median distance of the background where it began to move"


class Moved(NamedTuple):
    """columns: those of `features`. about: what was found, JSON-able."""

    columns: dict[str, np.ndarray]
    about: dict[str, Any]


def features(motion: Motion) -> dict[str, Feature]:
    """Pose of the camera in the frame of the video's first, or in that of the board, and how far it is to be trusted. A
    path estimated from the background has no unit of length: one camera sees no size."""
    if motion == "none":
        return {}
    length = "1" if motion == "estimate" else "m"
    names = ("x", "y", "z", "qx", "qy", "qz", "qw")
    turns = {"rotations": ({"start": 3, "stop": 7, "convention": "quaternion_xyzw"},)}
    return {
        hands.CAMERA_POSE: Feature("float32", (7,), names, "other", (length,) * 3 + ("1",) * 4, info=turns),
        hands.CAMERA_QUALITY: Feature("float32", (1,), role="other"),
    }


def assumptions(motion: Motion) -> tuple[Assumption, ...]:
    if motion == "none":
        return ()
    why = {
        "still": "as its user says",
        "estimate": f"from the background; the scale of its path is {UNKNOWN}",
        "board": "over a board: its frame is in the middle of the board, x along the rows, z out of it",
    }[motion]
    return (Assumption("motion", motion, why),)


def camera_columns(
    footage: Footage,
    seen: Sequence[Sequence[Sighting]],
    camera: Camera,
    motion: Motion,
    tracker: str,
    over: OverBoard | None = None,
) -> Moved:
    """Of every picture of a video. seen: the hands in each, which are no background. tracker: who saw them. over: the
    board that is seen. Raises `SourceError` where motion is told by a board and there is none."""
    if motion == "none":
        return Moved({}, {})
    if motion == "still":
        pose = np.zeros((footage.clip.length, 7), np.float32)
        pose[:, 6] = 1
        columns = {hands.CAMERA_POSE: pose, hands.CAMERA_QUALITY: np.ones(len(pose), np.float32)}
        return Moved(columns, {"camera_motion": {"kind": "still", "from": "the user", "scale": "metric"}})
    if motion == "board":
        if over is None or not over.quality.any():
            why = "shows the board in none of its pictures, which was to tell its motion"
            hint = f"is it the board that was said, and the lens (--camera)? {PRINTED}"
            raise SourceError(footage.path, why, hint=hint)
        columns = {hands.CAMERA_POSE: over.pose, hands.CAMERA_QUALITY: over.quality}
        lost = int((over.quality == 0).sum())
        return Moved(columns, {"camera_motion": {"kind": "moves", "from": "a board", "scale": "metric", "lost": lost}})
    pose, quality, restarts = _estimated(footage, seen, camera, tracker)
    kind = "moves" if pose[:, :3].any() else "turns" if (pose != pose[0]).any() else "still"
    columns = {hands.CAMERA_POSE: pose, hands.CAMERA_QUALITY: quality}
    about = {
        "kind": kind,
        "from": "the background",
        "scale": UNKNOWN if kind == "moves" else "metric",
        "lost": int((quality == 0).sum()),
        "restarts": restarts,
    }
    return Moved(columns, {"camera_motion": about})


def over_board(footage: Footage, board: Board, camera: Camera) -> OverBoard:
    """Where the camera is over the board."""

    def look() -> dict[str, np.ndarray]:
        return camera_over(footage.clip.frames(), board, camera, footage.clip.fps)._asdict()

    return OverBoard(**_kept(footage, f"{camera}\0{board}", {"pose": (7,), "quality": ()}, look))


def _estimated(
    footage: Footage, seen: Sequence[Sequence[Sighting]], camera: Camera, tracker: str
) -> tuple[np.ndarray, np.ndarray, int]:
    from collectors.egocentric.background import background
    from collectors.egocentric.odometry import camera_motion

    def look() -> dict[str, np.ndarray]:
        made = camera_motion(background(footage.clip.frames(), seen), camera)
        return {"pose": made.pose, "quality": made.quality, "restarts": np.full(len(made.pose), made.restarts)}

    found = _kept(footage, f"{camera}\0{tracker}", {"pose": (7,), "quality": (), "restarts": ()}, look)
    return found["pose"], found["quality"], int(found["restarts"].max(initial=0))


def _kept(
    footage: Footage, how: str, shapes: Mapping[str, tuple[int, ...]], look: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What `look` finds of every picture, float32, or found before of the same video and was kept."""
    clip = footage.clip
    told = f"{VERSION}\0{footage.sha256}\0{clip.fps!r}\0{clip.length}\0{clip.height}\0{clip.width}\0{how}"
    path = cache_folder() / "camera" / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.npz"
    try:
        found = load_npz(path, LARGEST)
        if all(found[name].shape == (clip.length, *shape) for name, shape in shapes.items()):
            return {name: found[name].astype(np.float32) for name in shapes}
    except (OSError, SourceError, KeyError, ValueError):  # missing, cut short, another format: it is looked at again
        pass
    made = {name: values.astype(np.float32) for name, values in look().items()}
    keep(path, **made)
    return made
