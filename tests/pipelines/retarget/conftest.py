"""Hands that do what a tool did: the truth from which retargeting has to find the tool again."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.episode import Episode, Feature, Meta
from pipelines.retarget.hand import Poses
from pipelines.retarget.pose import USUAL

CENTRE = np.array([0.02, 0.12, 0.045])  # of the pinch, in the palm's frame [m]


def minimum_jerk(frames: int) -> np.ndarray:
    s = np.linspace(0, 1, frames)
    return 10 * s**3 - 15 * s**4 + 6 * s**5


def tool_path(frames: int = 90, seed: int = 0, turn: float = 0.6) -> Poses:
    """A smooth way of some decimetres and less than a half turn, in a base frame."""
    rng = np.random.default_rng(seed)
    share = minimum_jerk(frames)[:, None]
    point = rng.uniform(-0.1, 0.1, 3) + [0.3, 0.0, 0.2] + share * rng.uniform(-0.15, 0.15, 3)
    way = Rotation.from_rotvec(share * rng.uniform(-turn, turn, 3))
    return Poses(point, (way * Rotation.random(random_state=seed)).as_matrix())


def hand_of(tool: Poses, distance: np.ndarray, side: str, in_palm: np.ndarray = USUAL) -> tuple[np.ndarray, Poses]:
    """Landmarks `(T, 21, 3)` and wrist of a hand whose pinch is the tool; tips `distance` `(T,)` apart. in_palm: the
    tool's axes in the palm's frame."""
    approach, jaw = in_palm[:, 0], in_palm[:, 1]
    still = np.zeros((21, 3))
    still[list(hands.PALM)] = hands.palm(right=side == "right")
    for parent, child, length in hands.PHALANGES:
        still[child] = still[parent] + [0.0, length, 0.0]
    within = np.repeat(still[None], len(distance), 0)
    within[:, 4] = CENTRE - 0.5 * distance[:, None] * jaw
    within[:, 8] = CENTRE + 0.5 * distance[:, None] * jaw
    within[:, 2] = 2 * (CENTRE - 0.07 * approach) - still[5]
    turn = tool.turn @ in_palm.T
    wrist = Poses(tool.point - turn @ CENTRE, turn)
    return wrist.point[:, None] + within @ turn.swapaxes(1, 2), wrist


def episode_of(
    tool: Poses,
    distance: np.ndarray | float = 0.06,
    *,
    sides: tuple[str, ...] = ("right",),
    camera: Poses | None = None,
    tracked: np.ndarray | None = None,
    sigma: np.ndarray | float = 0.01,
    in_palm: np.ndarray = USUAL,
    fps: float = 30.0,
    moving: bool = False,
) -> Episode:
    """Hands in front of a camera whose poses in the base frame are `camera`; `moving` writes them down."""
    frames = len(tool.point)
    distance = np.broadcast_to(np.asarray(distance, np.float64), frames)
    seen = tool if camera is None else tool.seen_from(camera.inverse())
    features, columns = {}, {}
    for side in sides:
        landmarks, wrist = hand_of(seen, distance, side, in_palm)
        features |= hands.features(side)
        place = np.concatenate([wrist.point, Rotation.from_matrix(wrist.turn).as_quat()], 1)
        values = {
            "pixels": np.zeros((frames, 21, 2)),
            "landmarks": landmarks,
            "wrist": place,
            "confidence": np.ones(frames),
            "sigma": np.broadcast_to(np.asarray(sigma, np.float64)[..., None], (frames, 2)),
            "tracked": np.full(frames, hands.SEEN) if tracked is None else tracked,
        }
        columns |= {
            hands.column(side, part): np.ascontiguousarray(v, np.int64 if part == "tracked" else np.float32)
            for part, v in values.items()
        }
    if moving and camera is not None:
        features[hands.CAMERA_POSE] = Feature("float32", (7,), role="other")
        quaternions = Rotation.from_matrix(camera.turn).as_quat()
        columns[hands.CAMERA_POSE] = np.concatenate([camera.point, quaternions], 1).astype(np.float32)
    return Episode("made", fps, features, columns, meta=Meta(tasks=("do it",), embodiment="human")).check()


def pose_numbers(pose: Poses) -> tuple[float, ...]:
    """The first of them, as parameters write it."""
    return (*pose.point[0].tolist(), *Rotation.from_matrix(pose.turn[0]).as_quat().tolist())


def some_pose(seed: int) -> Poses:
    rng = np.random.default_rng(seed)
    return Poses(rng.uniform(-1, 1, (1, 3)), Rotation.random(1, random_state=seed).as_matrix())


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between rotations `(T, 3, 3)` [rad]."""
    return Rotation.from_matrix(a.swapaxes(-1, -2) @ b).magnitude()


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    parts = (minimum_jerk, tool_path, hand_of, episode_of, pose_numbers, some_pose, angle)
    return SimpleNamespace(**{part.__name__: part for part in parts})
