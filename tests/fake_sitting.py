"""A sitting without a robot: pictures that move, phases that answer orders, and a list of what it was told.

A thread ticks at `fps` as a session's loop does: what was said acts at the next tick, and the picture of that tick
shows it (the bright square is lit while anything is held). `phase` and `troubles` may be set by whoever looks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from collectors.teleop.messages import Camera, Finding, Input, Order, Phase, Status, Verdict

FINDINGS = (
    Finding("duplicate", 2.1, 2.6, "the wrist camera shows the same picture for 0.5 s", True),
    Finding("idle", 6.4, 9.0, "the arm does not move for 2.6 s; the end could be cut", False),
)
CONTROLS = {
    "KeyW": "away",
    "KeyS": "towards you",
    "KeyA": "left",
    "KeyD": "right",
    "ArrowUp": "away",
    "ArrowDown": "towards you",
    "ArrowLeft": "left",
    "ArrowRight": "right",
    "KeyR": "up",
    "KeyF": "down",
    "KeyG": "open or close the gripper",
    "ShiftLeft": "slowly",
}


@dataclass
class FakeSitting:
    """cameras: height and width by feature key. now: what a test has set beside the round of phases."""

    cameras: Mapping[str, tuple[int, int]] = field(
        default_factory=lambda: {
            "observation.images.front": (480, 640),
            "observation.images.side": (480, 640),
            "observation.images.wrist": (224, 224),
        }
    )
    fps: float = 30.0
    instruction: str = "put the red cube into the bin"
    phase: Phase = "ready"
    troubles: tuple[str, ...] = ()
    minutes_left: float | None = 412.0
    target: int = 50
    kept: int = 12
    swings: bool = True
    orders: list[Order] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    ticks: int = 0

    def __post_init__(self) -> None:
        self._waiting: list[Order] = []
        self._newest: dict[str, Input] = {}
        self._echo: dict[str, float] = {}
        self._places = {key: [0.55, 0.5, 0.0] for key in self.cameras}
        self._grounds = {key: _ground(h, w, n) for n, (key, (h, w)) in enumerate(self.cameras.items())}
        self._pictures = dict(self._grounds)
        self._said, self._note, self._flagged, self._rehearsal = "Welcome. The robot is at its start.", "", False, False
        self._success: bool | None = None
        self._begun = self._ended = time.monotonic()
        self._discarded, self._successes, self._seconds = 2, 10, 431.0
        self._device, self._actor, self._held_by = "keyboard", "person", ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    # What the page's server asks

    def order(self, order: Order) -> None:
        self.orders.append(order)
        self._waiting.append(order)

    def input(self, given: Input) -> None:
        self.inputs.append(given)
        self._newest[given.source] = given

    def pictures(self) -> Mapping[str, np.ndarray]:
        return dict(self._pictures)

    def reference(self) -> Mapping[str, np.ndarray]:
        return {key: np.roll(ground, 9, axis=1) for key, ground in self._grounds.items()}

    def status(self) -> Status:
        review = self.phase == "review"
        old = time.monotonic() - self._ended
        seconds = (time.monotonic() if self.phase == "recording" else self._ended) - self._begun
        graded = Verdict(0.71, FINDINGS, {"lag": "too short an episode to tell"}, 0.8) if old > 0.6 else Verdict(None)
        x, y, grip = next(iter(self._places.values()))
        return Status(
            phase=self.phase,
            fps=self.fps,
            rate=self.fps - 0.04,
            instruction=self.instruction,
            kept=self.kept,
            target=self.target,
            episode_seconds=seconds if self.phase in ("recording", "review") else 0.0,
            episode_rows=int(seconds * self.fps) if self.phase in ("recording", "review") else 0,
            reset_left=max(0.0, 8.0 - old) if self.phase == "reset" else 0.0,
            device=self._device,
            actor=self._actor,
            recording=self.phase == "recording",
            rehearsal=self._rehearsal,
            flagged=self._flagged,
            note=self._note,
            success=self._success,
            progress=0.35 + 0.3 * x if self.phase in ("recording", "review") else None,
            late_ms=1.8,
            missed=0,
            minutes_left=self.minutes_left,
            state={"shoulder": x, "lift": y - 0.7, "elbow": 1.203, "wrist": -0.31, "roll": 0.02, "gripper": 1.0 - grip},
            cameras=tuple(
                Camera(key, h, w, self.fps - 0.1, 2 * n, 0, 0.04 + 0.2 * n)
                for n, (key, (h, w)) in enumerate(self.cameras.items())
            ),
            devices=("keyboard", "pointer", "gamepad", "touch", "phone", "expert"),
            tasks=("put the red cube into the bin", "open the drawer", "stack the blue cube on the green one"),
            trouble=self.troubles,
            said=self._said,
            echo=dict(self._echo),
            verdict=graded if review else None,
            discarded=self._discarded,
            successes=self._successes,
            seconds_kept=self._seconds,
            controls=CONTROLS,
            held_by=self._held_by,
        )

    # Its own clock

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join(5)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.is_set():
            due += 1 / self.fps
            self._end.wait(max(0.0, due - time.monotonic()))
            while self._waiting:
                self._obey(self._waiting.pop(0))
            if self.phase == "reset" and time.monotonic() - self._ended > 8.0:
                self.go("ready", "Ready.")
            held = self._drive()
            self._pictures = {key: self._drawn(key, held) for key in self.cameras}
            self.ticks += 1

    def _drive(self) -> bool:
        newest = dict(self._newest)
        self._echo = {source: given.sent for source, given in newest.items()}
        keys = {key for given in newest.values() for key in given.keys}
        held = bool(keys) or any(value > 0.5 for given in newest.values() for value in given.buttons)
        for place in self._places.values():
            place[0] += 0.012 * (("KeyD" in keys) - ("KeyA" in keys))
            place[1] += 0.012 * (("KeyS" in keys) - ("KeyW" in keys))
            place[2] = float("KeyG" in keys)
            place[:2] = np.clip(place[:2], 0.1, 0.9)
        return held

    def _obey(self, order: Order) -> None:
        here, name = self.phase, order.name
        if name == "next":
            steps = {"ready": "start", "recording": "stop", "review": "keep", "reset": "reset", "held": "release"}
            name = steps.get(here, "next")  # type: ignore[assignment]
        match name:
            case "start" if here == "ready":
                self._begun, self._success, self._note, self._flagged = time.monotonic(), None, "", False
                self.go("recording", f"Recording episode {self.kept + 1}.")
            case "stop" | "success" | "failure" if here in ("recording", "review"):
                self._success = {"success": True, "failure": False}.get(name, self._success)
                self.go("review", "Keep or discard?")
            case "keep" if here == "review":
                self.kept, self._seconds = self.kept + 1, self._seconds + self._ended - self._begun
                self._successes += self._success is not False
                self.go("reset", f"Kept as episode {self.kept - 1}. Lay out the next scene.")
            case "discard" | "redo" if here in ("recording", "review"):
                self._discarded += 1
                self.go("reset" if name == "discard" else "ready", "Discarded.")
            case "undo" if self.kept and here in ("ready", "reset"):
                self.kept -= 1
                self._say(f"Episode {self.kept} is out of the dataset.")
            case "reset":
                self.go("ready", "A new scene. Ready.")
            case "estop":
                self._held_by = "emergency stop"
                self.go("held", "Emergency stop: the robot is held.")
            case "release" if here in ("held", "fault"):
                self._held_by = ""
                self.go("ready", "Released. Ready.")
            case "takeover" | "handback":
                self._actor = "person" if name == "takeover" else "expert"
                self._say(f"The {self._actor} acts.")
            case "instruct":
                self.instruction = order.text
            case "task":
                self.instruction = order.text
            case "note":
                self._note = order.text
            case "flag":
                self._flagged = order.on
            case "rehearse":
                self._rehearsal = order.on
            case "device":
                self._device = order.text
            case "finish":
                self.go("done", "The sitting is over; everything is stored.")
            case _:
                self._say(f"Not now: {name} has no meaning while {here}.")

    def go(self, phase: Phase, said: str) -> None:
        if phase != "review" or self.phase != "review":
            self._ended = time.monotonic()
        self.phase = phase
        self._say(said)

    def _say(self, said: str) -> None:
        self._said = said

    def _drawn(self, key: str, held: bool) -> np.ndarray:
        picture = self._grounds[key].copy()
        height, width = picture.shape[:2]
        x, y, grip = self._places[key]
        swing = 0.01 * np.sin(time.monotonic() * 1.3) * self.swings
        at = (int((x + swing) * width), int(y * height))
        cv2.line(picture, (width // 2, 0), at, (96, 108, 122), max(4, width // 32), cv2.LINE_AA)
        cv2.line(picture, (width // 2, 0), at, (160, 172, 184), max(2, width // 64), cv2.LINE_AA)
        gap = int(width * (0.035 - 0.02 * grip))
        for side in (-gap, gap):
            cv2.line(picture, (at[0] + side, at[1]), (at[0] + side, at[1] + height // 12), (40, 44, 52), 5, cv2.LINE_AA)
        cv2.line(picture, (at[0] - gap, at[1]), (at[0] + gap, at[1]), (40, 44, 52), 6, cv2.LINE_AA)
        corner = width // 16
        picture[:corner, :corner] = 255 if held else 24
        return picture


def _ground(height: int, width: int, turn: int) -> np.ndarray:
    """A table with a cube, a ball and a bin, seen from somewhere else for every camera."""
    rows = np.linspace(0, 1, height)[:, None, None]
    picture = np.tile((np.array([214, 208, 198]) * (0.72 + 0.28 * rows)), (1, width, 1)).astype(np.uint8)
    picture[: height // 4] = (np.array([118, 128, 140]) * (0.8 + 0.5 * rows[: height // 4])).astype(np.uint8)
    w, h, shift = width, height, 0.08 * turn

    def corner(x: float, y: float) -> tuple[int, int]:
        return int((x + shift) * w), int(y * h)

    cv2.rectangle(picture, corner(0.62, 0.55), corner(0.86, 0.84), (88, 98, 110), -1)
    cv2.rectangle(picture, corner(0.645, 0.58), corner(0.835, 0.8), (58, 66, 76), -1)
    cv2.rectangle(picture, corner(0.22, 0.6), corner(0.31, 0.72), (196, 60, 48), -1)
    cv2.rectangle(picture, corner(0.22, 0.57), corner(0.31, 0.6), (224, 96, 82), -1)
    cv2.circle(picture, corner(0.44, 0.8), int(0.04 * w), (62, 110, 190), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (3, 3), 0)
