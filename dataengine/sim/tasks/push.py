"""Push a thing onto the pad: it is done when the thing lies well over the pad, on the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import Task, reach, risen

MARGIN = 0.012  # [m] how far inside the pad's edge the thing's middle must be
OFF_TABLE = 0.012  # [m]


@dataclass(frozen=True)
class Push(Task):
    verb = "push"
    templates = (
        "push the {thing} onto the green pad",
        "slide the {also} onto the pad",
        "push the {thing} to the green square",
    )
    seconds = 16.0

    @property
    def grasps(self) -> str:
        return ""

    def success(self, scene: Scene) -> bool:
        return _pushed(scene, self.target)

    def wrong(self, scene: Scene) -> bool:
        return any(_pushed(scene, other) for other in self.others)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        gap = float(np.linalg.norm(scene.position(self.target)[:2] - scene.middle("pad")))
        return 0.2 * reach(scene, self.target) + 0.7 * max(0.0, 1 - gap / 0.25)


def _pushed(scene: Scene, name: str) -> bool:
    return scene.over(name, "pad", MARGIN) and abs(risen(scene, name)) < OFF_TABLE
