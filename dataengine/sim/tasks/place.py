"""Put a thing on the pad: it is done when the thing lies there and the gripper has let go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import Task, reach, rests


@dataclass(frozen=True)
class Place(Task):
    verb = "place"
    templates = (
        "put the {thing} on the green pad",
        "place the {also} on the pad",
        "move the {thing} to the green square",
    )
    seconds = 14.0

    def success(self, scene: Scene) -> bool:
        return _lies_on_pad(scene, self.target)

    def wrong(self, scene: Scene) -> bool:
        return any(_lies_on_pad(scene, other) for other in self.others)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        gap = float(np.linalg.norm(scene.position(self.target)[:2] - scene.middle("pad")))
        return 0.3 * reach(scene, self.target) + 0.6 * max(0.0, 1 - gap / 0.25)


def _lies_on_pad(scene: Scene, name: str) -> bool:
    return scene.over(name, "pad") and rests(scene, name)
