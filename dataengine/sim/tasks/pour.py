"""Pour the beads out of the cup into the bowl: it is done when at least three of the four lie in the bowl."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.furniture import BOWL_HALF
from dataengine.sim.kinds.cups import BEADS
from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import Task, reach

BOWL = "bowl"
ENOUGH = len(BEADS) - 1


@dataclass(frozen=True)
class Pour(Task):
    verb = "pour"
    templates = (
        "pour the beads from the cup into the bowl",
        "tip the orange cup out over the blue bowl",
        "empty the mug into the bowl",
    )
    seconds = 20.0
    arms = ("six",)
    needs = "a tool that can be tilted"

    @property
    def name(self) -> str:
        return self.verb

    @property
    def grasps(self) -> str:
        return ""

    def success(self, scene: Scene) -> bool:
        return poured(scene) >= ENOUGH

    def wrong(self, scene: Scene) -> bool:
        return False

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        gap = float(np.linalg.norm(scene.position(self.target)[:2] - scene.middle(BOWL)))
        held = 0.2 * scene.held(self.target)
        near = 0.2 * max(0.0, 1 - gap / 0.25)
        return 0.2 * reach(scene, self.target) + held + near + 0.39 * poured(scene) / len(BEADS)


def poured(scene: Scene) -> int:
    """How many beads lie in the bowl."""
    inside = [scene.over(bead.name, BOWL) and scene.position(bead.name)[2] < 2 * BOWL_HALF for bead in BEADS]
    return sum(inside)
