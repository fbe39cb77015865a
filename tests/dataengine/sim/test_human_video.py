from __future__ import annotations

import numpy as np
import pytest

from dataengine.errors import ConfigError
from dataengine.sim.human_hand import ABOUT_TO_PINCH, DOWN, HumanHand, project
from dataengine.sim.human_video import HumanScene, Pose
from dataengine.sim.world import Tabletop


@pytest.fixture(scope="module")
def drawn():
    world = Tabletop(arm="six", cameras=(), tasks=("pick_red",))
    world.reset(seed=3)
    person = HumanHand("right")
    away = Pose(ABOUT_TO_PINCH, np.array([0.3, 0.0, 0.12]), DOWN)
    with HumanScene(person, arm="six", kind="cubes", size=160) as scene:
        yield world, person, scene, away, scene.render(world.still(), away)


def test_the_arm_is_gone_and_the_things_are_there(drawn):
    world, _, scene, _, picture = drawn
    with_arm = world.render("front", 160)
    assert picture.shape == with_arm.shape and np.abs(picture.astype(int) - with_arm).mean() > 2
    hidden = scene.render(world.still(), Pose(ABOUT_TO_PINCH, np.array([0.0, 0.0, -5.0]), DOWN))  # under the table
    gone = np.abs(hidden.astype(int) - with_arm).max(2) > 40
    assert gone.sum() > 200  # where the arm was there is table
    reds = (with_arm[..., 0] > 120) & (with_arm[..., 1] < 80)
    same = (hidden[..., 0] > 120) & (hidden[..., 1] < 80)
    assert reds.sum() > 20 and (reds & same).sum() > 0.9 * reds.sum()


def test_the_hand_is_drawn_where_its_landmarks_are(drawn):
    world, person, scene, pose, picture = drawn
    nobody = scene.render(world.still(), Pose(pose.angles, np.array([0.0, 0.0, -5.0]), DOWN))
    changed = np.abs(picture.astype(int) - nobody).max(2) > 25
    points = person.pose(pose.angles, pose.place, pose.rotation)
    pixels = project(scene.camera, points)
    on = [changed[round(y), round(x)] for x, y in pixels if 0 <= x < 159.5 and 0 <= y < 159.5]
    assert len(on) >= 15 and np.mean(on) > 0.8
    high, low = pixels.min(0) - 12, pixels.max(0) + 12
    rows, columns = np.nonzero(changed)
    inside = (columns >= high[0]) & (columns <= low[0]) & (rows >= high[1]) & (rows <= low[1])
    assert inside.mean() > 0.98


def test_only_a_camera_that_stands_still(drawn):
    with pytest.raises(ConfigError, match="front or side"):
        HumanScene(HumanHand(), arm="six", kind="cubes", camera="wrist")
