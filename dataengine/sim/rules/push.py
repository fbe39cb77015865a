"""Pushing: with closed fingers behind the thing as seen from the pad, then through it, around the others."""

from __future__ import annotations

import numpy as np

from dataengine.sim.rules.base import CLEAR, CLOSED, Goal, Style, nearest
from dataengine.sim.rules.pick import TURNED
from dataengine.sim.scene import Scene
from dataengine.sim.tasks import Task

BERTH = 0.05  # [m] how far two things pass each other when one is pushed


def push(scene: Scene, task: Task, style: Style) -> Goal:
    tool, thing = scene.tool, scene.position(task.target)
    way = _around(scene, task) - thing[:2]
    gap = float(np.linalg.norm(way))
    ahead = way / max(gap, 1e-9)
    side = np.array([-ahead[1], ahead[0]])
    along, aside = (tool[:2] - thing[:2]) @ ahead, (tool[:2] - thing[:2]) @ side
    yaw = nearest(float(np.arctan2(ahead[1], ahead[0])), tool[3], np.pi / 2)
    low = tool[2] < 0.03
    behind = thing[:2] - 0.045 * ahead
    if low and along < -0.008 and abs(aside) < 0.012 - 0.1 * min(0.0, along + 0.02):
        push_to = tool[:2] + style.speed * 0.6 * ahead - 0.6 * aside * side
        return np.array([*push_to, 0.016, yaw]), CLOSED
    if np.linalg.norm(behind - tool[:2]) < 0.01 and scene.gripper < 0.15 and abs(yaw - tool[3]) < TURNED:
        return np.array([*behind, 0.016, yaw]), CLOSED
    if tool[2] < CLEAR - 0.01 and np.linalg.norm(behind - tool[:2]) > 0.015:
        return np.array([*tool[:2], style.hover, tool[3]]), CLOSED
    return np.array([*behind, style.hover, yaw]), CLOSED


def _around(scene: Scene, task: Task) -> np.ndarray:
    """Where to push to now `(2,)`: the pad, or a place beside another thing that lies in the way."""
    thing, pad = scene.position(task.target)[:2], scene.middle("pad")
    way = pad - thing
    gap = max(float(np.linalg.norm(way)), 1e-9)
    ahead = way / gap
    side = np.array([-ahead[1], ahead[0]])
    for other in (scene.position(name)[:2] for name in task.others):
        along, aside = float((other - thing) @ ahead), float((other - thing) @ side)
        if -0.01 < along < gap and abs(aside) < BERTH:
            return other - np.copysign(BERTH, aside) * 1.2 * side
    return pad
