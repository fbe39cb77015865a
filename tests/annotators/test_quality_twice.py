"""No fault improves a grade: not the first, nor one more on top of it that might hide it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from fault_places import robust_scales
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from motion_made import made_set

import faults
from annotators.quality import assess, learn, measure
from annotators.quality.base import PLACES, Finding, worst_first
from annotators.quality.grade import grade
from dataengine.episode import Episode

# Doing these twice, or in turn, puts an episode right again.
UNDOING = {"reversed_episode", "swapped_cameras", "extra_lag"}
# What cannot be known of some episodes: a gap where nothing moves much, a task that no other episode has either.
UNKNOWABLE = {"gap", "empty_task"}


@cache
def clean(frames: int) -> list[Episode]:
    return made_set(6, frames)


@cache
def measures(frames: int) -> list[dict[str, Any]]:
    return [measure(e) for e in clean(frames)]


def graded(frames: int, at: int, target: Episode) -> float:
    """The grade of an episode in its set, learned with it in the place of the clean one, or beside it as a copy."""
    own = [measures(frames)[at]] if target.id != clean(frames)[at].id else []
    others = [m for number, m in enumerate(measures(frames)) if number != at]
    return grade(assess(target, learn([*others, *own, measure(target)])), target.length)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(faults.FAULTS)),
    st.sampled_from(sorted(faults.FAULTS)),
    st.sampled_from([50, 110]),
    st.integers(0, 2**32),
)
@example("dead_sensor", "jump", 50, 325312)
@example("frozen_rows", "gap", 50, 601514)
@example("frozen_rows", "nan", 50, 526953)
@example("frozen_camera", "black_camera", 50, 382845)
def test_no_fault_improves_a_grade(first: str, second: str, frames: int, seed: int):
    if {first, second} <= UNDOING:
        return
    rng, scales = np.random.default_rng(seed), robust_scales(clean(frames))
    at = int(rng.integers(len(clean(frames))))
    once = faults.FAULTS[first][0](clean(frames)[at], rng, scales)
    if once is None:
        return
    one = once.extra or once.episode
    twice = faults.FAULTS[second][0](one, rng, scales)
    if twice is None:
        return
    grades = [graded(frames, at, e) for e in (clean(frames)[at], one, twice.extra or twice.episode)]
    assert grades[0] == 1.0
    assert grades[1] < 1.0 or first in UNKNOWABLE
    assert grades[2] <= grades[1], (first, second)


def test_one_teleported_dimension_does_not_end_a_freeze():
    episodes = [e.select(["observation.state", "action"]) for e in clean(50)]
    frames = {k: v.copy() for k, v in episodes[0].frames.items()}
    for column in frames.values():
        column[20:32] = column[20]
    frames["observation.state"][27, 2] += 1
    frozen = replace(episodes[0], frames=frames)
    (found,) = assess(frozen, learn([measure(e) for e in [frozen, *episodes[1:]]]))["frozen_state"].findings
    assert (found.start, found.stop) == (21, 32)


def test_many_findings_of_one_place_do_not_push_out_another_place():
    here = [Finding("jump", 4, 6, 9.0 + n, 4.0, "jumps", str(n)) for n in range(30)]
    other = Finding("jump", 40, 42, 5.0, 4.0, "jumps", "0")
    kept = worst_first([*here, other])
    assert len(kept) == PLACES and other in kept and here[-1] in kept
