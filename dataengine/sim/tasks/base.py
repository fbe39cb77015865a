"""What a task is: where it is possible, an instruction, when it is done or has gone wrong, how far along it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from dataengine.sim.kinds import KINDS, Kind
from dataengine.sim.scene import Scene
from dataengine.sim.things import Thing

LIFTED = 0.03  # [m] a held thing whose middle has risen by this much counts as picked up
RESTING_HEIGHT = 0.005  # [m] how far above where it should lie a thing's middle may be
RESTING_SPEED = 0.03  # [m/s]


@dataclass(frozen=True)
class Task(ABC):
    """Something to do in scenes of one kind. A subclass owes the three measures below, for scenes of that kind.

    scene: name of the kind. target: the thing that is meant, "" where the task names none. `verb` names the sort of
    task, `templates` hold the ways to say it (the first is the usual one; {thing} and {also} are the target's names),
    `seconds` is how long an attempt may last, `arms` which arms can do it and `needs` what the others lack.
    """

    scene: str
    target: str = ""

    verb: ClassVar[str]
    templates: ClassVar[tuple[str, ...]]
    seconds: ClassVar[float]
    arms: ClassVar[tuple[str, ...]] = ("five", "six")
    needs: ClassVar[str] = ""

    @property
    def name(self) -> str:
        return f"{self.verb}_{self.target}" if self.target else self.verb

    @property
    def kind(self) -> Kind:
        return KINDS[self.scene]

    @property
    def thing(self) -> Thing:
        """The target, described."""
        return self.kind.thing[self.target]

    @property
    def others(self) -> tuple[str, ...]:
        """Things beside the target."""
        return tuple(name for name in self.kind.thing if name != self.target)

    @property
    def grasps(self) -> str:
        """The thing that is grasped first, with an open hand; "" where the task begins otherwise."""
        return self.target

    @property
    def words(self) -> dict[str, str]:
        """What stands in the templates."""
        return {"thing": self.thing.noun, "also": self.thing.also} if self.target else {}

    def instruction(self, phrasing: int = 0) -> str:
        """The instruction in one of its phrasings."""
        return self.templates[phrasing % len(self.templates)].format(**self.words)

    @abstractmethod
    def success(self, scene: Scene) -> bool:
        """Whether the task is done now."""

    @abstractmethod
    def wrong(self, scene: Scene) -> bool:
        """Whether the task has been done to another thing, which ends the attempt."""

    @abstractmethod
    def progress(self, scene: Scene) -> float:
        """How far along, 0 to 1; 1 exactly when done."""


def reach(scene: Scene, name: str) -> float:
    """Nearness of the gripper to a thing, 0 (20 cm away or more) to 1."""
    gap = float(sum((scene.tool[:3] - scene.position(name)) ** 2) ** 0.5)
    return max(0.0, 1.0 - gap / 0.2)


def rests(scene: Scene, name: str, height: float = 0.0, slack: float = RESTING_HEIGHT) -> bool:
    """Whether a thing lies still, let go, with its underside `height` [m] above the table or up to `slack` higher."""
    return (
        scene.position(name)[2] < scene.kind.thing[name].half + height + slack
        and scene.speed(name) < RESTING_SPEED
        and not scene.touched(name)
    )


def risen(scene: Scene, name: str) -> float:
    """How far a thing's middle is above where it lies on the table [m]."""
    return float(scene.position(name)[2]) - scene.kind.thing[name].half
