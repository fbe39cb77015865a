"""What an episode says of how its camera moved: nothing, that it stood still, or what the background tells.

Kept in the cache: another smoothing of the hands needs no second look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from collectors.egocentric.camera import Camera
from collectors.egocentric.footage import Footage
from collectors.egocentric.sightings import keep
from dataengine import hands
from dataengine.episode import Feature
from dataengine.errors import SourceError
from dataengine.guard import load_npz
from dataengine.plugins import Sighting
from dataengine.source import Assumption
from dataengine.store.remote import cache_folder

Motion = Literal["none", "still", "estimate"]

VERSION = "1"  # of the estimate; what is in the cache is of it
LARGEST = 256 << 20  # [bytes] of what is kept
UNKNOWN = "unknown: its unit is the median distance of the background where it began to move"


class Moved(NamedTuple):
    """columns: those of `features`. about: what was found, JSON-able."""

    columns: dict[str, np.ndarray]
    about: dict[str, Any]


def features(motion: Motion) -> dict[str, Feature]:
    """Pose of the camera in the frame of the video's first, and how far it is to be trusted. An estimated path has no
    unit of length: one camera sees no size."""
    if motion == "none":
        return {}
    length = "m" if motion == "still" else "1"
    names = ("x", "y", "z", "qx", "qy", "qz", "qw")
    turns = {"rotations": ({"start": 3, "stop": 7, "convention": "quaternion_xyzw"},)}
    return {
        hands.CAMERA_POSE: Feature("float32", (7,), names, "other", (length,) * 3 + ("1",) * 4, info=turns),
        hands.CAMERA_QUALITY: Feature("float32", (1,), role="other"),
    }


def assumptions(motion: Motion) -> tuple[Assumption, ...]:
    if motion == "none":
        return ()
    why = "as its user says" if motion == "still" else f"from the background; the scale of its path is {UNKNOWN}"
    return (Assumption("motion", motion, why),)


def camera_columns(
    footage: Footage, seen: Sequence[Sequence[Sighting]], camera: Camera, motion: Motion, tracker: str
) -> Moved:
    """Of every picture of a video. seen: the hands in each, which are no background. tracker: who saw them."""
    if motion == "none":
        return Moved({}, {})
    if motion == "still":
        pose = np.zeros((footage.clip.length, 7), np.float32)
        pose[:, 6] = 1
        columns = {hands.CAMERA_POSE: pose, hands.CAMERA_QUALITY: np.ones(len(pose), np.float32)}
        return Moved(columns, {"camera_motion": {"kind": "still", "from": "the user", "scale": "metric"}})
    pose, quality, restarts = _kept(footage, seen, camera, tracker)
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


def _kept(
    footage: Footage, seen: Sequence[Sequence[Sighting]], camera: Camera, tracker: str
) -> tuple[np.ndarray, np.ndarray, int]:
    clip = footage.clip
    told = f"{VERSION}\0{footage.sha256}\0{clip.fps!r}\0{clip.length}\0{clip.height}\0{clip.width}\0{camera}\0{tracker}"
    path = cache_folder() / "camera" / f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.npz"
    try:
        found = load_npz(path, LARGEST)
        pose, quality, restarts = (found[name] for name in ("pose", "quality", "restarts"))
        if (pose.shape, quality.shape, restarts.shape) == ((clip.length, 7), (clip.length,), ()):
            return pose.astype(np.float32), quality.astype(np.float32), int(restarts)
    except (OSError, SourceError, KeyError, ValueError):  # missing, cut short, another format: it is looked at again
        pass
    from collectors.egocentric.background import background
    from collectors.egocentric.odometry import camera_motion

    made = camera_motion(background(clip.frames(), seen), camera)
    pose, quality = made.pose.astype(np.float32), made.quality.astype(np.float32)
    keep(path, pose=pose, quality=quality, restarts=np.array(made.restarts))
    return pose, quality, made.restarts
