"""Layouts of every kind of scene."""

import numpy as np
import pytest

from dataengine.sim.kinds import KINDS
from dataengine.sim.kinds.cubes import AREA_HIGH, AREA_LOW, CUBE_TO_CUBE, CUBE_TO_PAD

CUBES = KINDS["cubes"]
every = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


def test_the_cubes_of_a_seed_stay_where_policies_were_measured():
    """These figures may change only with the world's version."""
    layout = CUBES.sample(7)
    np.testing.assert_allclose(layout.things["red"], [0.28956041, -0.00833691, 0.015, -0.34509575], atol=1e-7)
    np.testing.assert_allclose(layout.furniture["pad"], [0.1707898, 0.08351939, -1.54019981], atol=1e-7)
    np.testing.assert_allclose(layout.tool, [0.21320984, 0.04955003, 0.16170648, 0.03665377], atol=1e-7)


def test_cubes_and_pad_are_apart_and_in_their_area():
    for seed in range(300):
        layout = CUBES.sample(seed)
        red, blue = layout.things["red"][:2], layout.things["blue"][:2]
        assert np.linalg.norm(red - blue) > CUBE_TO_CUBE
        for cube in (red, blue):
            assert (cube >= AREA_LOW).all() and (cube <= AREA_HIGH).all()
            assert np.linalg.norm(cube - layout.furniture["pad"][:2]) > CUBE_TO_PAD


@every
def test_a_layout_names_all_that_stands_there_and_is_the_same_again(kind):
    one, other = kind.sample(3), kind.sample(3)
    assert list(one.things) == list(kind.thing) and list(one.furniture) == list(kind.piece)
    for group in ("things", "furniture"):
        for name, place in getattr(one, group).items():
            np.testing.assert_array_equal(place, getattr(other, group)[name])
    np.testing.assert_array_equal(one.tool, other.tool)


@every
def test_things_never_start_within_each_other_or_in_furniture(kind):
    for seed in range(100):
        layout = kind.sample(seed)
        spots = [p[:2] for name, p in layout.things.items() if "bead" not in name]
        for k, spot in enumerate(spots):
            assert all(np.linalg.norm(spot - other) > 0.06 for other in spots[:k])
            assert all(np.linalg.norm(spot - p[:2]) > 0.07 for p in layout.furniture.values())


@every
def test_what_a_thing_is_tells_nothing_about_its_place(kind):
    names = [name for name in kind.thing if "bead" not in name]
    places = np.array([[kind.sample(seed).things[name][:2] for name in names] for seed in range(400)])
    np.testing.assert_allclose(places.mean(0), np.tile(places.mean((0, 1)), (len(names), 1)), atol=0.015)
