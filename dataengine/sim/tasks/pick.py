"""Pick up the red (or blue) cube: it is done while both fingers hold the cube 5 cm above where it lay."""

from __future__ import annotations

from dataclasses import dataclass

from dataengine.sim.scene import CUBE_HALF, Scene
from dataengine.sim.tasks.base import LIFTED, Task, reach

HEIGHT = 0.05  # [m]


@dataclass(frozen=True)
class Pick(Task):
    kind = "pick"
    templates = (
        "pick up the {target} cube",
        "grab the {target} cube and lift it",
        "lift the {target} block",
        "take the {target} cube off the table",
    )
    max_steps = 80

    def success(self, scene: Scene) -> bool:
        return scene.held(self.target) and _risen(scene, self.target) > HEIGHT

    def wrong(self, scene: Scene) -> bool:
        return any(scene.held(other) and _risen(scene, other) > LIFTED for other in self.others)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        held = 0.2 * scene.held(self.target)
        lifted = 0.3 * min(max(_risen(scene, self.target) / HEIGHT, 0.0), 1.0)
        return 0.4 * reach(scene, self.target) + held + lifted


def _risen(scene: Scene, colour: str) -> float:
    return float(scene.cube(colour)[2]) - CUBE_HALF
