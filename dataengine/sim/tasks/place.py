"""Put the red (or blue) cube on the green pad: it is done when the cube lies there and the gripper has let go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.scene import CUBE_HALF, Scene
from dataengine.sim.tasks.base import Task, reach

RESTING_HEIGHT = 0.005  # [m] how far above the table's the cube's centre may be
RESTING_SPEED = 0.03  # [m/s]


@dataclass(frozen=True)
class Place(Task):
    kind = "place"
    templates = (
        "put the {target} cube on the green pad",
        "place the {target} block on the pad",
        "move the {target} cube to the green square",
    )
    max_steps = 140

    def success(self, scene: Scene) -> bool:
        return _lies_on_pad(scene, self.target)

    def wrong(self, scene: Scene) -> bool:
        return any(_lies_on_pad(scene, other) for other in self.others)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        gap = float(np.linalg.norm(scene.cube(self.target)[:2] - scene.pad[:2]))
        return 0.3 * reach(scene, self.target) + 0.6 * max(0.0, 1 - gap / 0.25)


def _lies_on_pad(scene: Scene, colour: str) -> bool:
    return (
        scene.on_pad(colour)
        and scene.cube(colour)[2] < CUBE_HALF + RESTING_HEIGHT
        and scene.cube_speed(colour) < RESTING_SPEED
        and not scene.touched(colour)
    )
