"""A few of the sessions that `bench/faulty_sessions.py` runs a hundred of: nothing is
lost, nothing unmarked, and the arm is held in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.faulty_sessions import HELD, session


@pytest.mark.parametrize("seed", [3, 11, 29, 40])
def test_a_session_in_which_much_fails(seed: int, tmp_path: Path) -> None:
    found = session(seed, tmp_path / "store")
    assert found["kept"] >= 1
    assert (found["lost"], found["unmarked"]) == (0, 0)
    assert found["held_ms"] <= 1000 * HELD
