"""Returns, advantages and the onset of failure, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataengine.errors import ConfigError
from dataengine.outcomes import chunk_returns, failure_onset, leave_one_out, returns_to_go, rewards


def test_rewards_are_one_success_or_the_gains_of_progress() -> None:
    progress = np.array([0.1, 0.4, 0.3, 1.0, 1.0])
    success = np.array([False, False, False, True, True])
    np.testing.assert_array_equal(rewards("success", progress, success), [0, 0, 0, 1, 0])
    np.testing.assert_allclose(rewards("gain", progress, success), [0.1, 0.3, -0.1, 0.7, 0.0], atol=1e-7)
    assert rewards("success", progress, np.zeros(5, bool)).sum() == 0
    assert rewards("gain", progress, success).dtype == rewards("success", progress, success).dtype == np.float32


def test_returns_are_discounted_sums() -> None:
    reward = np.array([1.0, 0.0, 2.0])
    np.testing.assert_allclose(returns_to_go(reward, 0.5), [1 + 0.25 * 2, 1.0, 2.0])
    np.testing.assert_allclose(returns_to_go(reward, 1.0), [3, 2, 2])
    np.testing.assert_allclose(returns_to_go(np.ones(20_000), 0.9)[0], 10.0)  # however long: no power overflows


def test_a_chunk_has_the_return_of_its_own_steps() -> None:
    reward = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    np.testing.assert_allclose(chunk_returns(reward, [0, 2, 4], 0.5), [1 + 1, 4 + 4, 16])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1))
def test_chunks_add_up_to_the_return(reward: list[float], gamma: float) -> None:
    values, starts = np.array(reward), list(range(0, len(reward), 4))
    chunks = chunk_returns(values, starts, gamma)
    whole = sum(gamma**start * chunk for start, chunk in zip(starts, chunks, strict=True))
    assert whole == pytest.approx(returns_to_go(values, gamma)[0])


def test_an_advantage_is_over_the_mean_of_the_others() -> None:
    np.testing.assert_allclose(leave_one_out([1, 0, 0, 1]), [1 - 1 / 3, -2 / 3, -2 / 3, 1 - 1 / 3])
    np.testing.assert_allclose(leave_one_out([2.0, 5.0]), [-3, 3])
    np.testing.assert_array_equal(leave_one_out([1, 1, 1]), [0, 0, 0])
    with pytest.raises(ConfigError, match="two"):
        leave_one_out([1])


@pytest.mark.parametrize(
    ("progress", "wrong", "frame", "cause"),
    [
        ([0.1, 0.5, 0.9, 0.2, 0.2, 0.2], False, 3, "lost"),  # dropped after frame 2
        ([0.1, 0.5, 0.9, 0.2, 0.8, 0.85], False, 3, "lost"),  # rises again, never above what it was
        ([0.1, 0.5, 0.9, 0.2, 0.95, 0.3], False, 5, "lost"),  # had recovered: the second loss counts
        ([0.3, 0.3, 0.3, 0.3], False, 1, "lost"),  # never got anywhere
        ([0.1, 0.3, 0.5, 0.7], False, 3, "time"),  # was on its way
        ([0.1, 0.5, 0.503, 0.5, 0.2], False, 2, "lost"),  # less than a rise is rest
        ([0.1, 0.5, 0.3, 0.2], True, 2, "wrong_object"),
        ([0.4], False, 0, "time"),
    ],
)
def test_the_onset_is_the_frame_that_starts_in_the_best_state(
    progress: list[float], wrong: bool, frame: int, cause: str
) -> None:
    onset = failure_onset(np.array(progress), success=False, wrong_object=wrong)
    assert onset is not None and (onset.frame, onset.cause) == (frame, cause)


def test_a_success_has_no_onset() -> None:
    assert failure_onset(np.array([0.5, 1.0]), success=True) is None
