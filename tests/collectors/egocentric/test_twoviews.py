"""Two pictures of points that are known: a turn, a movement, and a plane, of which two movements show the same."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from collectors.egocentric.twoviews import steps_between, triangulated, turned_between

NOISE = 0.004


def seen(
    shift: list[float], count: int = 120, flat: bool = False, odd: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in the first camera's frame, and their rays in both, a quarter of `NOISE` off; `odd` go their own way."""
    rng = np.random.default_rng(3)
    points = np.stack([*rng.uniform(-1, 1, (2, count)), np.full(count, 2.0) if flat else rng.uniform(1.5, 4, count)], 1)
    if flat:
        points[:, :2] *= 0.6
        points[:, 2] += 0.7 * points[:, 1]
    there = points @ TURN.T + shift
    there[:odd, :2] += rng.uniform(0.1, 0.4, (odd, 2))
    return points, *(p[:, :2] / p[:, 2:] + rng.normal(0, NOISE / 4, (count, 2)) for p in (points, there))


TURN = Rotation.from_rotvec([0.03, -0.12, 0.05]).as_matrix()


def off(turn: np.ndarray) -> float:
    return float(np.rad2deg(Rotation.from_matrix(turn @ TURN.T).magnitude()))


def test_a_turn_needs_no_movement_also_where_a_quarter_moves_by_itself() -> None:
    _, first, second = seen([0.0, 0.0, 0.0], odd=30)
    (step,) = steps_between(first, second, NOISE)
    assert not step.shift.any() and off(step.turn) < 0.05
    assert step.agree[30:].mean() > 0.95 and step.agree[:30].mean() < 0.2


def test_a_movement_is_found_with_its_direction_and_the_points() -> None:
    shift = np.array([0.3, -0.1, 0.1])
    points, first, second = seen(shift.tolist(), odd=15)
    (step,) = steps_between(first, second, NOISE)
    way = shift / np.linalg.norm(shift)
    assert off(step.turn) < 0.4 and np.rad2deg(np.arccos(step.shift @ way)) < 4
    apart = np.linalg.norm(triangulated(first, second, step.turn, step.shift) - points / np.linalg.norm(shift), axis=1)
    assert np.median(apart[15:] / points[15:, 2] * np.linalg.norm(shift)) < 0.05


def test_a_plane_leaves_two_movements_and_the_true_one_is_among_them() -> None:
    shift = np.array([0.1, 0.0, 0.25])
    _, first, second = seen(shift.tolist(), flat=True)
    steps = steps_between(first, second, NOISE)
    ways = [float(step.shift @ shift / np.linalg.norm(shift)) for step in steps]
    best = int(np.argmax(ways))
    assert len(steps) == 2 and off(steps[best].turn) < 0.6 and ways[best] > 0.99


def test_what_nothing_explains_and_what_is_too_little() -> None:
    rng = np.random.default_rng(0)
    assert steps_between(*rng.uniform(-0.5, 0.5, (2, 60, 2)), NOISE) == []
    assert steps_between(*np.zeros((2, 1, 2)), NOISE) == []
    assert turned_between(*np.zeros((2, 40, 2)), NOISE) is not None  # all in one place: no error


def test_few_points_tell_of_a_turn_but_not_of_a_movement() -> None:
    _, first, second = seen([0.0, 0.0, 0.0], count=10)
    (step,) = steps_between(first, second, NOISE)
    assert off(step.turn) < 0.2
    _, first, second = seen([0.5, 0.0, 0.0], count=10)
    assert not any(step.shift.any() for step in steps_between(first, second, NOISE))
