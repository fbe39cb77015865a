"""What is measured in a scene."""

from dataclasses import replace

import numpy as np
import pytest

from dataengine.sim.arms import ARMS
from dataengine.sim.kinds import KINDS
from dataengine.sim.scene import Scene

CUBES = KINDS["cubes"]
everywhere = pytest.mark.parametrize(
    ("arm", "kind", "fps"), [("five", "cubes", 10), ("six", "bins", 30), ("five", "drawer", 10), ("six", "cups", 30)]
)


@everywhere
def test_a_placed_scene_is_at_rest_and_where_the_layout_says(arm, kind, fps):
    scene, layout = Scene(arm, kind, fps), KINDS[kind].sample(3)
    scene.place(layout)
    np.testing.assert_allclose(scene.tool, layout.tool, atol=1e-6)
    scene.advance(scene.joints.copy(), 1.0, round(0.5 * fps))
    np.testing.assert_allclose(scene.tool, layout.tool, atol=2e-3)
    for name, (x, y, z, yaw) in layout.things.items():
        np.testing.assert_allclose(scene.position(name), [x, y, z], atol=1e-3)
        assert abs(np.sin(scene.heading(name) - yaw)) < 5e-3
        assert scene.speed(name) < 2e-3
        assert not scene.touched(name)
    for name, spot in layout.furniture.items():
        np.testing.assert_allclose(scene.spot(name), spot, atol=1e-9)
    for name, share in layout.slides.items():
        assert abs(scene.slide(name) - share) < 0.01
    np.testing.assert_allclose(scene.pose, ARMS[arm].forward(scene.joints), atol=1e-8)


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("fps", [10, 30])
def test_servos_follow_within_a_few_millimetres_after_a_tenth_of_a_second(arm, fps):
    scene = Scene(arm, "cubes", fps)
    scene.place(CUBES.sample(0))
    goal = scene.pose + np.array([0.02, 0.02, -0.02, *[0.2] * (len(scene.pose) - 3)])
    scene.advance(scene.arm.inverse(goal), 1.0, fps // 10)
    assert np.linalg.norm(scene.pose[:3] - goal[:3]) < 0.006
    scene.advance(scene.arm.inverse(goal), 1.0, fps // 5)
    assert np.linalg.norm(scene.pose[:3] - goal[:3]) < 0.0015


@everywhere
def test_a_snapshot_in_the_midst_of_contacts_brings_everything_back_bit_for_bit(arm, kind, fps):
    scene, layout = Scene(arm, kind, fps), KINDS[kind].sample(5)
    scene.place(layout)
    name = next(iter(layout.things))
    down = scene.arm.inverse(scene.arm.reachable(scene.arm.upright(np.array([*layout.things[name][:2], 0.02, 0.0]))))
    scene.advance(down, 0.0, fps // 2)  # onto the thing
    kept = scene.snapshot()
    other = Scene(arm, kind, fps)
    after = []
    for each in (scene, scene, other):
        each.restore(kept)
        for _ in range(5):
            each.advance(down + 0.1, 1.0)
        after.append(each.snapshot())
    np.testing.assert_array_equal(after[0], after[1])
    np.testing.assert_array_equal(after[0], after[2])
    scene.restore(kept)
    straight = Scene(arm, kind, fps)
    straight.place(layout)
    straight.advance(down, 0.0, fps // 2)
    for _ in range(5):
        straight.advance(down + 0.1, 1.0)
    np.testing.assert_array_equal(after[0], straight.snapshot())  # as if nobody had looked


def test_the_pad_is_measured_in_its_own_turned_frame():
    scene, layout = Scene(), CUBES.sample(1)
    turned = replace(layout, furniture={"pad": np.array([0.3, 0.1, np.pi / 4])})
    turned.things["red"][:2] = [0.3 + 0.05, 0.1]  # beyond an upright pad's edge, within the turned one's corner
    scene.place(turned)
    assert scene.over("red", "pad")
    assert not scene.over("red", "pad", margin=0.01)
    turned.things["red"][:2] = [
        0.3 + 0.035,
        0.1 + 0.035,
    ]  # in an upright pad's corner, beyond the turned edge
    scene.place(turned)
    assert not scene.over("red", "pad")


def test_a_drawers_middle_moves_with_it_towards_where_it_opens():
    scene, layout = Scene("five", "drawer"), KINDS["drawer"].sample(0)
    scene.place(replace(layout, slides={"drawer": 0.0}))
    shut = scene.middle("drawer")
    scene.place(replace(layout, slides={"drawer": 1.0}))
    heading = layout.furniture["drawer"][2]
    np.testing.assert_allclose(scene.middle("drawer") - shut, 0.085 * np.array([np.cos(heading), np.sin(heading)]))
