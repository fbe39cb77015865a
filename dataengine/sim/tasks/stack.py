"""Stack one cube on another: it is done when it rests there and the gripper has let go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import Task, reach, rests

CENTRED = 0.018  # [m] how far apart the middles may be, seen from above


@dataclass(frozen=True)
class Stack(Task):
    """under: the cube that stays on the table."""

    under: str = ""

    verb = "stack"
    templates = (
        "stack the {thing} on the {under}",
        "put the {also} on top of the {under}",
        "set the {thing} down on the {under}",
    )
    seconds = 16.0

    @property
    def name(self) -> str:
        return f"stack_{self.target}_on_{self.under}"

    @property
    def words(self) -> dict[str, str]:
        return {**super().words, "under": self.kind.thing[self.under].noun}

    def success(self, scene: Scene) -> bool:
        return _stacked(scene, self.target, self.under)

    def wrong(self, scene: Scene) -> bool:
        return _stacked(scene, self.under, self.target)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        up = self.thing.half + self.kind.thing[self.under].half
        goal = scene.position(self.under) + np.array([0, 0, up])
        gap = float(np.linalg.norm(scene.position(self.target) - goal))
        return 0.3 * reach(scene, self.target) + 0.6 * max(0.0, 1 - gap / 0.25)


def _stacked(scene: Scene, upper: str, lower: str) -> bool:
    top = 2 * scene.kind.thing[lower].half
    across, bottom = scene.position(upper) - scene.position(lower), scene.position(upper)[2]
    return (
        float(np.linalg.norm(across[:2])) < CENTRED
        and bottom > top  # not beside it
        and scene.touching(upper, lower)
        and rests(scene, upper, top)
        and rests(scene, lower)
    )
