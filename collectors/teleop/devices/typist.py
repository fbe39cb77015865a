"""Somebody at the keyboard, as a program: it sees the embedded world late, holds and taps keys, waits, slips.

What it presses goes through the page's keyboard device, so that its demonstrations move as a person's do: along the
axes, in starts and stops, with pauses and mistakes that are put right. It knows what to do from the scripted expert.
A person's own motion since what they see is allowed for, as in Smith's predictor (1957); how far it went is guessed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from collectors.teleop.devices.keyboard import GRIP, MOVES, SLOW, SLOWLY, Keyboard
from collectors.teleop.inputs import Inputs
from collectors.teleop.messages import Input
from dataengine.errors import RobotError
from dataengine.robot import Command, Robot, Sample

# By axis (forward, left, up, roll, pitch, yaw): the keys that move along it, backwards and forwards.
KEYS = tuple(
    tuple(next(key for key, move in MOVES.items() if move[axis] == sign) for sign in (-1, 1)) for axis in range(6)
)
CLOSE = np.array([0.0035, 0.0035, 0.004, 0.08, 0.08, 0.06])  # [m], [rad] that is near enough to let go
NEAR = 10.0  # times that: from here on with the shift key
FINGERS = 3  # keys that are held at once, beside shift
LOOK = (0.15, 0.4)  # [s] from one decision to the next
TAP = 0.12  # [s] that the gripper's key is down
REGRASP = 0.5  # [s] in which nobody presses it twice


@dataclass
class Typist:
    """reaction: [s] from what happens to what the fingers do about it. guess: spread of how far a person believes the
    tool has gone meanwhile. slips, pauses: how many a minute. seed: of all that differs between episodes.
    """

    reaction: float = 0.25
    guess: float = 0.3
    slips: float = 8.0
    pauses: float = 10.0
    seed: int = 0

    name = "typist"
    autonomous = True

    def __post_init__(self) -> None:
        if not 0 <= self.reaction <= 1 or not 0 <= self.guess <= 0.5 or min(self.slips, self.pauses) < 0:
            raise RobotError("typist: reaction is 0 to 1 s, guess 0 to 0.5, slips and pauses are not negative")
        self._rng = np.random.default_rng(self.seed)

    def start(self, robot: Robot) -> None:
        """In the scene as it lies there now."""
        from collectors.teleop.robots.world import WorldRobot
        from dataengine.sim.expert import Expert

        if not isinstance(robot, WorldRobot):
            raise RobotError(f"the typist looks at the embedded world; it cannot drive {robot.name}")
        self._now = 0.0
        self._keyboard = Keyboard()
        self._keyboard.inputs = Inputs(lambda: self._now)
        self._keyboard.start(robot)
        self._expert = Expert(robot.world.scene, robot.world.task, self._rng)
        self._heading = robot.heading
        self._seen: deque[tuple[float, np.ndarray, bool]] = deque()
        self._moved: deque[tuple[float, np.ndarray]] = deque()
        self._down: dict[str, float] = {}  # when each key that is down is let go
        self._open, self._looks, self._gripped, self._seq, self._last = True, 0.0, -np.inf, 0, 0.0

    def read(self, now: float, observation: Mapping[str, Sample]) -> Command | None:
        self._see(now)
        if now >= self._looks:
            self._decide(now)
        self._down = {key: until for key, until in self._down.items() if until > now}
        keys = tuple(sorted(self._down))
        self._note_motion(now, keys)
        self._now, self._seq = now, self._seq + 1
        assert self._keyboard.inputs is not None
        self._keyboard.inputs.take(Input("keyboard", self._seq, 1000 * now, keys=keys))
        return self._keyboard.read(now, observation)

    def stop(self) -> None:
        pass

    # -- the person ------------------------------------------------------------------------------------------

    def _see(self, now: float) -> None:
        """What is there now reaches the mind after the reaction time."""
        gap, opening = self._expert.gap()
        self._seen.append((now, self._in_view(gap), opening > 0.5))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self.reaction + 1e-9:
            self._seen.popleft()

    def _decide(self, now: float) -> None:
        """What to hold until the next look."""
        rng, until = self._rng, now + self._rng.uniform(*LOOK)
        self._looks = until
        chance = (until - now) / 60
        if rng.random() < self.pauses * chance:
            self._looks, self._down = now + rng.uniform(0.4, 1.5), {}
            return
        when, gap, opened = self._seen[0]
        if opened != self._open and now - self._gripped > REGRASP:
            self._open, self._gripped = opened, now
            self._down = {GRIP: now + TAP}
            return
        left = gap - self._moved_since(when) * rng.normal(1, self.guess)
        far = np.abs(left) / CLOSE
        slow = float(np.max(far)) < NEAR
        speed = self._speed() * (SLOWLY if slow else 1.0)
        self._down = {SLOW[0]: until} if slow else {}
        for axis in np.argsort(far)[::-1][:FINGERS]:
            if far[axis] > 1:
                key = KEYS[axis][int(left[axis] > 0)]
                self._down[key] = min(now + abs(left[axis]) / speed[axis], until)
        if rng.random() < self.slips * chance:
            self._down[rng.choice([key for key in MOVES if key.startswith("Key")])] = until

    def _moved_since(self, when: float) -> np.ndarray:
        """How far the keys should have taken the tool since `(6,)`."""
        while self._moved and self._moved[0][0] < when - 1e-9:
            self._moved.popleft()
        return np.sum([move for _, move in self._moved], axis=0) if self._moved else np.zeros(6)

    def _note_motion(self, now: float, keys: tuple[str, ...]) -> None:
        took = min(now - self._last, 0.2) if self._seq else 0.0
        self._last = now
        share = SLOWLY if SLOW[0] in keys else 1.0
        ways = np.sum([MOVES[key] for key in keys if key in MOVES], axis=0) if keys else np.zeros(6)
        self._moved.append((now, share * took * self._speed() * np.clip(ways, -1, 1)))

    def _speed(self) -> np.ndarray:
        """Of every axis with its key down `(6,)`."""
        return np.repeat([self._keyboard.speed, self._keyboard.turn], 3)

    def _in_view(self, gap: np.ndarray) -> np.ndarray:
        """A gap of the base frame as the person at the screen sees it: forward, left, up, and turns about those."""
        c, s = np.cos(self._heading), np.sin(self._heading)
        turned = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        return np.concatenate([turned @ gap[:3], turned @ gap[3:]])
