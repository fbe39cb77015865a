"""Pick a thing up: it is done while both fingers hold it 5 cm above where it lay."""

from __future__ import annotations

from dataclasses import dataclass

from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import LIFTED, Task, reach, risen

HEIGHT = 0.05  # [m]


@dataclass(frozen=True)
class Pick(Task):
    verb = "pick"
    templates = (
        "pick up the {thing}",
        "grab the {thing} and lift it",
        "lift the {also}",
        "take the {thing} off the table",
    )
    seconds = 8.0

    def success(self, scene: Scene) -> bool:
        return scene.held(self.target) and risen(scene, self.target) > HEIGHT

    def wrong(self, scene: Scene) -> bool:
        return any(scene.held(other) and risen(scene, other) > LIFTED for other in self.others)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        held = 0.2 * scene.held(self.target)
        lifted = 0.3 * min(max(risen(scene, self.target) / HEIGHT, 0.0), 1.0)
        return 0.4 * reach(scene, self.target) + held + lifted
