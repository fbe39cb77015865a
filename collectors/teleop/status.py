"""What a page is told of a session, ten times a second: made in the loop's thread, read by any."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from collectors.teleop.messages import Camera, Status
from dataengine.robot import Resettable, Sample

if TYPE_CHECKING:
    from collectors.teleop.session import Session

HEALTH_EVERY, DISK_EVERY, DRIFT_EVERY = 0.5, 5.0, 1.0  # [s] between looks at what costs more than a tick should


class Reporter:
    """Puts a `Status` together; remembers what is not looked at every time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.health: Any = None
        self.minutes: float | None = None
        self.drift: dict[str, float | None] = {}
        self._last: dict[str, float] = {}

    def make(self, now: float) -> Status:
        s = self.session
        course, desk, recorder = s.course, s.desk, s.recorder
        self._look(now)
        recording = course.phase == "recording"
        return Status(
            phase=course.phase,
            fps=s.plan.fps,
            rate=round(s.metronome.rate, 2),
            instruction=(desk.notes.task if desk.open else "") or course.instruction,
            kept=desk.kept,
            target=s.plan.target,
            episode_seconds=round(now - course.began, 2) if recording else round(desk.rows / s.plan.fps, 2),
            episode_rows=desk.rows,
            reset_left=round(max(course.reset_ends - now, 0.0), 1) if course.phase == "reset" else 0.0,
            device=s.drive.device.name,
            actor=s.drive.actor,
            recording=recording and desk.running,
            rehearsal=course.rehearsal,
            flagged=desk.notes.flagged if desk.open else False,
            note=desk.notes.note if desk.open else "",
            success=desk.notes.success if desk.open else None,
            progress=s.progress,
            late_ms=round(1000 * s.metronome.late, 2),
            missed=s.missed,
            minutes_left=self.minutes,
            state=_state(s.robot.features, s.observation) if course.phase != "starting" else {},
            cameras=tuple(self._cameras()),
            devices=tuple(s.devices),
            tasks=s.robot.tasks if isinstance(s.robot, Resettable) else (),
            trouble=tuple(self._trouble(now)),
            said=s.said,
            echo=s.inputs.echo(),
            verdict=desk.verdict if desk.open else None,
            discarded=desk.discarded,
            successes=recorder.successes if recorder is not None else 0,
            seconds_kept=round(recorder.seconds_kept, 1) if recorder is not None else 0.0,
            controls=dict(getattr(s.drive.device, "controls", {})),
        )

    def _due(self, what: str, every: float, now: float) -> bool:
        if now - self._last.get(what, -math.inf) < every:
            return False
        self._last[what] = now
        return True

    def _look(self, now: float) -> None:
        s = self.session
        if self._due("health", HEALTH_EVERY, now):
            self.health = s.desk.health()
        if s.recorder is not None and self._due("disk", DISK_EVERY, now):
            left = s.recorder.minutes_left()
            self.minutes = None if left is None or not math.isfinite(left) else round(left, 1)
        if self._due("drift", DRIFT_EVERY, now) and s.framing is not None:
            self.drift = {key: s.framing.drift(key, picture) for key, picture in s.pictures().items()}

    def _cameras(self) -> list[Camera]:
        s, found = self.session, []
        for key, feature in s.robot.features.items() if s.course.phase != "starting" else ():
            if not feature.is_camera:
                continue
            seen = (self.health.cameras if self.health is not None else {}).get(key)
            counts = (seen.repeated, seen.waiting) if seen is not None else (0, 0)
            rate, drift = round(s.rates.rate(key), 1), self.drift.get(key)
            height, width = feature.shape[:2]
            drift = None if drift is None else round(drift, 3)
            found.append(Camera(key, height, width, rate, counts[0], counts[1], drift))
        return found

    def _trouble(self, now: float) -> list[str]:
        s = self.session
        lines = []
        if s.course.phase == "held":
            lines.append(f"The robot is held: {s.course.why}. Release it to go on.")
        if s.course.phase == "fault":
            lines.append(f"{s.course.why}. It is looked for again; nothing that was kept is lost.")
        if s.holding:
            lines.append(f"The robot stays: {s.holding}.")
        lines += s.watch.troubles
        if self.health is not None:
            lines += self.health.trouble
        if s.desk.trouble:
            lines.append(s.desk.trouble)
        if s.metronome.rate and s.metronome.rate < 0.97 * s.plan.fps and now - s.started > 2:
            lines.append(
                f"The loop runs at {s.metronome.rate:.1f} Hz instead of {s.plan.fps:g}: the machine is too slow, or "
                f"the robot takes too long to answer"
            )
        lines += [
            f"{key.rsplit('.', 1)[-1]}: framing or light differ from the last session; compare its picture"
            for key, drift in self.drift.items()
            if drift is not None and drift > 0.35 and not isinstance(s.robot, Resettable)
        ]
        return lines


class Rates:
    """Pictures a second that came, by camera, over the last second or more."""

    def __init__(self) -> None:
        self._seen: dict[str, list[float]] = {}

    def see(self, observation: Mapping[str, Sample]) -> None:
        for key, sample in observation.items():
            times = self._seen.setdefault(key, [])
            if not times or sample.time > times[-1]:
                times.append(sample.time)
                del times[:-32]
            elif sample.time < times[-1] - 1:
                times[:] = [sample.time]

    def rate(self, key: str) -> float:
        times = self._seen.get(key, [])
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0


def _state(features: Mapping[str, Any], observation: Mapping[str, Sample]) -> dict[str, float]:
    """Names and values of everything sensed that is no picture and finite."""
    found: dict[str, float] = {}
    for key, sample in observation.items():
        feature = features.get(key)
        if feature is None or feature.is_camera:
            continue
        names = feature.names or tuple(f"{key.rsplit('.', 1)[-1]}.{n}" for n in range(feature.size))
        values = np.asarray(sample.value, np.float64).reshape(-1)[:64]
        found |= {n: round(float(v), 4) for n, v in zip(names, values, strict=False) if np.isfinite(v)}
    return found
