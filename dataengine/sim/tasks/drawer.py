"""Open or close the drawer; open it and put a thing into it. Every scene begins with the drawer half open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataengine.sim.furniture import DRAWER_HEIGHT
from dataengine.sim.scene import Scene
from dataengine.sim.tasks.base import Task, reach, rests

DRAWER = "drawer"
OPEN, SHUT = 0.9, 0.06  # how far out the drawer counts as open, and as closed
STAYS_OPEN = 0.7  # the hand that puts something in may push it back a little


@dataclass(frozen=True)
class OpenDrawer(Task):
    verb = "open_drawer"
    templates = ("open the drawer", "pull the drawer out", "open the drawer all the way")
    seconds = 12.0

    def success(self, scene: Scene) -> bool:
        return scene.slide(DRAWER) > OPEN

    def wrong(self, scene: Scene) -> bool:
        return False

    def progress(self, scene: Scene) -> float:
        return 1.0 if self.success(scene) else min(max(scene.slide(DRAWER), 0.0), 0.99)


@dataclass(frozen=True)
class CloseDrawer(Task):
    verb = "close_drawer"
    templates = ("close the drawer", "push the drawer in", "shut the drawer")
    seconds = 12.0

    def success(self, scene: Scene) -> bool:
        return scene.slide(DRAWER) < SHUT

    def wrong(self, scene: Scene) -> bool:
        return False

    def progress(self, scene: Scene) -> float:
        return 1.0 if self.success(scene) else min(max(1 - scene.slide(DRAWER), 0.0), 0.99)


@dataclass(frozen=True)
class IntoDrawer(Task):
    """Two steps: the drawer must be open, and the thing lie in it."""

    verb = "drawer"
    templates = (
        "open the drawer and put the {thing} into it",
        "put the {also} into the drawer, open it first",
        "pull the drawer out and drop the {thing} in",
    )
    seconds = 28.0

    @property
    def grasps(self) -> str:
        return ""

    def success(self, scene: Scene) -> bool:
        return scene.slide(DRAWER) > STAYS_OPEN and in_drawer(scene, self.target)

    def wrong(self, scene: Scene) -> bool:
        return any(in_drawer(scene, other) for other in self.others)

    def progress(self, scene: Scene) -> float:
        if self.success(scene):
            return 1.0
        gap = float(np.linalg.norm(scene.position(self.target)[:2] - scene.middle(DRAWER)))
        opened = min(max(scene.slide(DRAWER), 0.0), 1.0)
        return 0.35 * opened + 0.2 * reach(scene, self.target) + 0.4 * max(0.0, 1 - gap / 0.3)


def in_drawer(scene: Scene, name: str) -> bool:
    """Whether a thing lies in the drawer, still and let go."""
    return scene.over(name, DRAWER) and rests(scene, name, slack=DRAWER_HEIGHT)
