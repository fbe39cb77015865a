"""Sort by colour: it is done when every thing lies in the bin of its colour and the gripper has let go."""

from __future__ import annotations

from dataclasses import dataclass

from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import Task
from dataengine.sim.tasks.bin import carried, lies_in, own_bin


@dataclass(frozen=True)
class Sort(Task):
    verb = "sort"
    templates = (
        "sort the things by colour into the bins",
        "put everything into the bin of its colour",
        "clear the table: red things in the red bin, blue things in the blue bin",
    )
    seconds = 45.0

    @property
    def grasps(self) -> str:
        return next(iter(self.kind.thing))

    def success(self, scene: Scene) -> bool:
        return all(lies_in(scene, name, own_bin(scene, name)) for name in scene.kind.thing)

    def wrong(self, scene: Scene) -> bool:
        """Something lies in the other bin."""
        return any(
            lies_in(scene, name, piece)
            for name in scene.kind.thing
            for piece in scene.kind.piece
            if piece != own_bin(scene, name)
        )

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        shares = [
            1.0 if lies_in(scene, name, own_bin(scene, name)) else 0.6 * carried(scene, name)
            for name in scene.kind.thing
        ]
        return 0.95 * sum(shares) / len(shares)
