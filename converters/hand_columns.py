"""From somebody else's tracks of a hand to the columns of an episode: landmarks in the frame of the camera become
pixels, the palm's pose, how sure that is, and the nearest frame wherever there is no hand.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.episode import Feature
from dataengine.guard import sha256_file
from dataengine.video import VideoInfo, lerobot_info

CAMERA = "observation.images.ego"
MOST_FRAMES = 1_000_000
SURE = 0.3  # confidence of a tracker below which a hand counts as absent
NEAREST = 0.01  # [m] before the camera; what is closer or behind it has no place in the picture
SIGMA, TURN = 0.01, 0.1  # [m], [rad]: nobody says how good the tracking is
DRIFT, TURNING = 0.15, 1.0  # [m/s], [rad/s] by which a bridged gap grows less sure, away from what was seen
UNSAID = "the files do not say how sure places [m] and rotations [rad] are"


def features(info: VideoInfo, *, moving: bool = True) -> dict[str, Feature]:
    """The picture, both hands and, where it is known, the pose of the moving camera."""
    size = (info.height, info.width, 3)
    found = {CAMERA: Feature("video", size, ("height", "width", "channels"), "image", info=lerobot_info(info))}
    found |= {key: feature for side in hands.SIDES for key, feature in hands.features(side).items()}
    if moving:
        found[hands.CAMERA_POSE] = Feature(
            "float32",
            (7,),
            ("x", "y", "z", "qx", "qy", "qz", "qw"),
            "other",
            ("m", "m", "m", "1", "1", "1", "1"),
            info={"rotations": ({"start": 3, "stop": 7, "convention": "quaternion_xyzw"},)},
        )
    return found


def seen_from(camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points `(T, n, 3)` of the frame that the poses `(T, 4, 4)` or `(1, 4, 4)` are in, in the frame of each pose."""
    return (points - camera[:, None, :3, 3]) @ camera[:, :3, :3]


def camera_column(camera: np.ndarray) -> np.ndarray:
    """`(T, 7)` float32 of poses `(T, 4, 4)`: x, y, z [m], quaternion x, y, z, w without jumps of sign."""
    return np.concatenate([camera[:, :3, 3], _quaternions(camera[:, :3, :3])], 1).astype(np.float32)


def hand_columns(
    side: str,
    points: np.ndarray,
    tracked: np.ndarray,
    confidence: np.ndarray,
    matrix: np.ndarray,
    wait: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The columns of `hands.features(side)`.

    points: `(T, 21, 3)` landmarks in the camera's frame [m]. tracked: `(T,)` as in `hands`; a hand that is not before
    the camera becomes absent. confidence: `(T,)`, 0 to 1. matrix: `(3, 3)` of a pinhole. wait: `(T,)` seconds to the
    nearest sample of the tracker, 0 by default.
    """
    tracked = np.where((points[..., 2] > NEAREST).all(1), tracked, hands.ABSENT)
    there = tracked != hands.ABSENT
    known = np.flatnonzero(there)
    wrist = np.tile([0.0] * 6 + [1.0], (len(points), 1))
    pixels = np.zeros((len(points), 21, 2))
    if len(known):
        points = points[nearest(known, len(points))]
        pixels = points[..., :2] / points[..., 2:] * (matrix[0, 0], matrix[1, 1]) + (matrix[0, 2], matrix[1, 2])
        turn = _quaternions(hands.palm_rotation(points, right=side == "right"))
        wrist = np.concatenate([points[:, hands.WRIST], turn], 1)
    else:
        points = np.zeros_like(points)
    waited = np.zeros(len(points)) if wait is None else np.where(there, wait, 0.0)
    unsure = np.stack([np.hypot(SIGMA, DRIFT * waited), np.hypot(TURN, TURNING * waited)], 1)
    sigma = np.where(there[:, None], unsure, 0.0)
    found = {"pixels": pixels, "landmarks": points, "wrist": wrist, "sigma": sigma, "confidence": confidence}
    columns = {hands.column(side, what): values.astype(np.float32) for what, values in found.items()}
    return columns | {hands.column(side, "tracked"): tracked.astype(np.int64)}


def nearest(known: np.ndarray, count: int) -> np.ndarray:
    """`(count,)`: of the ascending numbers `known`, the one nearest to each frame; the earlier of two."""
    at = np.arange(count)
    after = np.clip(np.searchsorted(known, at), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(abs(at - known[before]) <= abs(known[after] - at), known[before], known[after])


def _quaternions(turn: np.ndarray) -> np.ndarray:
    """`(T, 4)` x, y, z, w of rotations `(T, 3, 3)`."""
    found = Rotation.from_matrix(turn).as_quat()
    found[1:] *= np.cumprod(np.where((found[1:] * found[:-1]).sum(1) < 0, -1, 1))[:, None]
    return found


@lru_cache(maxsize=4096)
def _hashed(path: Path, changed: int, size: int) -> str:
    return sha256_file(path)


def sha256(path: Path) -> str:
    """Of a file's bytes, read once while it does not change."""
    status = path.stat()
    return _hashed(path, status.st_mtime_ns, status.st_size)
