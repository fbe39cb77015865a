"""Tracks in time: short gaps bridged, jitter taken out without a delay. NaN is where there is no hand."""

from __future__ import annotations

import numpy as np
import scipy.signal

from dataengine.runs import runs

ORDER = 2  # of the Butterworth filter, run forwards and backwards, so that nothing is late
HIGHEST = 0.9  # of half the rate: a cut-off above it filters nothing
AT_ONCE = 16  # numbers of a frame that are filtered together: a filter needs several times their memory


def fill(values: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """`(T, …)` with every gap of at most `longest` frames between two seen ones bridged in a straight line, and `(T,)`
    where that was done."""
    flat = values.reshape(len(values), -1)
    seen = np.isfinite(flat).all(1)
    bridged = np.zeros(len(values), bool)
    for start, stop in runs(~seen):
        if start > 0 and stop < len(values) and stop - start <= longest:
            bridged[start:stop] = True
    filled = flat.copy()
    at, known = np.flatnonzero(bridged), np.flatnonzero(seen)
    if len(at):
        after = np.searchsorted(known, at)
        one, two = known[after - 1], known[after]
        share = ((at - one) / (two - one))[:, None]
        filled[at] = (1 - share) * flat[one] + share * flat[two]
    return filled.reshape(values.shape), bridged


def smooth(values: np.ndarray, fps: float, cutoff: float) -> np.ndarray:
    """`(T, …)` through a low pass of zero phase, -3 dB in each direction at `cutoff` [Hz]; every run without a gap by
    itself, those of one or two frames as they are. No filter where the cut-off is 0 or beyond what the rate holds."""
    if cutoff <= 0 or cutoff >= HIGHEST * fps / 2:
        return values.copy()
    flat = values.reshape(len(values), -1)
    result = flat.copy()
    sections = scipy.signal.butter(ORDER, cutoff, fs=fps, output="sos")
    for start, stop in runs(np.isfinite(flat).all(1)):
        if stop - start > 2:
            pad = min(stop - start - 1, round(3 * fps / cutoff))
            for at in range(0, flat.shape[1], AT_ONCE):
                some = (slice(start, stop), slice(at, at + AT_ONCE))
                result[some] = scipy.signal.sosfiltfilt(sections, flat[some], axis=0, padlen=pad)
    return result.reshape(values.shape)
