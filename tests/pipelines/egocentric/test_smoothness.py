"""Smoothness against movements whose measures are known on paper, and against a spectrum that is summed by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import fixed_quad

from pipelines.egocentric.smoothness import CUTOFF, FAINTEST, ldlj, movements, sparc, speeds


def least_jerk(seconds: float, fps: float, reach: float = 0.3) -> np.ndarray:
    """Speed (Flash & Hogan 1985)."""
    s = np.arange(round(seconds * fps) + 1) / (seconds * fps)
    return reach / seconds * 30 * (s**2 - 2 * s**3 + s**4)


@pytest.mark.parametrize(("seconds", "reach"), [(1.0, 0.3), (2.5, 0.05)])
def test_a_movement_of_least_jerk_has_what_paper_says(seconds: float, reach: float) -> None:
    """∫ jerk² = 720 reach²/T⁵ and the greatest speed is 15/8 reach/T, so LDLJ = -ln(720 · 64/225)."""
    assert ldlj(least_jerk(seconds, 1000, reach), 1000) == pytest.approx(-np.log(720 * 64 / 225), abs=0.02)


def test_the_arc_is_that_of_the_spectrum_integrated() -> None:
    """The spectrum of the same speed, by Gauss's quadrature of its Fourier integral instead of an FFT of samples."""
    rates = np.linspace(0, CUTOFF, 1500)

    def waves(s: np.ndarray) -> np.ndarray:
        return 30 * (s**2 - 2 * s**3 + s**4) * np.exp(-2j * np.pi * rates[:, None] * s)

    sizes = np.abs(fixed_quad(waves, 0, 1, n=80)[0])
    last = int(np.flatnonzero(sizes >= FAINTEST * sizes[0])[-1]) + 1
    arc = np.hypot(np.diff(rates[:last]) / rates[last - 1], np.diff(sizes[:last]) / sizes[0]).sum()
    assert sparc(least_jerk(1.0, 200), 200) == pytest.approx(-arc, abs=0.01)


def test_neither_depends_on_size_and_duration_and_shaking_makes_both_worse() -> None:
    slow, fast = least_jerk(2.0, 200, 0.2), least_jerk(0.5, 200, 0.8)
    assert ldlj(slow, 200) == pytest.approx(ldlj(fast, 200), abs=0.1)
    assert sparc(slow, 200) == pytest.approx(sparc(fast, 200), abs=0.05)
    shaken = slow + 0.03 * np.sin(2 * np.pi * 4 * np.arange(len(slow)) / 200) ** 2
    assert ldlj(shaken, 200) < ldlj(slow, 200) - 1 and sparc(shaken, 200) < sparc(slow, 200) - 0.1


@given(st.floats(0.1, 2.0), st.floats(0.8, 3.0))
def test_a_slow_movement_of_least_jerk_is_as_smooth_as_a_fast_one(fastest: float, seconds: float) -> None:
    """As it is found in a path, not only as a formula has it: what the page compares must not hang on the speed."""
    fps, still = 240.0, np.zeros(48)
    moving = least_jerk(seconds, fps)
    speed = np.concatenate([still, fastest * moving / moving.max(), still])
    points = np.outer(np.cumsum(speed) / fps, [0.6, 0.0, 0.8])
    (found,) = movements(points, np.ones(len(speed), bool), fps)
    assert found.ldlj == pytest.approx(-np.log(720 * 64 / 225), abs=0.15)
    assert found.sparc == pytest.approx(sparc(moving, fps), abs=0.03)


def test_two_movements_share_no_frame_but_where_they_meet() -> None:
    fps = 60.0
    speed = np.concatenate([least_jerk(1.0, fps)] * 3)
    points = np.outer(np.cumsum(speed) / fps, [1.0, 0.0, 0.0])
    found = movements(points, np.ones(len(speed), bool), fps)
    assert len(found) == 3 and all(one.stop - 1 <= two.start for one, two in pairwise(found))


def test_movements_begin_and_end_where_the_hand_does() -> None:
    fps, still = 60.0, np.zeros(60)
    speed = np.concatenate([still, least_jerk(1.0, fps), still, least_jerk(0.8, fps, 0.2), still])
    points = np.zeros((len(speed), 3))
    points[:, 0] = np.cumsum(speed) / fps
    there = np.ones(len(speed), bool)
    one, two = movements(points, there, fps)
    assert (one.start, one.stop) == (pytest.approx(60, abs=2), pytest.approx(121, abs=2))
    assert (two.start, two.stop) == (pytest.approx(181, abs=2), pytest.approx(230, abs=2))
    assert one.sparc == pytest.approx(two.sparc, abs=0.02)
    there[70:90] = False
    assert [m.start for m in movements(points, there, fps)] == [90, two.start]
    assert not movements(np.zeros((50, 3)), np.ones(50, bool), fps)
    assert len(speeds(points[:1], fps)) == 1
