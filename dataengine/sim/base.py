"""What a world owes: the few things that collecting, evaluating and replaying need, whatever simulates it.

Worlds are entry points of the group `dataengine.worlds`; they are dataclasses whose fields `tasks`, `image_size`,
`cameras` and `phrasing` ("usual" or "varied") are understood by everything here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from dataengine.episode import Feature

Observation = dict[str, np.ndarray]


@runtime_checkable
class World(Protocol):
    """A place to act in. `reset` and `step` are Gymnasium's; observations are keyed like features.

    version: raised when the same seed no longer gives the same scene. fps: actions per second. features: state, cameras
    and action of a dataset of this world, with names and units. `info` holds `is_success` and `wrong_object`.
    """

    version: str
    fps: float
    embodiment: str
    tasks: tuple[str, ...]

    @property
    def features(self) -> dict[str, Feature]: ...
    @property
    def instruction(self) -> str: ...
    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]: ...
    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]: ...


class Kinematics(NamedTuple):
    """For solvers of inverse kinematics: a MuJoCo model with the arm in it, the names of the arm's joints in the order
    of the state, and the name of the site that is the tool."""

    model: Any
    joints: tuple[str, ...]
    site: str


@runtime_checkable
class LiveWorld(World, Protocol):
    """A world that a person can act in while it runs: physics, sensing and drawing can be had one by one.

    Physics belongs to one thread; `render` may be called from any, and draws a `still` while physics goes on.
    """

    @property
    def joint_names(self) -> tuple[str, ...]: ...
    @property
    def joint_limits(self) -> np.ndarray:
        """`(J, 2)` lower and upper [rad]."""
        ...

    @property
    def kinematics(self) -> Kinematics | None:
        """None where the world is not MuJoCo's."""
        ...

    def advance(self, action: np.ndarray) -> None:
        """The physics of one step alone: no picture, no verdict, no clock."""
        ...

    def observe_state(self) -> Observation:
        """The observation without pictures."""
        ...

    def hold_action(self) -> np.ndarray:
        """The action that keeps the arm where it is and the gripper's grip as it was told."""
        ...

    def verdict(self) -> tuple[float, dict[str, Any]]:
        """Progress, 0 to 1, and `info` as of now."""
        ...

    def still(self) -> Any:
        """A small, picklable copy of what is needed to draw this instant."""
        ...

    def render(self, camera: str, size: int, still: Any = None, what: str = "rgb") -> np.ndarray:
        """A picture of a still, or of now: `(size, size, 3)` uint8, or with `what="depth"` `(size, size, 1)` [m]."""
        ...

    def snapshot(self) -> Any:
        """The whole state, picklable; `restore` goes on from it exactly as this world would have."""
        ...

    def restore(self, snapshot: Any) -> None: ...


@dataclass(frozen=True)
class Demonstration:
    """One attempt of a world's expert. columns: `(T, …)` by feature key; pictures: `(T, H, W, 3)` uint8 by camera key.

    features: of every column and camera. extra: JSON-able particulars of the attempt.
    """

    features: Mapping[str, Feature]
    columns: Mapping[str, np.ndarray]
    pictures: Mapping[str, np.ndarray]
    instruction: str
    success: bool
    extra: Mapping[str, Any]


@runtime_checkable
class ExpertWorld(World, Protocol):
    """A world that can show how its tasks are done."""

    def demonstrate(self, seed: int, task: str, *, noise: float, recovery: float, attempt: int = 0) -> Demonstration:
        """Do a task in the scene of a seed; the same arguments give the same demonstration bit for bit.

        noise: standard deviation [m] of what is added to the carried-out action while the clean one is stored.
        recovery: the chance that the attempt shows the way out of a failure. attempt: another try in the same scene.
        """
        ...


@runtime_checkable
class Privileged(Protocol):
    """A policy that looks into the simulator: evaluation lets it into the world before the first attempt."""

    def enter(self, world: Any) -> None: ...


@runtime_checkable
class Declared(Protocol):
    """A policy that says what its actions are, so that a world in which the same numbers mean something else is
    refused. fps: actions per second."""

    @property
    def action(self) -> Feature: ...
    @property
    def fps(self) -> float: ...
