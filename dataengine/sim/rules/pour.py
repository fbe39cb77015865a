"""Pouring: grip the cup by its handle, lift it, carry it beside the bowl, tilt it over the rim."""

from __future__ import annotations

import numpy as np

from dataengine.sim.furniture import BOWL_HALF
from dataengine.sim.rules.base import CLEAR, CLOSED, OPEN, Goal, Style, across
from dataengine.sim.rules.pick import ALIGNED, FUNNEL, TURNED
from dataengine.sim.scene import Scene
from dataengine.sim.tasks import Task
from dataengine.sim.tasks.pour import BOWL, ENOUGH, poured
from dataengine.sim.things import CUP_HALF, HANDLE

TILT = 2.0  # [rad] how far the cup is tipped
ABOVE = 2 * BOWL_HALF + 0.062  # [m] height of the cup's middle while it pours
BESIDE = 0.036  # [m] the cup's middle from the bowl's, towards the side it came from


def pour(scene: Scene, task: Task, style: Style) -> Goal:
    name, tool, pose, cup = task.target, scene.tool, scene.pose, scene.position(task.target)
    if not scene.held(name):
        return _grasp_handle(scene, name, style)
    bowl = scene.middle(BOWL)
    side = np.sign(bowl[1] - cup[1]) if abs(pose[3]) < 0.2 else -np.sign(pose[3])
    beside = np.array([bowl[0], bowl[1] - side * BESIDE]) + style.offset
    to = tool[:2] + beside - cup[:2]
    miss = float(np.linalg.norm(beside - cup[:2]))
    height = tool[2] + ABOVE - cup[2]
    if poured(scene) >= ENOUGH:
        return np.array([*tool[:3], 0.0, 0.0, tool[3]]), CLOSED
    if cup[2] < CUP_HALF + 0.03 and abs(pose[3]) < 0.2:
        return np.array([*tool[:2], height, 0.0, 0.0, tool[3]]), CLOSED
    if miss > 0.012 and abs(pose[3]) < 0.2:
        return np.array([*to, height, 0.0, 0.0, tool[3]]), CLOSED
    return np.array([*to, height, -side * TILT, 0.0, tool[3]]), CLOSED


def _grasp_handle(scene: Scene, name: str, style: Style) -> Goal:
    """As a thing is picked up, but by a plate that stands behind the cup."""
    tool, axes = scene.tool, scene.turned(name)
    handle = scene.position(name) - HANDLE * axes[:, 0]
    yaw = across(scene, name, tool[3])
    over = handle[:2] + style.offset
    miss = float(np.linalg.norm(over - tool[:2]))
    turned, low, opening = abs(yaw - tool[3]) < TURNED, tool[2] < CLEAR + 0.02, scene.gripper
    grip = handle[2] - 0.004 + (style.grasp - 0.016)
    if abs(scene.pose[3]) > 0.3:  # the cup was lost while tipped: stand up first
        return np.array([*tool[:2], max(tool[2], 0.1), 0.0, 0.0, tool[3]]), OPEN
    if miss < ALIGNED and turned and abs(tool[2] - grip) < 0.01:
        return np.array([*over, grip, yaw]), CLOSED
    if low and opening < 0.75:
        return np.array([*tool[:2], tool[2] + 0.01, tool[3]]), OPEN
    if miss < FUNNEL and turned and opening > 0.75:
        return np.array([*over, grip, yaw]), OPEN
    if low:
        return np.array([*tool[:2], style.hover + 0.02, tool[3]]), OPEN
    return np.array([*over, style.hover + 0.02, yaw]), OPEN
