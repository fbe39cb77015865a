"""Putting down: pick the thing up, carry it over its place, lower it, let go, rise."""

from __future__ import annotations

import numpy as np

from dataengine.sim.rules.base import CLOSED, OPEN, Goal, Style
from dataengine.sim.rules.pick import grasp
from dataengine.sim.scene import Scene
from dataengine.sim.tasks import Task
from dataengine.sim.tasks.bin import own_bin
from dataengine.sim.tasks.left_of import ASIDE, GOAL, LeftOf
from dataengine.sim.tasks.stack import Stack

NEAR = 0.012  # [m] how well a carried thing must be over its place before it is lowered
NARROW = 0.62  # the opening that lets go of a thing with another one close beside it
ASIDE_THERE = 0.022  # [m] from the middle of a bin, where another thing lies in it already
RELEASE = {"bin": 0.052, "drawer": 0.066}  # [m] height of a thing's middle from which it is dropped
OUTWARD = 0.008  # [m] from a drawer's middle towards its handle, off the cabinet


def place(scene: Scene, task: Task, style: Style) -> Goal:
    """On the pad."""
    name, tool, thing = task.target, scene.tool, scene.position(task.target)
    half = task.thing.half
    lying = thing[2] < half + 0.004
    if lying and scene.over(name, "pad", 0.01):
        return _leave(scene, name, tool)
    if not scene.held(name):
        return grasp(scene, name, style)
    return lower(scene, name, scene.middle("pad") + 2 * style.offset, half, style)


def left_of(scene: Scene, task: Task, style: Style) -> Goal:
    """Beside another thing, where the jaw may open a little only."""
    assert isinstance(task, LeftOf)
    name, thing, mark = task.target, scene.position(task.target), scene.position(task.mark)
    dx, dy = thing[:2] - mark[:2]
    lying = thing[2] < task.thing.half + 0.004
    if lying and ASIDE[0] + 0.004 < dy < ASIDE[1] - 0.004 and abs(dx) < 0.02:
        return _leave(scene, name, scene.tool, NARROW)
    if not scene.held(name):
        return grasp(scene, name, style)
    return lower(scene, name, mark[:2] + GOAL + style.offset, task.thing.half, style)


def stack(scene: Scene, task: Task, style: Style) -> Goal:
    """On top of another cube."""
    assert isinstance(task, Stack)
    name, thing, under = task.target, scene.position(task.target), scene.position(task.under)
    top = under[2] + scene.kind.thing[task.under].half + task.thing.half
    on = scene.touching(name, task.under) and abs(thing[2] - top) < 0.004
    if on and float(np.linalg.norm(thing[:2] - under[:2])) < 0.012:
        return _leave(scene, name, scene.tool)
    if not scene.held(name):
        return grasp(scene, name, style)
    return lower(scene, name, under[:2] + style.offset, top, style, near=0.006)


def into_bin(scene: Scene, task: Task, style: Style) -> Goal:
    return drop(scene, task.target, own_bin(scene, task.target), style)


def sort(scene: Scene, task: Task, style: Style) -> Goal:
    """What is in the hand first, then what is not in its bin yet, in turn."""
    left = [n for n in scene.kind.thing if not (scene.over(n, own_bin(scene, n)) and not scene.held(n))]
    in_hand = [name for name in left if scene.held(name)]
    name = next(iter(in_hand or left or scene.kind.thing))
    return drop(scene, name, own_bin(scene, name), style)


def drop(scene: Scene, name: str, piece: str, style: Style) -> Goal:
    """Into a bin or drawer, from just above its walls."""
    tool, thing, place = scene.tool, scene.position(name), _free_spot(scene, name, piece)
    held = scene.held(name)
    if scene.over(name, piece) and not held:
        return _leave(scene, name, tool)
    if not held:
        return grasp(scene, name, style)
    over = tool[:2] + place + 2 * style.offset - thing[:2]
    away = float(np.linalg.norm(over - tool[:2]))
    release = RELEASE[scene.kind.piece[piece].shape]
    height = tool[2] - thing[2] + release
    if away < 0.015:
        return np.array([*over, height, tool[3]]), OPEN if abs(tool[2] - height) < 0.008 else CLOSED
    keep = tool[:2] if thing[2] < release + 0.006 else over
    return np.array([*keep, style.lift, tool[3]]), CLOSED


def _free_spot(scene: Scene, name: str, piece: str) -> np.ndarray:
    """Where in a bin or drawer to drop a thing, `(2,)`: the middle, or beside what lies there already."""
    middle, yaw = scene.middle(piece), scene.spot(piece)[2]
    if scene.kind.piece[piece].shape == "drawer":
        middle = middle + OUTWARD * np.array([np.cos(yaw), np.sin(yaw)])
    there = [scene.position(n)[:2] for n in scene.kind.thing if n != name and scene.over(n, piece)]
    if not there:
        return middle
    along = ASIDE_THERE * np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    spots = middle + np.concatenate([along, -along])
    return spots[np.argmax([min(float(np.linalg.norm(spot - other)) for other in there) for spot in spots])]


def lower(scene: Scene, name: str, place: np.ndarray, height: float, style: Style, near: float = NEAR) -> Goal:
    """Carry a held thing over `place` `(2,)` and lower its middle to `height` [m]."""
    tool, thing, half = scene.tool, scene.position(name), scene.kind.thing[name].half
    over = tool[:2] + place - thing[:2]
    miss = float(np.linalg.norm(over - tool[:2]))
    if miss < near:
        return np.array([*over, tool[2] - thing[2] + height - 0.002, tool[3]]), CLOSED
    rise = style.lift if thing[2] - half > 0.03 else style.lift + 0.02
    keep = tool[:2] if thing[2] - half < 0.02 else over
    return np.array([*keep, rise, tool[3]]), CLOSED


def _leave(scene: Scene, name: str, tool: np.ndarray, opening: float = OPEN) -> Goal:
    """Let go; rise once nothing touches the thing."""
    rise = 0.0 if scene.touched(name) else 0.08
    return np.array([*tool[:2], tool[2] + rise, tool[3]]), opening
