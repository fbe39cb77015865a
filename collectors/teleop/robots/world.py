"""The embedded world as a robot: no hardware, scenes by seed, and a verdict.

Physics advance with every `act`, by one tick; pictures are drawn beside it (`painter.py`) and carry the time of the
instant they show.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from collectors.teleop.robots.painter import Painter
from dataengine.episode import Feature
from dataengine.errors import RobotError
from dataengine.robot import Kinematics, Sample
from dataengine.sim.arms.hand import GRIPPER
from dataengine.sim.model import CAMERAS
from dataengine.sim.scene import Still
from dataengine.sim.spaces import spaces
from dataengine.sim.tasks import TASKS
from dataengine.sim.world import Tabletop

BUSY = 0.2  # [s] that a hold waits for a tick of physics to end
REDRAWN = 0.1  # [s] after which a world in which nobody acts is drawn again

# [m/s], [rad/s], [1/s] and per second of those: as fast as the expert is, no faster than the servos.
_SPEED: Mapping[str, tuple[float, float]] = {"m": (0.8, 12.0), "rad": (4.0, 60.0), "1": (10.0, 400.0)}
JOINT_SPEED, JOINT_ACCELERATION = 1.8, 9.0  # [rad/s], [rad/s²] of Cartesian control


@dataclass
class WorldRobot:
    """The tabletop with an arm. arm: "five" or "six" joints. fps: ticks a second. image_size: side of the pictures
    [pixels]. cameras: which. task: one for all scenes; none: any, by seed. phrasing: as the world's.
    """

    arm: Literal["five", "six"] = "five"
    fps: float = 30.0
    image_size: int = 224
    cameras: tuple[str, ...] = ("front", "wrist")
    task: str | None = None
    phrasing: Literal["usual", "varied"] = "usual"
    beside: bool = True
    now: Callable[[], float] = field(default=time.monotonic, init=False, repr=False)

    name = "world"
    heading = np.pi  # the front camera looks at the robot: away from it is towards the base

    def __post_init__(self) -> None:
        if unknown := set(self.cameras) - set(CAMERAS):
            raise RobotError(f"the world has no camera {', '.join(sorted(unknown))}; it has {', '.join(CAMERAS)}")
        self.world = Tabletop(cameras=(), arm=self.arm, fps=self.fps, phrasing=self.phrasing)
        able = tuple(name for name in TASKS if self._can(name))
        self.world = replace(self.world, tasks=able)
        if self.task is not None and self.task not in able:
            raise RobotError(f"there is no task {self.task!r} for the arm {self.arm}; there are {', '.join(able)}")
        self.tasks = able
        self.embodiment = self.world.embodiment
        self.features: Mapping[str, Feature] = spaces(self.world.body, self.cameras, self.image_size)
        self._painter = Painter(self._draw, self.beside)
        self._lock = threading.Lock()
        self._shown, self._state = -np.inf, Sample(np.zeros(0, np.float32), 0.0)
        self._progress, self._won = 0.0, False

    def _can(self, task: str) -> bool:
        try:
            Tabletop(cameras=(), arm=self.arm, tasks=(task,))
        except Exception:
            return False
        return True

    @property
    def limits(self) -> Mapping[str, Any]:
        """Of the action: the arm's box, and how fast it may change."""
        body = self.world.body
        speed, acceleration = zip(*(_SPEED[unit] for unit in body.action_units), strict=True)
        return {"low": body.action_low, "high": body.action_high, "speed": speed, "acceleration": acceleration}

    @property
    def kinematics(self) -> Kinematics:
        known = self.world.kinematics
        return Kinematics(
            known.model, known.joints, known.site, GRIPPER, JOINT_SPEED, JOINT_ACCELERATION, pose_actions=True
        )

    @property
    def instruction(self) -> str:
        return self.world.instruction

    def connect(self) -> None:
        """Lay out a first scene and draw it, so that the drawing's own start delays no tick."""
        self.reset(0)
        if self.cameras:
            self._draw(self.world.still())

    def reset(self, seed: int, task: str | None = None) -> None:
        """The scene of a seed, the arm at rest; pictures of the old one are gone."""
        with self._mine():
            chosen = task or self.task
            self.world.reset(seed=seed, options={"task": chosen} if chosen else None)
            self._painter.forget()
            self._sense()
            self._show()

    def observe(self) -> Mapping[str, Sample]:
        if self.now() - self._shown > REDRAWN:
            with self._mine():
                self._sense()
                self._show()
        return {"observation.state": self._state, **self._painter.newest}

    def newest(self) -> Mapping[str, Sample]:
        """The newest pictures, from any thread."""
        return self._painter.newest

    def act(self, action: np.ndarray) -> np.ndarray:
        """Advance by one tick towards the target; gives what the arm's reach left of it."""
        with self._mine():
            pose = self.world.body.reachable(np.asarray(action[:-1], np.float64))
            sent = np.array([*pose, np.clip(action[-1], 0.0, 1.0)], np.float32)
            self.world.advance(sent)
            self._sense()
            self._show()
        return sent

    def hold(self) -> np.ndarray:
        with self._mine():
            held: np.ndarray = self.world.hold_action()
            return held

    def disconnect(self) -> None:
        self._painter.stop()

    def verdict(self) -> Mapping[str, Any]:
        """`success`, `progress` and `wrong_object` of the present moment."""
        with self._mine():
            progress, info = self.world.verdict()
        self._progress, self._won = progress, bool(info["is_success"])
        return {"success": self._won, "progress": progress, "wrong_object": bool(info["wrong_object"])}

    @property
    def columns(self) -> Mapping[str, Feature]:
        """What a row holds beside: the task's progress, and whether it is done."""
        return {
            "next.reward": Feature("float32", (1,), ("progress",), "reward", "1"),
            "next.success": Feature("bool", (1,), ("success",), "done"),
        }

    def columns_now(self) -> Mapping[str, np.ndarray]:
        """Their values, of the last verdict."""
        return {"next.reward": np.array([self._progress], np.float32), "next.success": np.array([self._won])}

    # -- inside --------------------------------------------------------------------------------------------

    @contextmanager
    def _mine(self) -> Any:
        if not self._lock.acquire(timeout=BUSY):
            raise RobotError("the world does not answer: its physics are stuck")
        try:
            yield
        finally:
            self._lock.release()

    def _sense(self) -> None:
        self._state = Sample(self.world.observe_state()["observation.state"], self.now())

    def _show(self) -> None:
        self._shown = self.now()
        if self.cameras:
            self._painter.show(self.world.still(), self._shown)

    def _draw(self, still: Still) -> Mapping[str, np.ndarray]:
        draw = self.world.render
        return {f"observation.images.{camera}": draw(camera, self.image_size, still) for camera in self.cameras}
