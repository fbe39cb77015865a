"""Gaps and jitter, against numpy's interpolation and sine waves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.egocentric.signal import fill, smooth


@settings(deadline=None, max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 8))
def test_gaps_are_bridged_up_to_a_limit_and_no_further(there: list[bool], longest: int) -> None:
    seen = np.array(there)
    values = np.where(seen[:, None, None], np.random.default_rng(0).normal(size=(len(seen), 3, 2)), np.nan)
    filled, bridged = fill(values, longest)
    known = np.flatnonzero(seen)
    for at in range(len(seen)):
        before, after = known[known < at], known[known > at]
        short = len(before) and len(after) and after[0] - before[-1] - 1 <= longest
        assert bridged[at] == bool(not seen[at] and short)
    assert (np.isfinite(filled).all((1, 2)) == (seen | bridged)).all()
    if bridged.any():
        flat = values.reshape(len(seen), -1)
        want = np.stack([np.interp(np.arange(len(seen)), known, c[known]) for c in flat.T], 1).reshape(values.shape)
        np.testing.assert_allclose(filled[bridged], want[bridged], atol=1e-12)
    np.testing.assert_array_equal(filled[seen], values[seen])


def test_smoothing_takes_jitter_and_leaves_motion_where_it_is() -> None:
    time = np.arange(600) / 30
    slow, fast = np.sin(2 * np.pi * 0.8 * time), 0.3 * np.sin(2 * np.pi * 13 * time)
    steady = smooth(np.stack([slow + fast, slow], 1), 30.0, 6.0)
    inside = slice(60, -60)
    assert np.abs(steady[inside, 0] - slow[inside]).max() < 0.02
    lag = np.argmax(np.correlate(steady[inside, 1], slow[60 - 5 : -60 + 5 or None], "valid"))
    assert lag == 5  # nothing is late
    half = smooth(np.sin(2 * np.pi * 6.0 * time)[:, None], 30.0, 6.0)[inside]
    assert np.abs(half).max() == pytest.approx(0.5, abs=0.03)  # -3 dB forwards and backwards


def test_every_run_is_smoothed_by_itself() -> None:
    values = np.concatenate([np.zeros(40), [np.nan], np.full(40, 5.0), [np.nan], [7.0, 8.0]])[:, None]
    steady = smooth(values, 30.0, 4.0)
    np.testing.assert_allclose(steady[:40, 0], 0, atol=1e-9)
    np.testing.assert_allclose(steady[41:81, 0], 5, atol=1e-9)
    np.testing.assert_array_equal(steady[-2:, 0], [7, 8])
    assert np.isnan(steady[[40, 81], 0]).all()
    np.testing.assert_array_equal(smooth(values, 30.0, 0), values)
    np.testing.assert_array_equal(smooth(values, 8.0, 6.0), values)
