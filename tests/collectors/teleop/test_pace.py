"""Limits of motion: nothing that is sent is faster or more sudden than allowed, and jumps are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.teleop.pace import JUMP, Limits, Pace
from dataengine.episode import Feature
from dataengine.errors import RobotError

DT = 1 / 30


def limits(speed: float = 1.0, acceleration: float = 5.0, reach: float = 2.0) -> Limits:
    ones = np.ones(2)
    return Limits(-reach * ones, reach * ones, speed * ones, acceleration * ones)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=40),
    st.floats(0.2, 3.0),
    st.floats(1.0, 30.0),
)
def test_whatever_is_wished_speed_acceleration_and_range_are_kept(
    wishes: list[tuple[float, float]], speed: float, acceleration: float
) -> None:
    pace = Pace(limits(speed, acceleration))
    pace.reset(np.zeros(2))
    sent = [np.zeros(2), np.zeros(2)]
    for wish in wishes:
        sent += [pace.toward(np.array(wish), DT).astype(float) for _ in range(4)]
    sent += [pace.brake(DT).astype(float) for _ in range(10)]
    path = np.array(sent)
    velocity = np.diff(path, axis=0) / DT
    assert np.abs(path).max() <= 2.0 + 1e-6
    assert np.abs(velocity).max() <= speed + 1e-4
    inside = (np.abs(path[2:]) < 2.0 - 1e-6) & (np.abs(path[1:-1]) < 2.0 - 1e-6)  # a limit of range stops at once
    assert (np.abs(np.diff(velocity, axis=0)) * inside).max() <= 2 * acceleration * DT + 1e-3


def test_it_arrives_and_stays_without_swinging() -> None:
    pace = Pace(limits())
    pace.reset(np.zeros(2))
    path = np.array([pace.toward(np.array([0.5, -0.2]), DT) for _ in range(60)])
    assert path[-1] == pytest.approx([0.5, -0.2], abs=1e-6)
    assert path[:, 0].max() <= 0.5 + 1e-3
    assert (np.abs(path[-10:] - path[-1]) < 1e-6).all()


def test_a_slow_approach_is_as_slow_as_it_says() -> None:
    pace = Pace(limits())
    pace.reset(np.zeros(2))
    path = np.array([pace.toward(np.ones(2), DT, share=0.2) for _ in range(60)], np.float64)
    assert np.abs(np.diff(path, axis=0)).max() / DT <= 0.2 + 1e-5


def test_jumps_are_refused_and_what_goes_on_from_there_too() -> None:
    pace = Pace(limits())
    pace.reset(np.zeros(2))
    assert not pace.jumps(np.array([0.3 * JUMP, 0.0]))
    assert pace.jumps(np.array([0.3 * JUMP + 1.1 * JUMP, 0.0]))
    assert pace.jumps(np.array([1.5 * JUMP, 0.0]))  # compared with the last that was accepted
    assert not pace.jumps(np.array([0.4 * JUMP, 0.0]))
    assert pace.jumps(np.array([np.nan, 0.0]))


def test_rates_are_only_clipped_and_braking_is_what_the_robot_s_hold_gave() -> None:
    one = np.ones(2)
    pace = Pace(Limits(-one, one, one, one, rates=True))
    pace.reset(np.zeros(2))
    assert not pace.jumps(5 * one)
    assert pace.toward(5 * one, DT).tolist() == [1.0, 1.0]
    pace.reset(np.array([0.0, 1.0]))  # nothing moves, the gripper stays open
    assert pace.brake(DT).tolist() == [0.0, 1.0]


def test_limits_come_from_units_and_from_what_a_robot_says() -> None:
    action = Feature("float32", (3,), ("ee.x", "wrist", "gripper"), "action", ("m", "rad", "1"))
    usual = Limits.of(action)
    assert usual.speed.tolist() == [0.6, 2.5, 4.0]
    assert Limits.of(action, {"speed": 0.1, "low": [0, -1, 0], "high": [1, 1, 1]}).speed.tolist() == [0.1] * 3
    with pytest.raises(RobotError, match="speed of the action has 2 numbers, not 3"):
        Limits.of(action, {"speed": [1.0, 2.0]})
    with pytest.raises(RobotError, match="leave no room"):
        Limits.of(action, {"low": 1.0, "high": 1.0})
    with pytest.raises(RobotError, match="must be positive"):
        Limits.of(action, {"acceleration": 0.0})
