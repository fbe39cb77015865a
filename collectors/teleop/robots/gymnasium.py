"""Any robot environment of Gymnasium, by a small description: what is seen, what an action means, when it is done."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

import dataengine.sim  # noqa: F401 – says how MuJoCo shall draw before an environment imports it
from collectors.teleop.robots.stepper import Stepper, plain
from dataengine.episode import Feature
from dataengine.errors import RobotError
from dataengine.robot import Sample

Meaning = Literal["absolute", "delta", "velocity"]
AXES = ("x", "y", "z", "roll", "pitch", "yaw")


@dataclass
class GymnasiumRobot:
    """env: id of the environment. package: what to import first, which registers it. kwargs: of `gymnasium.make`.

    state: places in the observation that make `observation.state` (`agent_pos`; nested ones by dots), joined, and
    state_names of its elements. cameras: by name, the places of pictures `(H, W, 3)` uint8. action: names of its
    elements, in `units`. meaning: whether they are targets, steps or rates.

    twist: for an action that moves a tool, by axis the element it goes `to` and how much of it is one m/s or rad/s
    (`by`). gripper: the element it goes `to`, and what `closed` and `open` are. hold_from: for targets, where in the
    state the action's elements are measured; else the action is held as it was sent last, `rest` at first.

    low, high: of the action's elements, where the environment's own box is not meant (gym-aloha's says 1 for radians).

    success: the key of `info` that says so. fps: steps a second. heading: see `devices/page.py`. shadows: draw them.
    beside: step in a thread of its own.
    """

    env: str
    package: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    state: tuple[str, ...] = ("agent_pos",)
    state_names: tuple[str, ...] = ()
    cameras: Mapping[str, str] = field(default_factory=dict)
    action: tuple[str, ...] = ()
    meaning: Meaning = "absolute"
    units: tuple[str, ...] = ("1",)
    twist: Mapping[str, Any] = field(default_factory=dict)
    gripper: Mapping[str, Any] = field(default_factory=dict)
    hold_from: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    rest: tuple[float, ...] = ()
    success: str = "is_success"
    fps: float = 30.0
    instruction: str = "do the task"
    embodiment: str = ""
    heading: float = 0.0
    shadows: bool = False
    beside: bool = True
    now: Callable[[], float] = field(default=time.monotonic, init=False, repr=False)

    name = "gymnasium"
    tasks = ()
    patience = 10.0  # [s] that a step may take: the environment's own time stands still meanwhile

    def __post_init__(self) -> None:
        self.embodiment = self.embodiment or self.env
        self._stepper = Stepper(self._made, lambda: self.now(), self.beside)
        self._features: dict[str, Feature] = {}
        self._seen: tuple[Any, dict[str, np.ndarray]] = (None, {})
        self._seed = 0
        self._sent: np.ndarray = np.zeros(0, np.float32)

    @property
    def features(self) -> Mapping[str, Feature]:
        if not self._features:
            raise RobotError(f"{self.env} tells what it senses once it is connected")
        return self._features

    @property
    def limits(self) -> Mapping[str, Any]:
        """What was said of the action's elements, else the box of the environment's actions."""
        space = self._stepper.env.action_space
        return {"low": self.low or space.low, "high": self.high or space.high}

    def connect(self) -> None:
        self._stepper.open()
        self.reset(self._seed)

    def reset(self, seed: int, task: str | None = None) -> None:
        self._seed = seed
        self._stepper.reset(seed)
        if not self._features:
            self._features = self._described()
        self._sent = self._resting()

    def observe(self) -> Mapping[str, Sample]:
        """The last step's; while nobody acts it is still true."""
        when = self._stepper.last.time if self._stepper.busy else self.now()
        return {key: Sample(value, when) for key, value in self._values().items()}

    def act(self, action: np.ndarray) -> np.ndarray:
        limits = self.limits
        self._sent = np.clip(np.asarray(action, np.float32), limits["low"], limits["high"]).astype(np.float32)
        self._stepper.put(self._sent.astype(self._stepper.env.action_space.dtype))
        return self._sent.copy()

    def hold(self) -> np.ndarray:
        held = self._sent.copy()
        if self.hold_from:
            held = self._values()["observation.state"][list(self.hold_from)].astype(np.float32)
        if self.meaning != "absolute":
            held = np.zeros_like(held)
        if self.gripper:
            held[self._at(self.gripper["to"])] = self._sent[self._at(self.gripper["to"])]
        return held

    def steer(self, twist: np.ndarray, gripper: float | None) -> np.ndarray:
        """The action for a tool's twist `(6,)` and an opening, by `twist` and `gripper`."""
        if not self.twist:
            raise RobotError(f"{self.env}: nothing says how a tool's motion becomes an action; add `twist`")
        action = np.zeros(len(self._sent))
        for axis, speed in zip(AXES, twist, strict=True):
            if axis in self.twist:
                action[self._at(self.twist[axis]["to"])] = speed * float(self.twist[axis]["by"])
        if self.gripper:
            at, closed, opened = (
                self._at(self.gripper["to"]),
                float(self.gripper["closed"]),
                float(self.gripper["open"]),
            )
            action[at] = self._sent[at] if gripper is None else closed + gripper * (opened - closed)
        return action

    def verdict(self) -> Mapping[str, Any]:
        won, reward = bool(self._stepper.last.info.get(self.success, False)), self._stepper.last.reward
        return {"success": won, "progress": 1.0 if won else min(max(reward, 0.0), 1.0), "wrong_object": False}

    @property
    def columns(self) -> Mapping[str, Feature]:
        """What a row holds beside: the environment's reward, and whether the task is done."""
        done = Feature("bool", (1,), ("success",), "done")
        return {"next.reward": Feature("float32", (1,), ("reward",), "reward"), "next.success": done}

    def columns_now(self) -> Mapping[str, np.ndarray]:
        reward = np.array([self._stepper.last.reward], np.float32)
        return {"next.reward": reward, "next.success": np.array([self.verdict()["success"]])}

    def disconnect(self) -> None:
        try:
            self._stepper.close()
        except Exception:
            self._stepper.env = None

    # -- inside ----------------------------------------------------------------------------------------------

    def _made(self) -> Any:
        import gymnasium

        try:
            if self.package:
                importlib.import_module(self.package)
            made = gymnasium.make(self.env, disable_env_checker=True, **self.kwargs)
        except Exception as problem:
            raise RobotError(f"{self.env} cannot be made: {problem}; is its package installed?") from problem
        return made if self.shadows else plain(made)

    def _values(self) -> dict[str, np.ndarray]:
        """The last observation by feature key; made once for each."""
        seen, values = self._seen
        newest = self._stepper.last.seen
        if newest is not seen:
            parts = [np.asarray(_at(newest, place), np.float32).reshape(-1) for place in self.state]
            values = {"observation.state": np.concatenate(parts)}
            for name, place in self.cameras.items():
                values[f"observation.images.{name}"] = np.array(_at(newest, place), np.uint8)
            self._seen = newest, values
        return values

    def _described(self) -> dict[str, Feature]:
        values, count = self._values(), int(np.prod(self._stepper.env.action_space.shape))
        size = values["observation.state"].size
        names = self.state_names or tuple(f"state_{n}" for n in range(size))
        told = self.action or tuple(f"action_{n}" for n in range(count))
        if len(names) != size or len(told) != count:
            there = f"{size} numbers of state and {count} of action"
            raise RobotError(f"{self.env} has {there}, not {len(names)} and {len(told)}")
        units = self.units[0] if len(self.units) == 1 else self.units
        found = {
            "observation.state": Feature("float32", (size,), names, "state"),
            "action": Feature("float32", (count,), told, "action", units, info={"kind": self.meaning}),
        }
        for key, value in values.items():
            if value.ndim == 3:
                found[key] = Feature("video", value.shape, ("height", "width", "channels"), "image")
        return found

    def _resting(self) -> np.ndarray:
        count = int(np.prod(self._stepper.env.action_space.shape))
        resting = np.array(self.rest if len(self.rest) == count else (0.0,) * count, np.float32)
        if self.gripper and not self.rest:
            resting[self._at(self.gripper["to"])] = float(self.gripper["open"])
        return resting

    def _at(self, name: str) -> int:
        if name not in self.action:
            raise RobotError(f"{self.env}: the action has no {name!r}; it has {', '.join(self.action)}")
        return self.action.index(name)


def _at(seen: Any, place: str) -> Any:
    """A place in a nested observation; an empty one is all of it."""
    for part in filter(None, place.split(".")):
        if not isinstance(seen, Mapping) or part not in seen:
            there = ", ".join(map(str, seen)) if isinstance(seen, Mapping) else "no names"
            raise RobotError(f"the observation has no {place!r}: instead of {part!r} there is {there}")
        seen = seen[part]
    return seen
