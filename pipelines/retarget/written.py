"""State and action of one stretch of an episode: which blocks they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from dataengine.episode import Feature
from pipelines.retarget.actions import (
    BASE,
    CAMERA,
    GRIPPER,
    PALM,
    PALM_IN_BASE,
    Block,
    Frame,
    Kind,
    columns,
    gripper_block,
    landmark_block,
    next_poses,
    plain_block,
    pose_block,
    wrist_targets,
)
from pipelines.retarget.arm import Followed
from pipelines.retarget.hand import Poses
from pipelines.retarget.motion import Motion
from pipelines.retarget.rotations import Convention

if TYPE_CHECKING:
    from pipelines.retarget.fingers import Fingered

Space = Literal["gripper", "hand", "dexterous"]


class Joints(NamedTuple):
    """Of an arm or of fingers. units: of each, rad or m."""

    names: Sequence[str]
    units: Sequence[str]


@dataclass(frozen=True)
class Writing:
    """What is written of a stretch.

    kind: of the action. rotation: how poses are written. binary: whether the action's gripper is 0 or 1. based: whether
    poses are in a robot's base frame. Of a robot, by side: arms, fingers, the names and units of their joints;
    grippers, their unit, closed, open; palms, one pose of its hand's in the frame of a human palm.
    """

    kind: Kind
    rotation: Convention
    binary: bool
    space: Space
    based: bool
    arms: Mapping[str, Joints]
    grippers: Mapping[str, tuple[str, float, float]]
    fingers: Mapping[str, Joints]
    palms: Mapping[str, Poses]

    def columns(
        self,
        motions: Mapping[str, Motion],
        followed: Mapping[str, Followed],
        fingered: Mapping[str, Fingered],
        start: int,
        stop: int,
    ) -> tuple[dict[str, Feature], dict[str, np.ndarray]]:
        """Features and columns of frames `start` to `stop` (exclusive)."""
        blocks: list[Block] = []
        for side, motion in motions.items():
            prefix = f"{side}_" if len(motions) > 1 else ""
            if self.space == "hand":
                blocks += self._hand(prefix, motion, start, stop)
                continue
            if side in followed:
                blocks.append(self._joints(prefix, side, self.arms[side], followed[side].joints[start:stop]))
            else:
                tool, frame = motion.tool.cut(start, stop), self._frame(side)
                stem = f"{prefix}{'ee' if self.space == 'gripper' else 'wrist'}"
                blocks.append(pose_block(stem, tool, next_poses(tool), self.rotation, frame, self.kind))
            if side in fingered:
                blocks.append(self._joints(prefix, side, self.fingers[side], fingered[side].joints[start:stop]))
            else:
                blocks.append(self._gripper(prefix, side, motion, start, stop))
        return columns(blocks, self.kind, None if followed else self._frame(next(iter(motions))))

    def _frame(self, side: str) -> Frame:
        if self.space == "hand":
            return PALM
        if self.space == "gripper":
            return BASE if self.based else CAMERA
        frame = PALM_IN_BASE if self.based else PALM
        return frame._replace(reference=frame.reference @ self.palms[side].turn[0])

    def _joints(self, prefix: str, side: str, joints: Joints, values: np.ndarray) -> Block:
        told = [f"{'' if name.startswith(side) else prefix}{name}.pos" for name in joints.names]
        return plain_block(told, joints.units, values, self.kind)

    def _hand(self, prefix: str, motion: Motion, start: int, stop: int) -> list[Block]:
        wrist = motion.hand.wrist.cut(start, stop)
        cameras = None if motion.cameras is None else motion.cameras.cut(start, stop)
        targets = wrist_targets(wrist, cameras)
        return [
            pose_block(f"{prefix}wrist", wrist, targets, self.rotation, PALM, self.kind),
            landmark_block(prefix, motion.hand.landmarks[start:stop], wrist, self.kind),
        ]

    def _gripper(self, prefix: str, side: str, motion: Motion, start: int, stop: int) -> Block:
        unit, closed, opened = self.grippers.get(side, ("1", 0.0, 1.0))
        opening = motion.opening[start:stop]
        told = 1.0 - motion.closed[start:stop] if self.binary else opening
        here, there = (closed + share * (opened - closed) for share in (opening, told))
        return gripper_block(f"{prefix}{GRIPPER}", unit, here, there)
