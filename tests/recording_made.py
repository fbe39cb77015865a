"""Takes for tests: ticks of a robot on a clock that the test winds, so that nothing has to be waited for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from faulty_robot import FaultyRobot

from collectors.recorder import Recorder, Setup, Take, Tick
from dataengine.episode import Feature
from dataengine.robot import Sample

FPS = 30.0
FRONT = "observation.images.front"
REWARD = {"next.reward": Feature("float32", (1,), role="reward"), "next.success": Feature("bool", (1,))}
FORCE = {"force": Feature("float64", (3,), ("x", "y", "z"), unit="N")}


def setup_of(robot: FaultyRobot, **more: Any) -> Setup:
    about = {"actors": ("person", "policy"), "operator": "Ada", "embodiment": robot.embodiment, "licence": "apache-2.0"}
    return Setup(robot.fps, robot.features, **{**about, "robot": {"name": robot.name}, **more})


def ticks(robot: FaultyRobot, count: int, *, start: float = 1000.0, late: float = 0.0, **more: Any) -> Iterator[Tick]:
    """`count` ticks that come on time; samples are 5 ms old. more: fields of each tick."""
    for n in range(count):
        due = start + n / robot.fps
        robot.clock = lambda due=due: due - 0.005
        observation = robot.observe()
        action = np.sin(np.arange(robot.joints) + n / 10).astype(np.float32)
        tick = Tick(due, due + late, observation, action, robot.act(action), "person")
        yield replace(tick, **{key: value(n) if callable(value) else value for key, value in more.items()})


def rewarded(n: int) -> dict[str, np.ndarray]:
    return {"next.reward": np.float32(n / 7), "next.success": np.bool_(n % 5 == 0)}  # type: ignore[dict-item]


def filled(recorder: Recorder, robot: FaultyRobot, count: int, task: str = "pick up the cube", **more: Any) -> Take:
    """A take with so many ticks."""
    take = recorder.start(task)
    for tick in ticks(robot, count, **more):
        take.add(tick)
    return take


def encoded(take: Take) -> Take:
    """The take, when every row is encoded that an encoder gives before the next one comes."""
    deadline = time.monotonic() + 60
    while any(camera.behind for camera in take._cameras.values()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return take


def samples(count: int, rate: float, start: float) -> Iterator[Sample]:
    """Of a force sensor."""
    for n in range(count):
        yield Sample(np.array([n, n / 3, -n], np.float64), start + n / rate)


def killed(recorder: Recorder, take: Take, target: Path) -> Path:
    """What a process killed now would leave of the take: its store, copied while it runs. Gives the copy."""
    encoded(take).journal.flush()
    shutil.copytree(recorder.store.root, target)
    return target
