"""One tick of driving: a device's command becomes an action within limits, and the robot gets it – or is held.

Nothing here knows of episodes. Whatever interrupts – a silent device, a stop, another actor, a watchdog that bit – the
next motion begins from where the robot is, slowly until it is where the device wants it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from collectors.teleop.pace import Limits, Pace
from collectors.teleop.safety import APPROACH, ARRIVED, DEADMAN, check_hold
from dataengine.errors import RobotError
from dataengine.robot import Command, Device, Kinematic, Robot, Sample


@runtime_checkable
class Steered(Robot, Protocol):
    """A robot without kinematics here whose own actions are motions of its tool."""

    def steer(self, twist: np.ndarray, gripper: float | None) -> np.ndarray:
        """The action `(A,)` for a tool's twist `(6,)` and an opening; None leaves the gripper."""
        ...


@dataclass(frozen=True)
class Move:
    """What a tick did. action: `(A,)` float32, what was asked of the robot within limits. sent: what it took of it.
    actor: who acted. held: why the robot was held instead; empty where it moved or was meant to stay."""

    action: np.ndarray
    sent: np.ndarray
    actor: str
    intervention: bool = False
    held: str = ""


class Drive:
    """Lets a device drive a robot at `fps`. scale: of devices that give poses.

    `joining`: the robot is still on its way, slowly, to where the device wants it. `refused`: seconds for which the
    device has asked for what nobody can have meant. `working`: the device moves the robot at this tick.
    """

    def __init__(self, robot: Robot, device: Device, fps: float, scale: float = 1.0) -> None:
        self.robot, self.device, self.fps, self.scale = robot, device, fps, scale
        self.joining, self.refused, self.working, self.lapsed = True, 0.0, False, False
        self.actor, self._intervention = actors(device)[0], False
        self._pace: Pace | None = None
        self._hands: _Hands | None = None
        self._model: object = None

    def begin(self) -> None:
        """Take hold of a connected robot where it stands. Raises `RobotError` where it stands wrongly."""
        action = self.robot.features["action"]
        limits = Limits.of(action, getattr(self.robot, "limits", None))
        held = np.asarray(self.robot.hold(), np.float64)
        check_hold(held, action, limits.low, limits.high)
        self._pace = Pace(limits)
        self._take_hands()
        self._again(held)

    def rejoin(self) -> None:
        """Something came between: begin again from where the robot is."""
        self._again(np.asarray(self.robot.hold(), np.float64))

    def step(self, now: float, observation: Mapping[str, Sample], follow: bool = True) -> Move:
        """One tick. follow: do what the device says; else stay. Raises `RobotError` where the robot takes nothing."""
        if not follow and getattr(self.device, "autonomous", False):
            return self._stay()  # a policy thinks only while it acts
        command = self.device.read(now, observation)
        self._note_actor(command)
        late = command is not None and now + 1 / self.fps - command.time > DEADMAN + 1e-9
        if not follow or command is None or (late and not self.working and not self.lapsed):
            return self._stay()
        if late:
            return self._lapse()
        self.lapsed = False
        if not command.engaged:
            return self._stay()
        return self._follow(command, observation)

    def home(self, wish: np.ndarray) -> Move:
        """One tick on the slow way to a pose `(A,)`; `joining` until it is reached."""
        self.joining = not self.pace.near(wish, 1 / self.fps)
        return self._send(self.pace.toward(wish, 1 / self.fps, APPROACH))

    @property
    def pace(self) -> Pace:
        if self._pace is None:
            raise RobotError("the robot is not connected yet")
        return self._pace

    def _take_hands(self) -> None:
        """Cartesian control of robots that say how their joints move a tool; anew where another scene has another
        model."""
        if not isinstance(self.robot, Kinematic) or self._model is self.robot.kinematics.model:
            return
        from collectors.teleop.cartesian import Cartesian

        kinematics, features = self.robot.kinematics, self.robot.features
        self._model = kinematics.model
        action, state = features["action"], features["observation.state"]
        self._hands = Cartesian(kinematics, action, state, self.fps, self.scale)

    def _again(self, held: np.ndarray) -> None:
        self.pace.reset(held)
        self.joining, self.working, self.refused = True, False, 0.0
        if self._hands is not None:
            self._hands.forget()

    def _note_actor(self, command: Command | None) -> None:
        said = (command.extra or {}) if command is not None else {}
        self._intervention = bool(said.get("intervention", False))
        actor = str(said.get("actor", actors(self.device)[0])) if command is not None else self.actor
        if actor != self.actor:  # from where the last one left the robot, without stopping it
            self.actor, self.joining = actor, True
            self.pace.forget()
            if self._hands is not None:
                self._hands.forget()

    def _stay(self) -> Move:
        self.working, self.refused = False, 0.0
        if self._hands is not None:
            self._hands.freeze()
        return self._send(self._resting())

    def _lapse(self) -> Move:
        """The dead-man's time is over: the robot's own hold, once; then it is told to stay there."""
        if not self.lapsed:
            self.lapsed = True
            self.rejoin()
        said = f"no command from {self.actor} for {DEADMAN * 1000:.0f} ms"
        return self._send(self._resting(), held=said)

    def _follow(self, command: Command, observation: Mapping[str, Sample]) -> Move:
        wish = self._wish(command, observation)
        absolute = command.action is not None
        if self.joining and absolute and self.pace.near(wish, ARRIVED):
            self.joining, self.refused = False, 0.0
        if self.joining and not absolute:
            self.joining = False
        if self.joining:
            self.working = True
            return self._send(self.pace.toward(wish, 1 / self.fps, APPROACH))
        # A tool's motion is kept near the tool; only its gripper may be told to close at once.
        if self.pace.jumps(wish) if absolute else not np.isfinite(wish).all():
            self.refused += 1 / self.fps
            return self._send(self._resting(), held=f"{self.actor} jumped; the motion was refused")
        self.refused, self.working = 0.0, True
        return self._send(self.pace.toward(wish, 1 / self.fps))

    def _resting(self) -> np.ndarray:
        """The next action on the way to a standstill; where actions are steps or rates, the robot's own."""
        if self.pace.limits.rates:
            self.pace.reset(np.asarray(self.robot.hold(), np.float64))
        return self.pace.brake(1 / self.fps)

    def _wish(self, command: Command, observation: Mapping[str, Sample]) -> np.ndarray:
        if command.action is not None:
            return np.asarray(command.action, np.float64)
        if self._hands is not None:
            return self._hands.wish(command, observation)
        if isinstance(self.robot, Steered) and command.twist is not None:
            return np.asarray(self.robot.steer(command.twist, command.gripper), np.float64)
        raise RobotError(f"{self.robot.name} cannot be driven by its tool: it has no kinematics; use a leader arm")

    def _send(self, action: np.ndarray, held: str = "") -> Move:
        action = action.astype(np.float32)
        sent = np.asarray(self.robot.act(action), np.float32)
        if sent.shape != action.shape or not np.isfinite(sent).all():
            raise RobotError(f"{self.robot.name} says it was sent {sent}: check its bus and power")
        return Move(action, sent, self.actor, self._intervention, held)


def actors(device: Device) -> tuple[str, ...]:
    """Everybody who may act through a device; the first one does while it says nothing."""
    return tuple(getattr(device, "actors", (device.name,)))


class _Hands(Protocol):
    """What Cartesian control owes to a drive (`cartesian.py`), imported only for robots that have kinematics."""

    def wish(self, command: Command, observation: Mapping[str, Sample]) -> np.ndarray: ...
    def forget(self) -> None: ...
    def freeze(self) -> None: ...
