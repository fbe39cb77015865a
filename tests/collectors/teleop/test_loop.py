"""The beat: due times that do not drift, ticks that are skipped and counted, lateness."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest
from teleop_rig import TurnedClock

from collectors.teleop.loop import Metronome, SystemClock, tidy


def test_due_times_are_counted_from_the_start_never_summed() -> None:
    clock = TurnedClock()
    metronome = Metronome(30.0, clock)
    beats = [metronome.wait() for _ in range(18_001)]  # ten minutes
    assert beats[-1].due == beats[0].due + 600.0
    assert [beat.number for beat in beats[:4]] == [0, 1, 2, 3]
    assert sum(beat.missed for beat in beats) == 0
    assert metronome.rate == pytest.approx(30.0, rel=0.001)


def test_what_is_late_by_less_than_a_period_comes_at_once_and_shifts_nothing() -> None:
    clock = TurnedClock()
    metronome = Metronome(10.0, clock)
    first = metronome.wait()
    clock.spend(0.15)
    late, then = metronome.wait(), metronome.wait()
    assert (late.number, late.missed, round(late.time - late.due, 6)) == (1, 0, 0.05)
    assert (then.number, round(then.due - first.due, 6)) == (2, 0.2)
    assert metronome.late == pytest.approx(0.0) or metronome.late == pytest.approx(0.05)


@pytest.mark.parametrize("late", [0.21, 0.35, 3.0])
def test_ticks_that_could_not_be_kept_are_skipped_and_counted(late: float) -> None:
    clock = TurnedClock()
    metronome = Metronome(10.0, clock)
    first = metronome.wait()
    clock.spend(late)
    beat = metronome.wait()
    assert beat.missed == beat.number - 1 == int(late * 10 + 1e-9) - 1
    assert beat.due == pytest.approx(first.due + beat.number / 10)
    assert metronome.wait().missed == 0


def test_the_machine_s_clock_keeps_the_rate() -> None:
    metronome = Metronome(100.0, SystemClock())
    beats = [metronome.wait() for _ in range(60)]
    kept = beats[-1].number / (beats[-1].time - beats[0].time)
    assert kept == pytest.approx(100.0, rel=0.02)
    late = np.array([beat.time - beat.due for beat in beats])
    assert (late >= 0).all()


def test_waiting_ends_neither_early_nor_much_too_late() -> None:
    clock = SystemClock()
    begin = time.monotonic()
    clock.until(begin + 0.02)
    clock.until(begin)  # has passed
    assert 0.02 <= time.monotonic() - begin < 0.2


def test_the_collector_of_cycles_is_off_in_the_loop_and_as_it_was_after_it() -> None:
    assert gc.isenabled()
    with tidy(Metronome(10.0, TurnedClock())) as collect:
        assert not gc.isenabled()
        collect()
    assert gc.isenabled()
