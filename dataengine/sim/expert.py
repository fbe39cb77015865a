"""A scripted expert that sees the simulator's state and shows how each task is done.

Its rules look only at where things are now, never at what it meant to do before. So it recovers from whatever
noise or a failed grasp has led to – opening an empty gripper, rising, coming back – and what it shows can be
learned from one observation. How it does things (heights, speed, angle) differs from episode to episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.scene import COLOURS, CUBE_HALF, Scene
from dataengine.sim.tasks import Task

if TYPE_CHECKING:
    from dataengine.sim.world import Tabletop

OPEN, CLOSED = 1.0, 0.0
ALIGNED = 0.008  # [m] how well the gripper must stand over a cube before it closes
FUNNEL = 0.018  # [m] how well before it goes down, where the fingers could still hit the cube's top
CLEAR = 0.055  # [m] height of the tool above which the fingers pass over a lying cube
TURNED = 0.15  # [rad] how well the jaw must be turned to the cube's faces
BERTH = 0.05  # [m] how far two cubes pass each other when one is pushed


@dataclass(frozen=True)
class Style:
    """How one episode is done. Heights and distances in [m], turn in [rad], speed in [m] per step of 0.1 s."""

    hover: float
    grasp: float
    lift: float
    speed: float
    turn: float
    offset: np.ndarray

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Style:
        return cls(
            hover=rng.uniform(0.065, 0.085),
            grasp=rng.uniform(0.014, 0.018),
            lift=rng.uniform(0.09, 0.11),
            speed=rng.uniform(0.013, 0.020),
            turn=rng.uniform(-0.05, 0.05),
            offset=rng.uniform(-0.002, 0.002, 2),
        )


class Expert:
    """Does a task in a scene, one action at a time; make a new one for each episode."""

    def __init__(self, scene: Scene, task: Task, rng: np.random.Generator) -> None:
        self.scene, self.task = scene, task
        self.style = Style.sample(rng)

    def act(self) -> np.ndarray:
        """The next action `(5,)` float32: tool target x, y, z [m], yaw [rad], opening."""
        goal, opening = _RULES[self.task.kind](self.scene, self.task.target, self.style)
        return np.array([*self._approach(goal), opening], np.float32)

    def _approach(self, goal: np.ndarray) -> np.ndarray:
        """A step towards the goal from where the tool is, no longer than the style's speed."""
        tool = self.scene.tool
        move = goal - tool
        length = float(np.linalg.norm(move[:3]))
        move[:3] *= min(1.0, self.style.speed / max(length, 1e-9))
        move[3] = np.clip(move[3], -0.35, 0.35)
        return tool + move


@dataclass
class ExpertPolicy:
    """The expert where a policy is expected; it must be let into the world, since it sees what no camera shows."""

    _expert: Expert | None = field(default=None, init=False, repr=False)
    _world: Tabletop | None = field(default=None, init=False, repr=False)

    def enter(self, world: Tabletop) -> None:
        self._world = world

    def reset(self) -> None:
        if self._world is None:
            raise ConfigError("the expert must enter a world before it acts in it")
        self._expert = Expert(self._world.scene, self._world.task, np.random.default_rng(0))

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        if self._expert is None:
            raise ConfigError("the expert must be reset before it acts")
        return self._expert.act()[None]


def pick(scene: Scene, colour: str, style: Style) -> tuple[np.ndarray, float]:
    """Goal of the tool `(4,)` and opening: over the cube, down, close, up; an empty gripper opens and rises first."""
    tool, cube, opening = scene.tool, scene.cube(colour), scene.gripper
    yaw = _across(scene.cube_yaw(colour), tool[3]) + style.turn
    over = cube[:2] + style.offset
    miss = float(np.linalg.norm(over - tool[:2]))
    turned = abs(yaw - tool[3]) < TURNED
    low = tool[2] < CLEAR
    if scene.held(colour):
        return np.array([*tool[:2], style.lift, tool[3]]), CLOSED
    if miss < ALIGNED and turned and abs(tool[2] - cube[2]) < 0.012:
        return np.array([*over, cube[2] - CUBE_HALF + style.grasp, yaw]), CLOSED
    if low and opening < 0.75:
        return np.array([*tool[:2], tool[2] + 0.01, tool[3]]), OPEN
    if miss < FUNNEL and turned and opening > 0.75:
        return np.array([*over, cube[2] - CUBE_HALF + style.grasp, yaw]), OPEN
    if low:
        return np.array([*tool[:2], style.hover, tool[3]]), OPEN
    return np.array([*over, style.hover, yaw]), OPEN


def place(scene: Scene, colour: str, style: Style) -> tuple[np.ndarray, float]:
    """Like `pick`; then over the pad, down, open, up."""
    tool, cube, pad = scene.tool, scene.cube(colour), scene.pad
    lying = cube[2] < CUBE_HALF + 0.004
    if lying and scene.on_pad(colour, 0.01):
        rise = 0.0 if scene.touched(colour) else 0.08
        return np.array([*tool[:2], tool[2] + rise, tool[3]]), OPEN
    if not scene.held(colour):
        return pick(scene, colour, style)
    over = tool[:2] + pad[:2] + 2 * style.offset - cube[:2]
    miss = float(np.linalg.norm(over - tool[:2]))
    if miss < 0.012:
        return np.array([*over, tool[2] - cube[2] + CUBE_HALF - 0.002, tool[3]]), CLOSED
    height = style.lift if cube[2] - CUBE_HALF > 0.03 else style.lift + 0.02
    keep = tool[:2] if cube[2] - CUBE_HALF < 0.02 else over
    return np.array([*keep, height, tool[3]]), CLOSED


def push(scene: Scene, colour: str, style: Style) -> tuple[np.ndarray, float]:
    """With closed fingers behind the cube as seen from the pad, then through it towards the pad, around the others."""
    tool, cube = scene.tool, scene.cube(colour)
    way = _around(scene, colour) - cube[:2]
    gap = float(np.linalg.norm(way))
    ahead = way / max(gap, 1e-9)
    side = np.array([-ahead[1], ahead[0]])
    along, across = (tool[:2] - cube[:2]) @ ahead, (tool[:2] - cube[:2]) @ side
    yaw = _across(float(np.arctan2(ahead[1], ahead[0])), tool[3])
    low = tool[2] < 0.03
    behind = cube[:2] - 0.045 * ahead
    if low and along < -0.008 and abs(across) < 0.012 - 0.1 * min(0.0, along + 0.02):
        push_to = tool[:2] + style.speed * 0.6 * ahead - 0.6 * across * side
        return np.array([*push_to, 0.016, yaw]), CLOSED
    if np.linalg.norm(behind - tool[:2]) < 0.01 and scene.gripper < 0.15 and abs(yaw - tool[3]) < TURNED:
        return np.array([*behind, 0.016, yaw]), CLOSED
    if tool[2] < CLEAR - 0.01 and np.linalg.norm(behind - tool[:2]) > 0.015:
        return np.array([*tool[:2], style.hover, tool[3]]), CLOSED
    return np.array([*behind, style.hover, yaw]), CLOSED


_RULES: dict[str, Callable[[Scene, str, Style], tuple[np.ndarray, float]]] = {
    "pick": pick,
    "place": place,
    "push": push,
}


def _around(scene: Scene, colour: str) -> np.ndarray:
    """Where to push a cube to now `(2,)`: the pad, or a place beside another cube that lies in the way."""
    cube, pad = scene.cube(colour)[:2], scene.pad[:2]
    way = pad - cube
    gap = max(float(np.linalg.norm(way)), 1e-9)
    ahead = way / gap
    side = np.array([-ahead[1], ahead[0]])
    for other in (scene.cube(name)[:2] for name in COLOURS if name != colour):
        along, aside = float((other - cube) @ ahead), float((other - cube) @ side)
        if -0.01 < along < gap and abs(aside) < BERTH:
            return other - np.copysign(BERTH, aside) * 1.2 * side
    return pad


def _across(heading: float, near: float) -> float:
    """The angle nearest to `near` that differs from a cube's heading by quarter turns."""
    return near + (heading - near + np.pi / 4) % (np.pi / 2) - np.pi / 4
