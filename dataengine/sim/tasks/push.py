"""Push the red (or blue) cube onto the green pad: it is done when the cube lies well over the pad, on the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.scene import CUBE_HALF, Scene
from dataengine.sim.tasks.base import Task, reach

MARGIN = 0.012  # [m] how far inside the pad's edge the cube's centre must be
OFF_TABLE = 0.012  # [m]


@dataclass(frozen=True)
class Push(Task):
    kind = "push"
    templates = (
        "push the {target} cube onto the green pad",
        "slide the {target} block onto the pad",
        "push the {target} cube to the green square",
    )
    max_steps = 160

    def success(self, scene: Scene) -> bool:
        return _pushed(scene, self.target)

    def wrong(self, scene: Scene) -> bool:
        return any(_pushed(scene, other) for other in self.others)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        gap = float(np.linalg.norm(scene.cube(self.target)[:2] - scene.pad[:2]))
        return 0.2 * reach(scene, self.target) + 0.7 * max(0.0, 1 - gap / 0.25)


def _pushed(scene: Scene, colour: str) -> bool:
    return scene.on_pad(colour, MARGIN) and abs(scene.cube(colour)[2] - CUBE_HALF) < OFF_TABLE
