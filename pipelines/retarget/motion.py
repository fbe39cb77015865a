"""What one hand makes a parallel gripper do, over a whole episode and before it is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import ConfigError, EpisodeError
from pipelines.retarget import gripper
from pipelines.retarget.hand import Hand, Poses, read_hand
from pipelines.retarget.person import known_pinch
from pipelines.retarget.placing import (
    camera_lost,
    camera_poses,
    cameras_in_base,
    check_first,
    check_pose,
    down_to,
    in_workspace,
    up_to_scale,
)
from pipelines.retarget.pose import Orientation, Place, tool_poses


class Motion(NamedTuple):
    """One side over `T` frames. cameras: where the camera is in its world, None where it stands still; lost: `(T,)`
    bool, where nothing says it. nearer: times the distances from the camera, by the table. tool: its poses in the
    base frame, or those of the palm of a robot's hand. opening: `(T,)` 0 to 1; closed: `(T,)` bool. calibration: of the
    gripper."""

    hand: Hand
    cameras: Poses | None
    lost: np.ndarray
    nearer: float
    tool: Poses
    opening: np.ndarray
    closed: np.ndarray
    calibration: gripper.Calibration


@dataclass(frozen=True)
class Reading:
    """How a hand is read as a gripper; every field has a default.

    place: of the tool, the middle between the tips of thumb and index or the wrist. orientation: of the pinch, or
    constant in the palm. offset: from there in the tool's axes [m]. camera: pose of the camera in the base frame, at
    the video's first frame where it moves: x, y, z [m], qx, qy, qz, qw; without it the camera at the episode's first
    frame is the frame of reference. world: instead, the pose in the base frame of the world in which the episode
    places its camera. turns_only: of a camera whose path is known up to scale alone, how it turned is used, as if it
    had turned where it stood; without it such an episode is refused. table: height [m] in the base frame of a surface
    that the fingertips come down to somewhere in the clip: distances from the camera are scaled so that they do.
    scale: of places about the base's origin; shift: added then [m]. closed_at, open_at: distance of the tips over
    wrist to middle knuckle where the gripper is closed and open, if it is known of the person. close_below,
    open_above: openings between which the gripper stays what it is; what is held while the hand shows a narrower
    pinch elsewhere needs higher ones.
    """

    place: Place = "pinch"
    orientation: Orientation = "pinch"
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    camera: tuple[float, ...] | None = None
    world: tuple[float, ...] | None = None
    turns_only: bool = False
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    table: float | None = None
    closed_at: float | None = None
    open_at: float | None = None
    close_below: float = 0.1
    open_above: float = 0.2

    def __post_init__(self) -> None:
        check_pose(self.camera, "retarget.camera")
        check_pose(self.world, "retarget.world")
        if self.camera is not None and self.world is not None:
            raise ConfigError("retarget: either camera or world is given, not both")
        for what, point in (("offset", self.offset), ("shift", self.shift)):
            if len(point) != 3 or not np.isfinite(point).all():
                raise ConfigError(f"retarget.{what}: three numbers [m], not {list(point)}")
        if self.table is not None and not (self.based and np.isfinite(self.table)):
            raise ConfigError("retarget.table: a height [m] in the base frame, which needs camera or world")
        if not 0 < self.scale < np.inf:
            raise ConfigError(f"retarget.scale: {self.scale} is not above 0")
        if not 0 <= self.close_below <= self.open_above <= 1:
            raise ConfigError(
                f"retarget: close_below {self.close_below} and open_above {self.open_above} lie in this order in 0 to 1"
            )
        given = [at for at in (self.closed_at, self.open_at) if at is not None]
        if any(not 0 <= at < np.inf for at in given) or given != sorted(set(given)):
            raise ConfigError(f"retarget: closed_at {self.closed_at} is below open_at {self.open_at}, both from 0")

    @property
    def based(self) -> bool:
        """Whether poses are in a robot's base frame, not in a camera's."""
        return self.camera is not None or self.world is not None

    def motion(self, episode: Episode, side: str, palm: Poses | None = None) -> Motion:
        """palm: of a robot's hand, one pose in the frame of a human palm; the tool is a gripper's without it.

        Raises `EpisodeError` where the episode lacks a column or holds another thing in it, and where nobody knows the
        camera's pose that `camera` is.
        """
        hand, cameras, lost = read_hand(episode, side), camera_poses(episode), camera_lost(episode)
        if self.camera is not None and cameras is not None:
            check_first(cameras, lost, episode)
        if up_to_scale(episode) and not self.turns_only:
            raise EpisodeError(
                episode.id,
                "the camera's path is known up to scale alone: turns_only uses how it turned and not where it went",
                feature=hands.CAMERA_POSE,
            )
        if palm is None:
            seen = tool_poses(hand, self.place, self.orientation, self.offset)
        else:
            seen = palm.seen_from(hand.wrist)
            seen = Poses(seen.point + seen.turn @ np.asarray(self.offset, np.float64), seen.turn)
        nearer = 1.0
        placed = cameras_in_base(cameras, self.camera, self.world, episode)
        if self.table is not None:
            nearer = down_to(self.table, hand, placed, lost, episode)
            seen = Poses(nearer * seen.point, seen.turn)
        tool = in_workspace(seen.seen_from(placed), self.scale, self.shift)
        distance = gripper.pinch(hand.landmarks)
        shown = known_pinch(episode, side)
        calibration = gripper.calibrate(distance, hand.seen, hand.size, self.closed_at, self.open_at, shown)
        opening = gripper.opening(distance, hand.there, calibration)
        closed = gripper.is_closed(opening, hand.there, self.close_below, self.open_above)
        return Motion(hand, cameras, lost, nearer, tool, opening, closed, calibration)
