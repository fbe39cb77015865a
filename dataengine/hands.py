"""The 21 landmarks of a hand, numbered as MediaPipe does, what anatomy says of them, and the columns of an episode that
holds hands. Lengths in m.

Bone lengths are means of adults (Buryanov & Kotiuk 2010, "Proportions of hand segments", soft tissue of the fingertips
included); the palm is put together from their metacarpals and the breadth of a hand. They are where an estimate begins,
not what it ends with.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataengine.episode import Feature

SIDES = ("left", "right")
ABSENT, SEEN, FILLED = 0, 1, 2  # what `tracked` says of a frame: no hand, a hand that was found, a gap that was bridged

FINGERS = ("thumb", "index", "middle", "ring", "little")
LANDMARKS = (
    "wrist",
    *(f"thumb_{joint}" for joint in ("cmc", "mcp", "ip", "tip")),
    *(f"{finger}_{joint}" for finger in FINGERS[1:] for joint in ("mcp", "pip", "dip", "tip")),
)
WRIST, MIDDLE_KNUCKLE = 0, 9
TIPS = (4, 8, 12, 16, 20)
# The landmarks that hardly move against one another: wrist, root of the thumb, knuckles.
PALM = (0, 1, 5, 9, 13, 17)

SIZE, SIZE_SPREAD = 0.090, 0.05  # wrist to middle knuckle of an adult [m], and its relative standard deviation

# `(6, 3)` of a right hand that shows its palm to the viewer with the fingers up: x to the thumb, y to the fingers,
# z out of the palm.
RIGHT_PALM = np.array(
    [
        (0.000, 0.000, 0.000),
        (0.030, 0.024, 0.010),
        (0.024, 0.089, 0.000),
        (0.002, 0.090, -0.003),
        (-0.018, 0.084, -0.001),
        (-0.036, 0.074, 0.004),
    ]
)

# `(parent, child, length)` from the palm outwards, for a hand of `SIZE`.
PHALANGES = (
    (1, 2, 0.0462), (2, 3, 0.0316), (3, 4, 0.0254),
    (5, 6, 0.0398), (6, 7, 0.0224), (7, 8, 0.0196),
    (9, 10, 0.0446), (10, 11, 0.0263), (11, 12, 0.0213),
    (13, 14, 0.0414), (14, 15, 0.0257), (15, 16, 0.0212),
    (17, 18, 0.0327), (18, 19, 0.0181), (19, 20, 0.0197),
)  # fmt: skip


def palm(*, right: bool) -> np.ndarray:
    """`(6, 3)` of an average hand; a left one is the mirror image."""
    return RIGHT_PALM if right else RIGHT_PALM * [-1.0, 1.0, 1.0]


def palm_rotation(landmarks: np.ndarray, *, right: bool) -> np.ndarray:
    """Rotation of the palm `(T, 3, 3)` in the frame of the landmarks `(T, 21, 3)`: the average palm laid over it
    (Kabsch 1976). NaN where the landmarks are."""
    average = palm(right=right)
    theirs = np.asarray(landmarks, np.float64)[:, list(PALM)]
    found = np.full((len(theirs), 3, 3), np.nan)
    there = np.isfinite(theirs).all((1, 2))
    away = theirs[there] - theirs[there].mean(1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("tki,kj->tij", away, average - average.mean(0)))
    flip = np.ones((len(u), 1, 3))
    flip[:, 0, 2] = np.sign(np.linalg.det(u @ vt))
    found[there] = (u * flip) @ vt
    return found


def column(side: str, what: str) -> str:
    """Feature key of a hand: `what` is one of `features`."""
    return f"observation.hands.{side}.{what}"


def features(side: str) -> dict[str, Feature]:
    """Columns of one hand, in the frame of the camera that saw it (x right, y down, z forward).

    pixels: landmarks in the picture as it is stored. landmarks: the same in space. wrist: place and rotation of the
    palm, its axes as in `RIGHT_PALM`. confidence: 0 to 1, the tracker's. sigma: standard deviation of the wrist's place
    and of the palm's rotation. tracked: `ABSENT`, `SEEN` or `FILLED`; where it is absent the other columns repeat the
    nearest frame of the hand, or are zero (the quaternion's w is one) in an episode that never shows it.
    """
    quaternion = ({"start": 3, "stop": 7, "convention": "quaternion_xyzw"},)
    place = ("x", "y", "z", "qx", "qy", "qz", "qw")
    return {
        column(side, "pixels"): Feature("float32", (21, 2), role="other", unit="px"),
        column(side, "landmarks"): Feature("float32", (21, 3), role="other", unit="m"),
        column(side, "wrist"): Feature(
            "float32", (7,), place, "state", ("m", "m", "m", "1", "1", "1", "1"), info={"rotations": quaternion}
        ),
        column(side, "confidence"): Feature("float32", (1,), role="other"),
        column(side, "sigma"): Feature("float32", (2,), ("place", "rotation"), "other", ("m", "rad")),
        column(side, "tracked"): Feature("int64", (1,), role="other"),
    }


# Files of somebody else's tracks. A folder of videos that has some is their converter's, which reads both.
TRACKS = (
    "hand_tracking_results*.csv",
    "wrist_and_palm_poses*.csv",
    "*hand_pose_trajectory.jsonl",
    "hands.jsonl",
    "*.hands.jsonl",
    "mano.npz",
    "*.mano.npz",
)
_INSIDE = ("", "hand_tracking/", "mps/hand_tracking/", "mps_*_vrs/hand_tracking/")


def has_tracks(folder: Path) -> bool:
    """Whether a folder, or one of those that Project Aria makes in it, holds such files. Raises `OSError`."""
    return any(next(folder.glob(inside + name), None) is not None for inside in _INSIDE for name in TRACKS)


# Pose of the camera in a world that does not move, where it is known or was estimated: x, y, z, qx, qy, qz, qw.
# Where its places are up to scale, their unit is "1". Its quality: share of the background that agrees with it, 0 where
# the pose is that of the frame before for want of a better one.
CAMERA_POSE = "observation.camera.pose"
CAMERA_QUALITY = "observation.camera.quality"
