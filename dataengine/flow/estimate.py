"""How much disk and time a flow will take, before it starts. Rough, on the high side, and said to be so.

Rates are those of x264 veryfast on ordinary camera pictures: 0.03 bytes and 53 ns of one core a pixel. Video
that is cut by packets costs neither more bytes than it has nor a hundredth of the time, so the real figures are
lower for such sources.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.flow.source import PlannedSource

BYTES_PER_PIXEL = {"image": 0.03, "depth": 1.2}
SECONDS_PER_PIXEL = 53e-9
SECONDS_PER_ROW = 0.5e-3
_RESERVE = 64 << 20


@dataclass(frozen=True)
class Estimate:
    """bytes: of the finished store. staging: most that lies beside it on the way. cpu: [s] of one core, no stages."""

    bytes: int
    staging: int
    cpu: float

    @property
    def needed(self) -> int:
        return self.bytes + self.staging + _RESERVE


def estimate(sources: Sequence[PlannedSource]) -> Estimate:
    total, largest, cpu = 0.0, 0.0, 0.0
    for source in sources:
        row, pixels = _row_bytes(source.plan.features), _pixels(source.plan.features)
        for ref in source.refs:
            if ref.problem is not None:
                continue
            video = sum(ref.length * n * BYTES_PER_PIXEL[kind] for kind, n in pixels.items())
            if ref.bytes:
                video = min(video, 1.2 * ref.bytes)
            size = ref.length * row + video + 20_000
            total, largest = total + size, max(largest, size)
            cpu += ref.length * (SECONDS_PER_ROW + SECONDS_PER_PIXEL * sum(pixels.values()))
    return Estimate(int(total), int(min(64 * largest, total)), cpu)


def check_disk(out: Path, wanted: Estimate, *, free: int | None = None) -> None:
    """Raise `ConfigError` where the file system of `out` has not the room, with what is there already counted in.

    free: bytes, else as measured.
    """
    place = out
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free if free is None else free
    free += folder_bytes(out)
    if wanted.needed > free:
        raise ConfigError(
            f"{out} will need about {human_bytes(wanted.needed)} ({human_bytes(wanted.bytes)} of data, the rest on "
            f"the way) and {human_bytes(free)} are free; choose another `out`, or take fewer episodes with --limit"
        )


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below; one that goes away meanwhile counts as nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def human_bytes(count: float) -> str:
    """1234567 → "1.2 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_time(seconds: float) -> str:
    """75.3 → "1 min 15 s"."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _row_bytes(features: Mapping[str, Feature]) -> float:
    """Bytes of one row of the table; compression is left as a margin."""
    columns = [f for f in features.values() if not f.is_camera]
    return float(sum((64 if f.dtype == "string" else np.dtype(f.dtype).itemsize) * f.size for f in columns) + 36)


def _pixels(features: Mapping[str, Feature]) -> dict[str, int]:
    found = {"image": 0, "depth": 0}
    for feature in features.values():
        if feature.is_camera:
            kind = "depth" if feature.role == "depth" or feature.shape[-1] == 1 else "image"
            found[kind] += feature.shape[0] * feature.shape[1]
    return found
