"""What a robot and a device owe to whoever lets one drive the other, whatever stands behind them.

Robots and devices are entry points of the groups `dataengine.robots` and `dataengine.devices`: dataclasses whose fields
are their parameters. All times are `time.monotonic()` seconds of the process that runs the control loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dataengine.episode import Feature


@dataclass(frozen=True)
class Sample:
    """One reading of one sensor or camera. value: as its feature says; pictures `(H, W, 3)` uint8 RGB, depth
    `(H, W, 1)` float32 metres. time: when it was captured, not when it was asked for."""

    value: np.ndarray
    time: float


@dataclass(frozen=True)
class Command:
    """What a device wants now; exactly one of action, twist and pose is given.

    action: `(A,)` in the robot's own action space (leader arms, policies, the expert). twist: `(6,)` velocity of the
    tool, linear [m/s] and angular [rad/s], in the robot's base frame. pose: `(7,)` where the tool shall be, position
    [m] and quaternion w x y z in the base frame. gripper: opening, 0 closed to 1 open, with twist or pose; None leaves
    it. engaged: False while the person wants the robot to stay (the clutch is open, no key is down).
    time: when the person or program gave it; what is older than the dead-man's time holds the robot.
    """

    time: float
    action: np.ndarray | None = None
    twist: np.ndarray | None = None
    pose: np.ndarray | None = None
    gripper: float | None = None
    engaged: bool = True
    extra: Mapping[str, Any] | None = None


@runtime_checkable
class Robot(Protocol):
    """A body that senses and can be told where to go. A subclass's parameters are its fields.

    features: state (`observation.*`), cameras and `action` of a dataset of this robot, with names and units. fps: the
    rate it wants to be driven at.
    """

    name: str
    embodiment: str
    fps: float

    @property
    def features(self) -> Mapping[str, Feature]: ...

    def connect(self) -> None:
        """Open it, check calibration and limits, move nothing. Raises `RobotError` with what to do."""
        ...

    def observe(self) -> Mapping[str, Sample]:
        """The newest sample of every observation feature, by key; waits for no camera. Raises `RobotError` when the
        body does not answer; a camera that has nothing new gives its last sample again, with its old time."""
        ...

    def act(self, action: np.ndarray) -> np.ndarray:
        """Send `(A,)` float32; gives what was really sent after the robot's own limits. Does not wait for it."""
        ...

    def hold(self) -> np.ndarray:
        """Stay where it is now, with torque on; gives the action that does so. Must work at any time."""
        ...

    def disconnect(self) -> None:
        """Let go of the hardware. Never raises; may be called twice."""
        ...


@runtime_checkable
class Resettable(Robot, Protocol):
    """A robot in a simulated world: a scene can be laid out anew, and the world knows whether a task is done."""

    @property
    def instruction(self) -> str: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    def reset(self, seed: int, task: str | None = None) -> None: ...
    def verdict(self) -> Mapping[str, Any]:
        """`success` bool, `progress` 0 to 1, `wrong_object` bool, of the present moment."""
        ...


@dataclass(frozen=True)
class Kinematics:
    """What Cartesian control needs of an arm. model: an `mujoco.MjModel`. joints: names of the arm's joints in it, in
    the order of the action. site: name of the tool's site. state: keys or names under which the measured joint angles
    stand in `observation.state`. gripper: name of the gripper's element of the action. speed, acceleration: limits of
    every joint [rad/s, rad/s²]. pose_actions: whether the robot's action is a tool pose and not joint angles.

    elements: what state and action call the joints, where not as the model does (`.pos` may follow). zeros, signs: what
    each measures where the model's angle is 0, and which way it counts. gripper_range: its element closed and open;
    else the action's limits.
    """

    model: Any
    joints: tuple[str, ...]
    site: str
    gripper: str | None = None
    speed: float = 1.5
    acceleration: float = 6.0
    pose_actions: bool = False
    elements: tuple[str, ...] = ()
    zeros: tuple[float, ...] = ()
    signs: tuple[float, ...] = ()
    gripper_range: tuple[float, float] | None = None


@runtime_checkable
class Kinematic(Robot, Protocol):
    """A robot that can be driven by tool twists and poses."""

    @property
    def kinematics(self) -> Kinematics: ...


@runtime_checkable
class Device(Protocol):
    """What a person, or a program in their place, drives with. name: of the kind (keyboard, gamepad, …)."""

    name: str

    def start(self, robot: Robot) -> None:
        """Get ready to drive this robot. Raises `RobotError` where it cannot (a leader with other joints)."""
        ...

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command | None:
        """The newest command, at once; None where there never was one. Called once per tick of the loop."""
        ...

    def stop(self) -> None:
        """Never raises; may be called twice."""
        ...
