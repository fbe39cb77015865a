"""State and action of one stretch of an episode: which blocks they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dataengine.episode import Feature
from pipelines.retarget.actions import (
    BASE,
    CAMERA,
    GRIPPER,
    PALM,
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
from pipelines.retarget.motion import Motion
from pipelines.retarget.rotations import Convention


@dataclass(frozen=True)
class Writing:
    """What is written of a stretch.

    kind: of the action. rotation: how poses are written. binary: whether the action's gripper is 0 or 1. grippers: of a
    robot, by side: unit, closed, open. joints: of a robot, by side: their names and units. based: whether poses are in
    a robot's base frame.
    """

    kind: Kind
    rotation: Convention
    binary: bool
    space: Literal["gripper", "hand"]
    based: bool
    joints: Mapping[str, tuple[tuple[str, ...], list[str]]]
    grippers: Mapping[str, tuple[str, float, float]]

    def columns(
        self, motions: Mapping[str, Motion], followed: Mapping[str, Followed], start: int, stop: int
    ) -> tuple[dict[str, Feature], dict[str, np.ndarray]]:
        """Features and columns of frames `start` to `stop` (exclusive)."""
        blocks: list[Block] = []
        for side, motion in motions.items():
            prefix = f"{side}_" if len(motions) > 1 else ""
            if self.space == "hand":
                blocks += self._hand(prefix, motion, start, stop)
                continue
            if side in followed:
                names, units = self.joints[side]
                told = [f"{'' if name.startswith(side) else prefix}{name}.pos" for name in names]
                blocks.append(plain_block(told, units, followed[side].joints[start:stop], self.kind))
            else:
                tool = motion.tool.cut(start, stop)
                blocks.append(pose_block(f"{prefix}ee", tool, next_poses(tool), self.rotation, self._frame, self.kind))
            blocks.append(self._gripper(prefix, side, motion, start, stop))
        return columns(blocks, self.kind, None if followed else self._frame)

    @property
    def _frame(self) -> Frame:
        if self.space == "hand":
            return PALM
        return BASE if self.based else CAMERA

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
