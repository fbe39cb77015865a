"""Layouts and what is measured in them."""

import numpy as np

from dataengine.sim.kinematics import forward, inverse
from dataengine.sim.scene import AREA_HIGH, AREA_LOW, CUBE_HALF, CUBE_TO_CUBE, CUBE_TO_PAD, Layout, Scene


def test_layouts_keep_things_apart_and_on_the_table():
    for seed in range(300):
        layout = Layout.sample(seed)
        red, blue = layout.cubes["red"][:2], layout.cubes["blue"][:2]
        assert np.linalg.norm(red - blue) > CUBE_TO_CUBE
        for cube in (red, blue):
            assert (cube >= AREA_LOW).all() and (cube <= AREA_HIGH).all()
            assert np.linalg.norm(cube - layout.pad[:2]) > CUBE_TO_PAD


def test_layouts_cover_the_area_with_either_colour():
    places = np.array([Layout.sample(seed).cubes["red"][:2] for seed in range(400)])
    others = np.array([Layout.sample(seed).cubes["blue"][:2] for seed in range(400)])
    for found in (places, others):
        assert (found.min(0) < AREA_LOW + 0.01).all() and (found.max(0) > AREA_HIGH - 0.01).all()
    np.testing.assert_allclose(places.mean(0), others.mean(0), atol=0.015)  # colour tells nothing about the place


def test_a_placed_scene_is_at_rest_and_where_the_layout_says():
    scene, layout = Scene(), Layout.sample(3)
    scene.place(layout)
    np.testing.assert_allclose(scene.tool, layout.tool, atol=1e-6)
    scene.advance(scene.joints.copy(), 1.0, 0.5)
    np.testing.assert_allclose(scene.tool, layout.tool, atol=2e-3)
    for colour, (x, y, yaw) in layout.cubes.items():
        np.testing.assert_allclose(scene.cube(colour), [x, y, CUBE_HALF], atol=1e-3)
        assert abs(np.sin(scene.cube_yaw(colour) - yaw)) < 1e-3
        assert scene.cube_speed(colour) < 1e-3
        assert not scene.touched(colour)
    np.testing.assert_allclose(scene.tool, forward(scene.joints), atol=1e-9)
    np.testing.assert_allclose(scene.pad, layout.pad, atol=1e-9)


def test_servos_follow_within_a_few_millimetres_after_one_control_step():
    scene = Scene()
    scene.place(Layout.sample(0))
    goal = scene.tool + np.array([0.02, 0.02, -0.02, 0.2])
    scene.advance(inverse(goal), 1.0, 0.1)
    assert np.linalg.norm(scene.tool[:3] - goal[:3]) < 0.006
    scene.advance(inverse(goal), 1.0, 0.2)
    assert np.linalg.norm(scene.tool[:3] - goal[:3]) < 0.001


def test_a_snapshot_brings_everything_back_bit_for_bit():
    scene = Scene()
    scene.place(Layout.sample(5))
    kept = scene.snapshot()
    scene.advance(scene.joints + 0.1, 0.0, 0.3)
    once = scene.state
    scene.restore(kept)
    scene.advance(scene.joints + 0.1, 0.0, 0.3)
    np.testing.assert_array_equal(scene.state, once)


def test_the_pad_is_measured_in_its_own_turned_frame():
    scene, layout = Scene(), Layout.sample(1)
    turned = Layout(layout.cubes, np.array([0.3, 0.1, np.pi / 4]), layout.tool)
    turned.cubes["red"][:2] = [0.3 + 0.05, 0.1]  # beyond an upright pad's edge, within the turned one's corner
    scene.place(turned)
    assert scene.on_pad("red")
    assert not scene.on_pad("red", margin=0.01)
    turned.cubes["red"][:2] = [0.3 + 0.035, 0.1 + 0.035]  # within an upright pad's corner, beyond the turned one's edge
    scene.place(turned)
    assert not scene.on_pad("red")
