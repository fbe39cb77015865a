"""What an arm is: a body of primitives, names and limits of its joints, and kinematics in closed form.

Frame: the robot base, x forward over the table, y to the left, z up, origin on the table top below the first joint; it
is also the world frame. Units: m, rad, s, kg. The tool frame is the site `ee`, the point midway between the finger
pads: its x axis is where the fingers point, its y axis the direction in which they open.

A pose is what an arm can be told of its tool: first the point x, y, z, last the yaw, between them what tilt the arm can
give it. Yaw is the turn of the opening direction about z (0: along y).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from dataengine.sim.arms.hand import GRIPPER

# The tool pointing straight down with its jaw along y: columns are the tool's axes in the base frame.
DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class Arm(ABC):
    """An arm with `J` joints whose tool is told poses `(P,)`.

    joint_range: lower and upper limit of each joint [rad]. pose_low, pose_high: the box `reachable` draws poses into.
    tilts: whether the tool can be told to point elsewhere than down.
    """

    name: ClassVar[str]
    embodiment: ClassVar[str]
    joints: ClassVar[tuple[str, ...]]
    joint_range: ClassVar[tuple[tuple[float, float], ...]]
    pose_names: ClassVar[tuple[str, ...]]
    pose_units: ClassVar[tuple[str, ...]]
    pose_low: ClassVar[np.ndarray]
    pose_high: ClassVar[np.ndarray]
    tilts: ClassVar[bool]
    rotation: ClassVar[str]

    @abstractmethod
    def body_xml(self) -> str:
        """The arm's body tree, to stand inside `<worldbody>`; ends in the body `hand`."""

    @abstractmethod
    def servos_xml(self) -> str:
        """One `<position>` servo for every joint, in order; controls are target angles."""

    @abstractmethod
    def forward(self, joints: np.ndarray) -> np.ndarray:
        """Tool poses `(..., P)` for joint angles `(..., J)`."""

    @abstractmethod
    def inverse(self, pose: np.ndarray) -> np.ndarray:
        """Joint angles `(..., J)` that bring the tool to poses `(..., P)`.

        Raises `ConfigError` for a pose out of reach; `reachable` gives one within.
        """

    @abstractmethod
    def reachable(self, pose: np.ndarray) -> np.ndarray:
        """The pose `(P,)` drawn into the box, the arm's reach and its joint limits; unchanged where it is within."""

    @abstractmethod
    def measured(self, joints: np.ndarray, point: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """The pose `(P,)` of a tool that is at `point` `(3,)` with the axes `rotation` `(3, 3)`."""

    @abstractmethod
    def upright(self, place: np.ndarray) -> np.ndarray:
        """The pose `(P,)` of a tool that points straight down at `(x, y, z, yaw)`."""

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        return (*self.pose_names, GRIPPER)

    @cached_property
    def action_units(self) -> tuple[str, ...]:
        return (*self.pose_units, "1")

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        return (*(f"{joint}.pos" for joint in self.joints), *self.action_names)

    @cached_property
    def state_units(self) -> tuple[str, ...]:
        return (*("rad",) * len(self.joints), *self.action_units)

    @cached_property
    def action_low(self) -> np.ndarray:
        return np.append(self.pose_low, 0.0).astype(np.float32)

    @cached_property
    def action_high(self) -> np.ndarray:
        return np.append(self.pose_high, 1.0).astype(np.float32)

    def range_xml(self, joint: int) -> str:
        """A joint's range as an attribute's value."""
        low, high = self.joint_range[joint]
        return f"{low} {high}"
