"""For tests of teleoperation: a time that is turned by hand, an arm that says when it was told what, a recorder that
keeps nothing on disk, and a device that says what it is told to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from faulty_robot import FaultyRobot

from collectors.recorder import Tick
from collectors.teleop.loop import Metronome
from collectors.teleop.messages import Input, Order
from collectors.teleop.plan import Plan
from collectors.teleop.session import Session
from dataengine.errors import RobotError
from dataengine.robot import Command, Robot, Sample

TRACES = Path(__file__).parent / "collectors" / "teleop" / "traces"


class TurnedClock:
    """Time that passes only when it is waited for; what looks at it every 20 ms does so meanwhile."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        return self.time

    def until(self, due: float) -> None:
        self.spend(due - self.time)

    def spend(self, seconds: float) -> None:
        """Let it pass."""
        end = self.time + max(seconds, 0.0)
        while self.time < end - 1e-12:
            self.time = min(self.time + 0.02, end)
            for watcher in self.watchers:
                watcher()


@dataclass
class TurnedArm(FaultyRobot):
    """The test arm in turned time: it notes when it was told what. lost: connecting fails until then [s]."""

    turned: TurnedClock = field(default_factory=TurnedClock)
    lost: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clock = self.turned.now
        self.acted: list[tuple[float, np.ndarray]] = []
        self.held: list[float] = []

    def connect(self) -> None:
        if self.turned.now() < self.lost:
            raise RobotError("the test arm is not there; plug it in")
        super().connect()

    def observe(self) -> dict[str, Sample]:
        waits = [fault for fault in self.faults if fault.kind == "late" and fault.holds(self.calls)]
        if not waits:
            return super().observe()
        others = tuple(fault for fault in self.faults if fault not in waits)
        for fault in waits:
            self.turned.spend(fault.amount)
        every, self.faults = self.faults, others
        seen = super().observe()
        self.faults = every
        return seen

    def act(self, action: np.ndarray) -> np.ndarray:
        self.acted.append((self.turned.now(), np.array(action)))
        return super().act(action)

    def hold(self) -> np.ndarray:
        self.held.append(self.turned.now())
        return super().hold()


@dataclass
class Told:
    """A device that gives what `says` gives of the time; it is always engaged. leads: as leader arms do."""

    says: Callable[[float], np.ndarray | None]
    name: str = "told"
    leads: bool = False
    autonomous: bool = False
    until: float = np.inf  # commands after this time [s] stay as old as this
    started: int = 0

    def start(self, robot: Robot) -> None:
        self.started += 1

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command | None:
        wish = self.says(now)
        return None if wish is None else Command(min(now, self.until), action=wish)

    def stop(self) -> None:
        pass


class MemoryTake:
    """What a take owes, in memory."""

    def __init__(self, recorder: MemoryRecorder, task: str, extra: Mapping[str, Any]) -> None:
        self.recorder, self.task, self.extra = recorder, task, dict(extra)
        self.ticks: list[Tick] = []
        self.stopped: str | None = None

    @property
    def rows(self) -> int:
        return len(self.ticks)

    def add(self, tick: Tick) -> None:
        if self.recorder.breaks is not None and len(self.ticks) == self.recorder.breaks:
            raise self.recorder.problem
        self.ticks.append(tick)

    def health(self) -> Any:
        return None

    def stop(self, why: str = "") -> None:
        self.stopped = self.stopped or why

    def episode(self) -> Any:
        raise RobotError("episodes of this recorder cannot be judged")

    def keep(self, **said: Any) -> int:
        self.recorder.episodes.append({**said, "rows": len(self.ticks), "ticks": self.ticks, "why": self.stopped or ""})
        return len(self.recorder.episodes) - 1

    def discard(self) -> None:
        self.recorder.thrown += 1


class MemoryRecorder:
    """What a recorder owes, in memory. breaks: the row at which adding raises `problem`. earlier: episodes that a store
    had already."""

    recovered = ()

    def __init__(self, earlier: int = 0) -> None:
        self.episodes: list[dict[str, Any]] = []
        self.earlier, self.thrown, self.breaks = earlier, 0, None
        self.breaks: int | None = None
        self.problem: Exception = RobotError("no room on the disk")

    @property
    def kept(self) -> int:
        return self.earlier + len(self.episodes)

    @property
    def successes(self) -> int:
        return sum(bool(episode["success"]) for episode in self.episodes)

    @property
    def seconds_kept(self) -> float:
        return sum(episode["rows"] for episode in self.episodes) / 30

    def start(self, task: str, extra: Mapping[str, Any] | None = None) -> MemoryTake:
        return MemoryTake(self, task, extra or {})

    def minutes_left(self) -> float:
        return 100.0

    def undo(self) -> str | None:
        return self.episodes.pop()["note"] or "gone" if self.episodes else None


class Rig:
    """A session in turned time. order(name, text): at the next tick. run(seconds): let it tick."""

    def __init__(self, robot: Any, device: Any, plan: Plan, recorder: Any, clock: TurnedClock, **more: Any) -> None:
        self.clock, self.robot, self.recorder = clock, robot, recorder
        devices = device if isinstance(device, dict) else {device.name: device}
        self.session = Session(robot, devices, plan, recorder, clock=clock, **more)
        clock.watchers.append(self.session.watchdog.check)
        self.metronome: Metronome = self.session.metronome
        self.session.course.prepare()

    def order(self, name: Any, text: str = "", on: bool = True) -> Rig:
        self.session.order(Order(name, text, on))
        return self.run(2 / self.session.plan.fps)

    def run(self, seconds: float) -> Rig:
        end = self.clock.now() + seconds
        while self.clock.now() < end - 1e-9 and self.session.course.phase != "done":
            self.session.tick(self.metronome.wait())
        return self

    @property
    def phase(self) -> str:
        return self.session.course.phase

    @property
    def said(self) -> str:
        return self.session.said


def rig(
    plan: Plan | None = None, device: Any = None, recorder: Any = None, clock: TurnedClock | None = None, **arm: Any
) -> Rig:
    """A session with the test arm, ready."""
    clock = clock or TurnedClock()
    robot = TurnedArm(turned=clock, **arm)
    device = device or Told(lambda now: np.zeros(robot.joints))
    made = plan or Plan(instruction="wipe the table", reset_seconds=1.0)
    return Rig(robot, device, made, MemoryRecorder() if recorder is None else recorder, clock).run(0.2)


def trace(name: str) -> list[tuple[float, Input]]:
    """The inputs of a recorded trace, each with its time since the first [s]."""
    lines = [json.loads(line) for line in (TRACES / f"{name}.jsonl").read_text().splitlines()]
    found = []
    for line in lines[1:]:
        parts = {key: tuple(line.get(key, ())) for key in ("keys", "axes", "buttons")}
        found.append((line["time"], Input(line["source"], line["seq"], line["sent"], **parts)))
    return found
