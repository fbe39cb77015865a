"""Put a thing to the left of another one, as seen from the arm (towards +y), close beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import Task, reach, rests

# Where the thing's middle must lie, seen from the other's [m]. Nothing starts there: things start further apart.
ASIDE, AHEAD = (0.036, 0.070), 0.025
GOAL = np.array([0.0, 0.055])  # [m] the middle of that place, seen from the other thing


@dataclass(frozen=True)
class LeftOf(Task):
    """mark: the thing beside which the target is put; it names the task, since the scene holds only one other."""

    mark: str = ""

    verb = "left_of"
    templates = (
        "put the {thing} to the left of the {mark}",
        "place the {also} just left of the {mark}",
        "move the {thing} to the {mark}'s left side",
    )
    seconds = 16.0

    @property
    def name(self) -> str:
        return f"{self.verb}_{self.mark}"

    @property
    def words(self) -> dict[str, str]:
        return {**super().words, "mark": self.kind.thing[self.mark].noun}

    def success(self, scene: Scene) -> bool:
        return _beside(scene, self.target, self.mark)

    def wrong(self, scene: Scene) -> bool:
        return _beside(scene, self.mark, self.target)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        goal = scene.position(self.mark)[:2] + GOAL
        gap = float(np.linalg.norm(scene.position(self.target)[:2] - goal))
        return 0.3 * reach(scene, self.target) + 0.6 * max(0.0, 1 - gap / 0.25)


def _beside(scene: Scene, one: str, other: str) -> bool:
    dx, dy, _ = scene.position(one) - scene.position(other)
    near = ASIDE[0] < dy < ASIDE[1] and abs(dx) < AHEAD
    return bool(near) and rests(scene, one) and rests(scene, other)
