"""A robot for tests that fails on time: late, stuck, NaN, gone, with a clock that jumps – each by its schedule.

    FaultyRobot(faults=(Fault("stuck", "front", 10, 20), Fault("nan", "observation.state", 30)))

counts its own `observe` calls from 0; a fault holds from call `start` to `stop` (exclusive, default: that one call).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from dataengine.episode import Feature
from dataengine.errors import RobotError
from dataengine.robot import Sample

Kind = Literal["late", "stuck", "nan", "shape", "gone", "clock_back", "clock_ahead", "clock_stuck", "silent"]
STATE = "observation.state"


@dataclass(frozen=True)
class Fault:
    """kind: late – the call takes `amount` seconds. stuck – a sample comes again with its old time. nan, shape – the
    value is no number, has another shape. gone – `RobotError`. silent – the feature is missing. clock_back, clock_ahead
    – its time is `amount` seconds off. clock_stuck – new values, the old time. what: a feature, by key or its end."""

    kind: Kind
    what: str = STATE
    start: int = 0
    stop: int | None = None
    amount: float = 1.0

    def holds(self, call: int, key: str = "") -> bool:
        last = self.start + 1 if self.stop is None else self.stop
        return self.start <= call < last and (not key or key == self.what or key.endswith("." + self.what))


@dataclass
class FaultyRobot:
    """Joints that follow the action at once, and cameras that show moving colours.

    cameras: names with height and width. clock: what times samples (`time.monotonic`, or a test's own). depth: names
    of cameras that give metres.
    """

    fps: float = 30.0
    joints: int = 6
    cameras: Mapping[str, tuple[int, int]] = field(default_factory=lambda: {"front": (48, 64)})
    depth: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    clock: Callable[[], float] = time.monotonic
    seed: int = 0

    name = "faulty"
    embodiment = "test arm"

    def __post_init__(self) -> None:
        self.calls = 0
        self.connected = False
        self.sent: list[np.ndarray] = []
        self._at = np.zeros(self.joints, np.float32)
        self._last: dict[str, Sample] = {}

    @property
    def features(self) -> dict[str, Feature]:
        names = tuple(f"joint_{n}" for n in range(self.joints))
        found = {
            STATE: Feature("float32", (self.joints,), names, "state", "rad"),
            "action": Feature("float32", (self.joints,), names, "action", "rad"),
        }
        for name, size in self.cameras.items():
            kind = ((*size, 1), "depth") if name in self.depth else ((*size, 3), "image")
            found[f"observation.images.{name}"] = Feature("video", kind[0], ("height", "width", "channels"), kind[1])  # type: ignore[arg-type]
        return found

    def connect(self) -> None:
        self.connected = True

    def observe(self) -> dict[str, Sample]:
        call, self.calls = self.calls, self.calls + 1
        for fault in self.faults:
            if fault.kind == "late" and fault.holds(call):
                time.sleep(fault.amount)
            if fault.kind == "gone" and fault.holds(call):
                raise RobotError("the test arm does not answer; look at its cable")
        return {
            key: sample
            for key, feature in self.features.items()
            if key != "action" and (sample := self._sample(key, feature, call)) is not None
        }

    def _sample(self, key: str, feature: Feature, call: int) -> Sample | None:
        value = self.picture(key, call) if feature.is_camera else self._at.copy()
        sample = Sample(value, self.clock())
        for fault in (fault for fault in self.faults if fault.holds(call, key)):
            before = self._last.get(key, sample)
            if fault.kind == "stuck":
                sample = before
            elif fault.kind == "nan":
                sample = replace(sample, value=np.full_like(value, np.nan))
            elif fault.kind == "shape":
                sample = replace(sample, value=value[:-1])
            elif fault.kind == "silent":
                return None
            elif fault.kind == "clock_stuck":
                sample = replace(sample, time=before.time)
            elif fault.kind in ("clock_back", "clock_ahead"):
                sample = replace(sample, time=sample.time + fault.amount * (1 if fault.kind == "clock_ahead" else -1))
        self._last[key] = sample
        return sample

    def picture(self, key: str, call: int) -> np.ndarray:
        """What a camera shows at a call: smooth, and different every time."""
        height, width, channels = self.features[key].shape
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        wave = np.sin((x + 3 * call) / 9 + self.seed) + np.cos((y - 2 * call) / 7 + len(key))
        if channels == 1:
            return (1.0 + 0.3 * wave[..., None]).astype(np.float32)
        return np.stack([127 + 60 * wave, 127 - 60 * wave, 90 + 20 * wave], -1).astype(np.uint8)

    def act(self, action: np.ndarray) -> np.ndarray:
        sent = np.clip(np.asarray(action, np.float32), -3, 3)
        self._at = sent.copy()
        self.sent.append(sent)
        return sent

    def hold(self) -> np.ndarray:
        return self._at.copy()

    def disconnect(self) -> None:
        self.connected = False
