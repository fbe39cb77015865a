"""How a take is doing, and what is wrong: which part, by how much, and what helps."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from collectors.recording.camera import Camera
from collectors.recording.journal import Journal
from collectors.recording.rows import Row
from collectors.recording.tick import Setup

DISK_SECONDS = 1.0  # what waits for the disk longer than this might be lost
STUCK_SECONDS = 1.0  # without a new picture or state
BEHIND_SECONDS = 0.5  # of rows that an encoder has not done yet
_SHOWN = np.empty(0, np.uint8)  # stands for a picture, which is not kept


@dataclass(frozen=True)
class CameraHealth:
    """waiting: pictures to be encoded. repeated, dropped: rows so far that show an older picture because there was no
    new one, or no room for it. rate: new pictures a second, over the last one. milliseconds: of encoding one."""

    waiting: int
    repeated: int
    dropped: int
    rate: float
    milliseconds: float


@dataclass(frozen=True)
class Health:
    """late_ms: 95th percentile over the last second. missed: ticks that were not kept, so far. bytes_per_second: that
    the journal grows by. trouble: a line for each part that is in trouble now: what, by how much, what helps."""

    cameras: Mapping[str, CameraHealth]
    rate: float
    late_ms: float
    missed: int
    bytes_per_second: float
    trouble: tuple[str, ...]


@dataclass
class Watch:
    """Follows the rows of one take."""

    setup: Setup
    missed: int = 0
    repeated: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    began: float | None = None

    def __post_init__(self) -> None:
        self._recent: deque[Row] = deque(maxlen=max(round(self.setup.fps), 4))
        self._jumped = self._dropped = float("-inf")

    def see(self, row: Row) -> None:
        self.began = row.at if self.began is None else self.began
        shown = {key: None if picture is None else _SHOWN for key, picture in row.pictures.items()}
        self._recent.append(replace(row, pictures=shown))
        self.missed += int(row.values["collect.missed"])
        if row.values["collect.clock_jump"]:
            self._jumped = row.at
        for key, short in self.setup.short.items():
            self.repeated[key] = self.repeated.get(key, 0) + int(row.values[f"collect.{short}.repeated"])
            self.dropped[key] = self.dropped.get(key, 0) + int(row.values[f"collect.{short}.dropped"])

    def health(self, cameras: Mapping[str, Camera], journal: Journal, stopped: str | None, disk: str) -> Health:
        rows = list(self._recent)
        span = rows[-1].at - rows[0].at if len(rows) > 1 else 0.0
        late = [float(row.values["collect.late"]) for row in rows]
        p95 = float(np.quantile(late, 0.95)) if late else 0.0
        rate = (len(rows) - 1) / span if span > 0 else 0.0
        seen = {key: self._camera(key, camera, rows, span) for key, camera in cameras.items()}
        trouble = [f"the take has stopped: {stopped}"] if stopped else []
        trouble += self._disk(journal) + ([disk] if disk else [])
        trouble += [line for key in cameras for line in self._of_camera(key, cameras[key], seen[key], rows, span)]
        trouble += self._of_loop(rows, span, rate, p95)
        grown = journal.written / max(rows[-1].at - self.began, 1.0) if rows and self.began is not None else 0.0
        return Health(seen, rate, 1000 * p95, self.missed, grown, tuple(trouble))

    def _camera(self, key: str, camera: Camera, rows: list[Row], span: float) -> CameraHealth:
        fresh = sum(row.pictures[key] is not None for row in rows[1:])
        rate = fresh / span if span > 0 else 0.0
        counts = self.repeated.get(key, 0), self.dropped.get(key, 0)
        return CameraHealth(camera.waiting, *counts, rate, camera.milliseconds)

    def _disk(self, journal: Journal) -> list[str]:
        if journal.failure is not None:
            return [f"the disk: the journal cannot be written: {journal.failure}"]
        lag = max(journal.lag, journal.sync_seconds, journal.flush_seconds)
        if lag <= DISK_SECONDS:
            return []
        return [f"the disk is slow: what came last has waited {lag:.1f} s for it; record onto a local, faster disk"]

    def _of_camera(self, key: str, camera: Camera, seen: CameraHealth, rows: list[Row], span: float) -> list[str]:
        name, period, found = self.setup.short[key], 1 / self.setup.fps, []
        if camera.failure is not None:
            return [f"the encoder of {name} failed: {camera.failure}"]
        if camera.behind > max(BEHIND_SECONDS * self.setup.fps, 3) or (seen.dropped and camera.full):
            found.append(
                f"the encoder of {name} is too slow: {camera.milliseconds:.0f} ms a picture, {1000 * period:.0f} ms "
                f"are there, {camera.waiting} of {camera.most} wait ({seen.dropped} left out so far); "
                "smaller pictures, fewer cameras or a faster preset help"
            )
        if rows and span > STUCK_SECONDS / 2:
            age = rows[-1].at - rows[-1].captured[key]
            if age > STUCK_SECONDS:
                found.append(f"the camera {name} has given no new picture for {age:.1f} s")
            elif not any(bool(row.values[f"collect.{name}.dropped"]) for row in rows) and seen.rate < 0.8 / period:
                fps = f"{seen.rate:.0f} pictures a second, {self.setup.fps:g} rows are made of them"
                found.append(f"the camera {name} is slow: {fps}; more light, USB of its own or a smaller mode help")
        return found

    def _of_loop(self, rows: list[Row], span: float, rate: float, p95: float) -> list[str]:
        found, period = [], 1 / self.setup.fps
        missed = sum(int(row.values["collect.missed"]) for row in rows)
        if missed or p95 > 0.5 * period:
            found.append(
                f"the loop is late: by {1000 * p95:.0f} ms, {missed} ticks of the last second are missing; "
                "the robot, its cameras or the policy take longer than a tick"
            )
        if rows and self.setup.senses:
            age = rows[-1].at - min(rows[-1].captured[key] for key in self.setup.senses)
            if age > STUCK_SECONDS:
                found.append(f"the robot's state is {age:.1f} s old")
        if rows and rows[-1].at - self._jumped < 5:
            found.append("a clock has jumped: samples run backwards or come from the future; rows are flagged")
        return found
