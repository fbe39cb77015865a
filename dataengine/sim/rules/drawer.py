"""The drawer: hook it open with closed fingers behind its handle, push it shut, drop a thing into it."""

from __future__ import annotations

import numpy as np

from dataengine.sim.furniture import DRAWER_HALF, HANDLE_GAP
from dataengine.sim.rules.base import CLEAR, CLOSED, Goal, Style, nearest
from dataengine.sim.rules.pick import TURNED
from dataengine.sim.rules.put import drop
from dataengine.sim.scene import Scene
from dataengine.sim.tasks import Task
from dataengine.sim.tasks.drawer import DRAWER

HANDLE = DRAWER_HALF + 0.006 + HANDLE_GAP  # [m] from the drawer's middle
BEHIND = HANDLE - HANDLE_GAP / 2 - 0.001  # between front and handle
BEFORE = HANDLE + 0.024
DEPTH = 0.026  # [m] height of the tool at the handle
HOVER = 0.075  # [m]
FULLY, STILL_OUT = 0.95, 0.78  # how far out the drawer is pulled, and from where on it need not be pulled again


def open_drawer(scene: Scene, task: Task, style: Style) -> Goal:
    return _move(scene, style, BEHIND, 1.0)


def close_drawer(scene: Scene, task: Task, style: Style) -> Goal:
    return _move(scene, style, BEFORE, -1.0)


def into_drawer(scene: Scene, task: Task, style: Style) -> Goal:
    """Open it first, all the way while the fingers are at the handle; then the thing goes in. The hand may have pushed
    it in again a little: then it is opened once more."""
    tool, at_handle = scene.tool, _at_handle(scene)
    if scene.held(task.target) or (scene.over(task.target, DRAWER) and scene.touched(task.target)):
        return drop(scene, task.target, DRAWER, style)
    if scene.slide(DRAWER) < (FULLY if at_handle else STILL_OUT):
        return open_drawer(scene, task, style)
    if at_handle:
        return np.array([*tool[:2], HOVER, tool[3]]), CLOSED
    return drop(scene, task.target, DRAWER, style)


def _at_handle(scene: Scene) -> bool:
    """Whether the fingers are down near the handle, where they must not open."""
    heading = scene.spot(DRAWER)[2]
    handle = scene.middle(DRAWER) + BEHIND * np.array([np.cos(heading), np.sin(heading)])
    return bool(scene.tool[2] < CLEAR and np.linalg.norm(scene.tool[:2] - handle) < 0.05)


def _move(scene: Scene, style: Style, place: float, way: float) -> Goal:
    """With closed fingers down at `place` [m] along the drawer, then on along it, outwards (1) or inwards (-1)."""
    tool, heading = scene.tool, scene.spot(DRAWER)[2]
    ahead = np.array([np.cos(heading), np.sin(heading)])
    side = np.array([-ahead[1], ahead[0]])
    at = scene.middle(DRAWER) + place * ahead + 2 * style.offset
    along, aside = (tool[:2] - at) @ ahead, (tool[:2] - at) @ side
    yaw = nearest(heading, tool[3], np.pi / 2)
    low = tool[2] < DEPTH + 0.012
    if low and abs(aside) < 0.02 and -0.014 < along * way < 0.016 and scene.gripper < 0.2:
        on = tool[:2] + way * style.speed * 0.8 * ahead - 0.5 * aside * side
        return np.array([*on, DEPTH, yaw]), CLOSED
    if abs(along) < 0.006 and abs(aside) < 0.012 and scene.gripper < 0.15 and abs(yaw - tool[3]) < TURNED:
        return np.array([*at, DEPTH, yaw]), CLOSED
    if tool[2] < CLEAR and np.hypot(along, aside) > 0.01:
        return np.array([*tool[:2], HOVER, tool[3]]), CLOSED
    return np.array([*at, HOVER, yaw]), CLOSED
