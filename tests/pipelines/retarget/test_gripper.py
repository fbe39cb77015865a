"""The gripper's opening: calibrated by the clip, steady where the hand is not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.retarget.gripper import CLOSED, OPEN, calibrate, is_closed, opening

SIZE = 0.09


def grasping(frames: int = 200, closed: float = 0.015, opened: float = 0.08) -> np.ndarray:
    """Open, closed for a third, open."""
    t = np.arange(frames) / frames
    share = np.clip((np.abs(t - 0.5) - 1 / 6) / 0.05, 0, 1)
    return closed + share * (opened - closed)


def all_of(distance: np.ndarray) -> np.ndarray:
    return np.ones(len(distance), bool)


def test_a_clip_that_shows_both_states_gives_both() -> None:
    distance = grasping()
    found = calibrate(distance, all_of(distance), SIZE)
    assert found.measured == (True, True)
    assert np.allclose(found[:2], (0.015, 0.08), atol=1e-3)
    share = opening(distance, all_of(distance), found)
    assert share.min() == 0 and share.max() == 1


def test_single_wild_frames_are_no_extremes() -> None:
    distance = grasping()
    distance[::30], distance[5::30] = 0.4, 0.0  # seven each, more than the quantiles leave out
    assert np.allclose(calibrate(distance, all_of(distance), SIZE)[:2], (0.015, 0.08), atol=1e-3)


def test_a_clip_with_one_state_keeps_what_is_usual_for_the_other() -> None:
    still = np.ones(50, bool)
    for at in (0.010, 0.012, 0.080, 0.11):
        found = calibrate(np.full(50, at), still, SIZE)
        assert found.measured == (False, False)
        assert found.closed == SIZE * min(CLOSED, at / SIZE) and found.opened == SIZE * max(OPEN, at / SIZE)
    assert opening(np.full(50, 0.012), still, calibrate(np.full(50, 0.012), still, SIZE)).max() < 0.05
    assert opening(np.full(50, 0.080), still, calibrate(np.full(50, 0.080), still, SIZE)).min() > 0.95


def test_a_person_who_is_known_is_not_measured() -> None:
    distance = grasping()
    found = calibrate(distance, all_of(distance), SIZE, closed_at=0.5, open_at=0.7)
    assert np.allclose(found[:2], (0.045, 0.045 + 0.3 * SIZE)) and found.measured == (False, False)


def test_frames_without_a_hand_do_not_count_and_keep_what_was() -> None:
    distance = grasping()
    there = all_of(distance)
    there[80:100] = there[:5] = False
    damaged = distance.copy()
    damaged[~there] = 0.3  # whatever stands there
    found = calibrate(damaged, there, SIZE)
    share = opening(damaged, there, found)
    assert found.opened < 0.09
    assert (share[80:100] == share[79]).all() and (share[:5] == share[5]).all()
    closed = is_closed(share, there, 0.3, 0.5)
    assert closed[80:100].all() and not closed[:5].any()


def test_a_hand_that_never_comes_is_open() -> None:
    never = np.zeros(10, bool)
    share = opening(np.zeros(10), never, calibrate(np.zeros(10), never, SIZE))
    assert (share == 1).all() and not is_closed(share, never, 0.3, 0.5).any()


@given(st.integers(0, 2**32 - 1))
def test_trembling_between_the_thresholds_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.31, 0.49, 60)
    share[10], share[30], share[50] = 0.1, 0.9, 0.1
    closed = is_closed(share, np.ones(60, bool), 0.3, 0.5)
    starts = int(closed[0])
    assert np.count_nonzero(np.diff(closed)) == 3 - starts  # once at each frame that is clear, and never between
    assert closed[10] and not closed[30] and closed[50]


def one_by_one(share: np.ndarray, there: np.ndarray, below: float, above: float) -> list[bool]:
    """Hysteresis as one would write it on paper; an edge then goes back to where the middle was crossed."""
    middle = (below + above) / 2
    state = bool(share[0] < middle)
    found: list[bool] = []
    for t, (value, valid) in enumerate(zip(share, there, strict=True)):
        wanted = True if value < below else False if value > above else state
        if valid and wanted != state:
            state, back = wanted, t
            while back and (share[back - 1] < middle) == state:
                back -= 1
            found[back:] = [state] * (t - back)
        found.append(state)
    return found


@given(st.integers(0, 2**32 - 1), st.integers(1, 80))
def test_hysteresis_is_what_it_is_frame_by_frame(seed: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    share, there = rng.uniform(0, 1, frames), rng.uniform(size=frames) > 0.2
    there[0] = True
    assert is_closed(share, there, 0.3, 0.5).tolist() == one_by_one(share, there, 0.3, 0.5)


@given(st.floats(0.5, 2.0))
def test_the_size_of_the_hand_does_not_matter(scale: float) -> None:
    distance = grasping()
    there = all_of(distance)
    small = opening(distance, there, calibrate(distance, there, SIZE))
    large = opening(scale * distance, there, calibrate(scale * distance, there, scale * SIZE))
    assert np.allclose(small, large)
