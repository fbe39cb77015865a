"""Rotations as columns: against scipy, continuous, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipelines.retarget.actions import BASE
from pipelines.retarget.rotations import NAMES, closest, decode, encode, from_sixd, nearest, to_sixd

SEEDS = st.integers(0, 2**32 - 1)


def turning(seed: int, frames: int = 60) -> np.ndarray:
    """A smooth way through more than one turn, `(T, 3, 3)`."""
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    angles = np.linspace(0, 9.0, frames)
    spin = Rotation.from_rotvec(angles[:, None] * axis / np.linalg.norm(axis))
    return (spin * Rotation.random(random_state=seed)).as_matrix()


@given(SEEDS)
def test_six_numbers_are_the_first_two_rows_and_come_back(seed: int) -> None:
    matrices = Rotation.random(8, random_state=seed).as_matrix()
    six = to_sixd(matrices)
    assert np.array_equal(six[:, :3], matrices[:, 0]) and np.array_equal(six[:, 3:], matrices[:, 1])
    assert np.allclose(from_sixd(six), matrices, atol=1e-12)


@given(SEEDS)
def test_any_six_numbers_are_a_rotation(seed: int) -> None:
    given_numbers = np.random.default_rng(seed).normal(size=(8, 6)) * 5
    found = from_sixd(given_numbers)
    assert np.allclose(found @ found.swapaxes(1, 2), np.eye(3), atol=1e-9) and np.allclose(np.linalg.det(found), 1)
    assert np.allclose(np.cross(found[:, 0], given_numbers[:, :3]), 0, atol=1e-9)  # the first row keeps its direction


def test_six_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="parallel"):
        from_sixd(np.array([[1.0, 0, 0, 2, 0, 0]]))


@given(SEEDS, st.sampled_from(sorted(NAMES)))
def test_every_convention_comes_back_and_does_not_leap(seed: int, convention: str) -> None:
    matrices = turning(seed)
    values = encode(matrices, convention, BASE.reference)
    assert values.shape == (len(matrices), len(NAMES[convention]))
    assert np.allclose(decode(values, convention, BASE.reference), matrices, atol=1e-9)
    if convention != "euler":  # those leap where pitch is a right angle, and by half turns only
        assert np.abs(np.diff(values, axis=0)).max() < 0.3
    assert np.abs(np.diff(values, axis=0)).max() <= np.pi + 1e-9


@given(SEEDS)
def test_quaternions_are_scipys_up_to_sign(seed: int) -> None:
    matrices = turning(seed)
    ours, theirs = encode(matrices, "quaternion_xyzw"), Rotation.from_matrix(matrices).as_quat()
    assert np.allclose(np.abs((ours * theirs).sum(1)), 1) and ours[0, 3] >= 0
    assert ((ours[1:] * ours[:-1]).sum(1) > 0).all()


def test_angles_are_those_of_the_tabletop_arms() -> None:
    from dataengine.sim.arms.base import DOWN
    from dataengine.sim.rotations import angles, matrix

    told = np.array([[0.3, -0.5, 1.2], [-0.9, 0.2, -1.0]])
    tool = matrix(told) @ DOWN
    assert np.array_equal(BASE.reference, DOWN)
    assert np.allclose(encode(tool, "euler", BASE.reference), told) and np.allclose(angles(tool @ DOWN.T), told)


@given(SEEDS, st.sampled_from(sorted(NAMES)))
def test_nearest_is_the_same_rotation_and_no_further_away(seed: int, convention: str) -> None:
    rng = np.random.default_rng(seed)
    a, b = (encode(Rotation.random(5, random_state=rng).as_matrix(), convention) for _ in range(2))
    moved = a + (2 * np.pi * rng.integers(-2, 3, a.shape) if convention == "euler" else 0)
    found = nearest(moved, b, convention)
    assert np.allclose(decode(found, convention), decode(a, convention), atol=1e-9)
    assert np.linalg.norm(found - b) <= np.linalg.norm(moved - b) + 1e-9


@given(SEEDS)
def test_the_closest_rotation_is_one_and_leaves_rotations_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = closest(rng.normal(size=(6, 3, 3)))
    assert np.allclose(found @ found.swapaxes(1, 2), np.eye(3)) and np.allclose(np.linalg.det(found), 1)
    assert np.allclose(closest(3 * found), found)
