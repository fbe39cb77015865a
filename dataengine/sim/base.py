"""What a world owes: the few things that collecting, evaluating and replaying need, whatever simulates it.

Worlds are entry points of the group `dataengine.worlds`; they are dataclasses whose fields `tasks`, `image_size`,
`cameras` and `phrasing` ("usual" or "varied") are understood by everything here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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
