"""Picking up: over the thing, down, close, up; an empty gripper opens and rises first."""

from __future__ import annotations

import numpy as np

from dataengine.sim.rules.base import CLEAR, CLOSED, OPEN, Goal, Style, across
from dataengine.sim.scene import Scene
from dataengine.sim.tasks import Task

ALIGNED = 0.008  # [m] how well the gripper must stand over a thing before it closes
FUNNEL = 0.018  # [m] how well before it goes down, where the fingers could still hit the thing's top
TURNED = 0.15  # [rad] how well the jaw must be turned to the thing's faces
LOWER = {"prism": 0.004}  # [m] by how much a thing that is wider below is gripped lower


def pick(scene: Scene, task: Task, style: Style) -> Goal:
    return grasp(scene, task.target, style)


def grasp(scene: Scene, name: str, style: Style) -> Goal:
    """Lift the thing of a name, gripped about its middle."""
    tool, thing, opening = scene.tool, scene.position(name), scene.gripper
    half, shape = scene.kind.thing[name].half, scene.kind.thing[name].shape
    grip = thing[2] - half + style.grasp - LOWER.get(shape, 0.0)
    yaw = _within(across(scene, name, tool[3]), scene, name) + style.turn
    over = thing[:2] + style.offset
    miss = float(np.linalg.norm(over - tool[:2]))
    turned = abs(yaw - tool[3]) < TURNED
    low = tool[2] < CLEAR
    if scene.held(name):
        return np.array([*tool[:2], style.lift, tool[3]]), CLOSED
    if miss < ALIGNED and turned and abs(tool[2] - thing[2]) < 0.012:
        return np.array([*over, grip, yaw]), CLOSED
    if low and opening < 0.75:
        return np.array([*tool[:2], tool[2] + 0.01, tool[3]]), OPEN
    if miss < FUNNEL and turned and opening > 0.75:
        return np.array([*over, grip, yaw]), OPEN
    if low:
        return np.array([*tool[:2], style.hover, tool[3]]), OPEN
    return np.array([*over, style.hover, yaw]), OPEN


def _within(yaw: float, scene: Scene, name: str) -> float:
    """A thing that can be gripped from two sides only is gripped from the side the arm can turn to."""
    half = np.pi / 2
    if scene.kind.thing[name].shape != "prism" or abs(yaw) <= half:
        return yaw
    return yaw - np.sign(yaw) * np.pi
