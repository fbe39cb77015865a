"""What a task is: an instruction, when it is done, when it has gone wrong, and how far along it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from dataengine.sim.scene import COLOURS, Scene

LIFTED = 0.03  # [m] a held cube whose centre has risen by this much counts as picked up


@dataclass(frozen=True)
class Task(ABC):
    """Something to do with one of the cubes. A subclass owes the three measures below.

    target: colour of the cube that is meant. `kind` names the task, `templates` hold the ways to say it (the first
    is the usual one), `max_steps` is how long an attempt may last at 10 Hz.
    """

    target: str

    kind: ClassVar[str]
    templates: ClassVar[tuple[str, ...]]
    max_steps: ClassVar[int]

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.target}"

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(colour for colour in COLOURS if colour != self.target)

    def instruction(self, phrasing: int = 0) -> str:
        """The instruction in one of its phrasings."""
        return self.templates[phrasing % len(self.templates)].format(target=self.target)

    @abstractmethod
    def success(self, scene: Scene) -> bool:
        """Whether the task is done now."""

    @abstractmethod
    def wrong(self, scene: Scene) -> bool:
        """Whether the task has been done to another cube, which ends the attempt."""

    @abstractmethod
    def progress(self, scene: Scene) -> float:
        """How far along, 0 to 1; 1 exactly when done."""


def reach(scene: Scene, colour: str) -> float:
    """Nearness of the gripper to a cube, 0 (20 cm away or more) to 1."""
    gap = float(sum((scene.tool[:3] - scene.cube(colour)) ** 2) ** 0.5)
    return max(0.0, 1.0 - gap / 0.2)
