"""From the camera's frame to the one that actions are in."""

from __future__ import annotations

import numpy as np

from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import ConfigError, EpisodeError
from pipelines.retarget.hand import Hand, Poses, poses_of

FINGER = 0.008  # [m] from a fingertip's landmark to its skin
LOWEST = 0.03  # quantile of the frames that stands for the lowest: outliers of a tracker are rarer
NEARER = (0.75, 1.33)  # times the distance: what a camera may be wrong by


def camera_poses(episode: Episode) -> Poses | None:
    """Where the camera is in its world, `(T, …)`; None where the episode does not say, which is: it stands still. Of a
    path whose scale nobody knows the turns alone: it says nothing in metres."""
    if hands.CAMERA_POSE not in episode.frames:
        return None
    column = np.asarray(episode.frames[hands.CAMERA_POSE])
    if column.shape != (episode.length, 7):
        raise EpisodeError(episode.id, f"has shape {column.shape}, a frame of it is (7,)", feature=hands.CAMERA_POSE)
    poses = poses_of(column, episode.id, hands.CAMERA_POSE)
    return Poses(np.zeros_like(poses.point), poses.turn) if up_to_scale(episode) else poses


def camera_lost(episode: Episode) -> np.ndarray:
    """`(T,)` bool: nothing says where the camera is, and its pose only stands there for want of a better one."""
    if hands.CAMERA_POSE not in episode.frames or hands.CAMERA_QUALITY not in episode.frames:
        return np.zeros(episode.length, bool)
    quality = np.asarray(episode.frames[hands.CAMERA_QUALITY])
    if quality.size != episode.length:
        raise EpisodeError(
            episode.id, f"has shape {quality.shape}, a frame of it is (1,)", feature=hands.CAMERA_QUALITY
        )
    return quality.reshape(-1) == 0


def up_to_scale(episode: Episode) -> bool:
    """Whether the camera went somewhere, and nobody knows how many metres."""
    feature = episode.features.get(hands.CAMERA_POSE)
    unit = feature.unit if feature is not None else None
    return unit is not None and unit[0] == "1" and bool(np.asarray(episode.frames[hands.CAMERA_POSE])[:, :3].any())


def cameras_in_base(
    moving: Poses | None, camera: tuple[float, ...] | None, world: tuple[float, ...] | None, episode: Episode
) -> Poses:
    """Where the camera is in the base frame, of one frame or of `T`.

    camera: its pose in the base frame at the first frame; None: that pose is the base. world: the pose in the
    base frame of the world that `hands.CAMERA_POSE` is in. Raises `EpisodeError` where `world` is given and the episode
    does not say where the camera is.
    """
    if world is not None and moving is None:
        raise EpisodeError(episode.id, "a pose of the world needs this column", feature=hands.CAMERA_POSE)
    fixed = as_pose(world or camera or (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    if moving is None:
        return fixed
    return moving.seen_from(fixed if world is not None else moving.cut(0, 1).inverse().seen_from(fixed))


def in_workspace(poses: Poses, scale: float, shift: tuple[float, float, float]) -> Poses:
    """Points grown about the origin of the frame, then shifted [m]."""
    return Poses(scale * poses.point + np.asarray(shift, np.float64), poses.turn)


def check_first(moving: Poses, lost: np.ndarray, episode: Episode) -> None:
    """Raises `EpisodeError` where a camera's pose is given for the first frame of its video, and nobody knows how it
    went on from there: nothing says where it was then, or that frame was cut away before."""
    if not np.ptp(moving.point, axis=0).any() and not np.ptp(moving.turn, axis=0).any():
        return
    instead = "give `world`, the pose of the world in which the camera is placed, instead of `camera`"
    if any(step.name == "slice" and step.params.get("start") for step in episode.meta.lineage):
        why = f"its camera moves, and where it began, which `camera` is the pose of, was cut away: {instead}"
        raise EpisodeError(episode.id, why, feature=hands.CAMERA_POSE)
    if lost[0]:
        why = f"nothing says where the camera was in the first frame, which `camera` is the pose of: {instead}"
        raise EpisodeError(episode.id, why, feature=hands.CAMERA_QUALITY, frame=0)


def down_to(table: float, hand: Hand, cameras: Poses, lost: np.ndarray, episode: Episode) -> float:
    """By what distances from the camera are to be multiplied for the fingertips' lowest to be on the table, which is
    at this height in the base. cameras: in the base, of one frame or of `T`; lost: `(T,)` bool, where nothing says it.

    Raises `EpisodeError` where that would be another distance altogether: the hand stays away from the table.
    """
    tips = hand.landmarks[:, list(hands.TIPS)]
    up = np.broadcast_to(cameras.turn[:, 2], (len(tips), 3))  # the base's, along the camera's axes
    below = np.einsum("tj,tkj->tk", up, tips).min(1)  # how much lower than the camera, negative [m]
    wanted = (table + FINGER - cameras.point[:, 2]) / below
    seen = hand.seen & ~lost & (below < 0)
    scale = float(np.quantile(np.broadcast_to(wanted, below.shape)[seen], LOWEST)) if seen.any() else 0.0
    if not NEARER[0] <= scale <= NEARER[1]:
        raise EpisodeError(
            episode.id, f"its hand does not come down to the table: that would be {scale:.2f} times its distance"
        )
    return scale


def as_pose(values: tuple[float, ...]) -> Poses:
    """One pose `(1, …)` of x, y, z [m], qx, qy, qz, qw."""
    return poses_of(np.array([values]), "", "")


def check_pose(values: tuple[float, ...] | None, where: str) -> None:
    """Raises `ConfigError` unless it is a place and a quaternion of some length."""
    if values is None:
        return
    if len(values) != 7 or not np.isfinite(values).all() or np.linalg.norm(values[3:]) < 1e-6:
        raise ConfigError(f"{where}: a pose is x, y, z [m], qx, qy, qz, qw, not {list(values)}")
