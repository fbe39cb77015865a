"""Put a thing into the bin of its colour: it is done when it lies in there and the gripper has let go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.furniture import BIN_HEIGHT
from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import Task, reach, rests


@dataclass(frozen=True)
class Bin(Task):
    verb = "bin"
    templates = (
        "put the {thing} in the {bin}",
        "drop the {also} into the {bin}",
        "the {thing} belongs in the {bin}",
    )
    seconds = 14.0

    @property
    def words(self) -> dict[str, str]:
        return {**super().words, "bin": f"{self.thing.colour} bin"}

    def success(self, scene: Scene) -> bool:
        return lies_in(scene, self.target, own_bin(scene, self.target))

    def wrong(self, scene: Scene) -> bool:
        """Another thing lies in a bin, or the right one in the other bin."""
        own = own_bin(scene, self.target)
        return any(
            lies_in(scene, name, piece)
            for name in scene.kind.thing
            for piece in scene.kind.piece
            if (name, piece) != (self.target, own)
        )

    def progress(self, scene: Scene) -> float:
        return 1.0 if self.success(scene) else 0.3 * reach(scene, self.target) + 0.6 * carried(scene, self.target)


def own_bin(scene: Scene, name: str) -> str:
    """The bin of a thing's colour."""
    return f"{scene.kind.thing[name].colour}_bin"


def lies_in(scene: Scene, name: str, piece: str) -> bool:
    """Whether a thing lies between a bin's walls, still and let go; on others that lie there too."""
    return scene.over(name, piece) and rests(scene, name, slack=BIN_HEIGHT)


def carried(scene: Scene, name: str) -> float:
    """How near a thing is to its bin, 0 (25 cm away) to 1."""
    gap = float(np.linalg.norm(scene.position(name)[:2] - scene.middle(own_bin(scene, name))))
    return max(0.0, 1 - gap / 0.25)
