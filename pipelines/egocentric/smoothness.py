"""How smooth a movement is, by two measures that do not change with its size and duration.

Both are below zero, and nearer to it is smoother; a movement of least jerk has -5.32 (LDLJ) and about -1.4 (SPARC).
What a tracker shakes or a filter rounds off is in them too, so they compare clips that were tracked and smoothed alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataengine.runs import runs

FASTER, SHORTEST = 0.05, 0.3  # [m/s] that a movement is faster than, for so long [s] at least
CUTOFF, FAINTEST, PADDED = 10.0, 0.05, 4  # of SPARC, as its authors chose them: [Hz], share of the peak, powers of two


class Movement(NamedTuple):
    """Frames `start` to `stop` (exclusive), and how smooth they are [1]."""

    start: int
    stop: int
    sparc: float
    ldlj: float


def movements(points: np.ndarray, there: np.ndarray, fps: float) -> list[Movement]:
    """Of a point `(T, 3)` [m]; there: `(T,)` bool, frames that show it.

    A movement begins and ends where its speed is least: cut off at a speed, a slow one would lack more of its ends than
    a fast one, and neither measure would be that of the movement.
    """
    found = []
    for first, last in runs(there):
        if last - first < 4:
            continue
        speed = speeds(points[first:last], fps)
        slower, faster = np.diff(speed) > 0, np.diff(speed) < 0
        for start, stop in runs(speed > FASTER):
            if stop - start >= max(SHORTEST * fps, 4):
                while start > 0 and slower[start - 1]:
                    start -= 1
                while stop < len(speed) and faster[stop - 1]:
                    stop += 1
                fast = speed[start:stop]
                found.append(Movement(first + start, first + stop, sparc(fast, fps), ldlj(fast, fps)))
    return found


def speeds(points: np.ndarray, fps: float) -> np.ndarray:
    """`(T,)` [m/s] of points `(T, 3)` [m], by central differences."""
    return np.linalg.norm(np.gradient(points, axis=0), axis=1) * fps if len(points) > 1 else np.zeros(len(points))


def ldlj(speed: np.ndarray, fps: float) -> float:
    """Log dimensionless jerk of a movement by its speed `(T,)`: -ln(T³/v² ∫ (d²v/dt²)² dt), v the greatest speed and T
    the duration (Balasubramanian et al. 2015, J. NeuroEng. Rehab. 12:112, equation 3). At least four frames."""
    step = 1 / fps
    bent = np.gradient(np.gradient(speed, step), step)
    duration, fastest = (len(speed) - 1) * step, float(speed.max())
    jerk = float(np.trapezoid(bent**2, dx=step))
    return -float(np.log(max(duration**3 / fastest**2 * jerk, 1e-12)))


def sparc(speed: np.ndarray, fps: float) -> float:
    """Spectral arc length of a movement by its speed `(T,)`: how long the curve of the spectrum's magnitude is, over
    frequencies up to `CUTOFF` as far as it rises above `FAINTEST`, both scaled to 1 (Balasubramanian et al. 2015,
    equations 7 and 8)."""
    count = 2 ** (int(np.ceil(np.log2(len(speed)))) + PADDED)
    rate = np.arange(count // 2 + 1) * fps / count
    size = np.abs(np.fft.rfft(speed, count))
    size = (size / max(float(size.max()), 1e-12))[rate <= CUTOFF]
    loud = np.flatnonzero(size >= FAINTEST)
    band, rate = size[loud[0] : loud[-1] + 1], rate[loud[0] : loud[-1] + 1]
    if len(band) < 2:
        return 0.0
    return -float(np.hypot(np.diff(rate) / (rate[-1] - rate[0]), np.diff(band)).sum())
