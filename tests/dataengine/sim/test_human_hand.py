"""A hand that is known exactly: is it one, does it move as one, and do the cameras show it where they say?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.errors import ConfigError
from dataengine.sim.human_hand import (
    CAMERAS,
    JOINTS,
    LIMITS,
    MOTIONS,
    TOUCH,
    HumanHand,
    before,
    project,
)

RIGHT, LEFT, SOMEBODY = HumanHand(), HumanHand("left"), HumanHand(size=0.1, person=3)
MIRROR = np.array([-1.0, 1.0, 1.0])
share = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).uniform(0, 1, len(JOINTS)))


def angles_of(shares: np.ndarray) -> np.ndarray:
    return LIMITS[:, 0] + shares * (LIMITS[:, 1] - LIMITS[:, 0])


def bent(**degrees: float) -> np.ndarray:
    return np.deg2rad([degrees.get(joint, 0.0) for joint in JOINTS])


@settings(max_examples=40, deadline=None)
@given(share)
def test_the_palm_is_rigid_and_bones_keep_their_lengths(shares: np.ndarray) -> None:
    for hand, size in ((RIGHT, hands.SIZE), (SOMEBODY, 0.1)):
        points = hand.pose(angles_of(shares))
        assert np.abs(points[list(hands.PALM)] - hand.palm).max() < 1e-9
        assert np.linalg.norm(points[9] - points[0]) == pytest.approx(size)
        bones = [np.linalg.norm(points[child] - points[parent]) for parent, child, _ in hands.PHALANGES]
        assert np.abs(np.array(bones) - hand.lengths).max() < 1e-9


def test_the_average_hand_is_what_anatomy_says_and_people_differ_from_it() -> None:
    assert np.abs(RIGHT.palm - hands.RIGHT_PALM).max() < 1e-4
    assert np.abs(RIGHT.lengths - [length for *_, length in hands.PHALANGES]).max() < 1e-9
    apart = SOMEBODY.lengths / RIGHT.lengths / (0.1 / hands.SIZE) - 1
    assert 0.02 < apart.std() < 0.10


@settings(max_examples=25, deadline=None)
@given(share)
def test_a_left_hand_is_the_mirror_image(shares: np.ndarray) -> None:
    angles = angles_of(shares)
    assert np.abs(LEFT.pose(angles) - RIGHT.pose(angles) * MIRROR).max() < 1e-9
    assert LEFT.gap(angles) == pytest.approx(RIGHT.gap(angles), abs=1e-6)


def test_joints_turn_the_way_they_are_named() -> None:
    """The index finger by rotations put together here: abduction, then the knuckle, then the other two joints."""
    degrees = {"index_abduction": 12.0, "index_mcp": 50.0, "index_pip": 35.0, "index_dip": 20.0}
    found = RIGHT.pose(bent(**degrees))
    aside = Rotation.from_euler("z", -4.0, degrees=True)  # it stands four degrees to the thumb's side
    turn = Rotation.from_euler("z", -12.0, degrees=True) * aside * Rotation.from_euler("x", 50.0, degrees=True)
    point = RIGHT.palm[2]
    for landmark, length, more in zip((6, 7, 8), RIGHT.lengths[3:6], (35.0, 20.0, 0.0), strict=True):
        point = point + turn.apply([0.0, length, 0.0])
        assert np.abs(found[landmark] - point).max() < 1e-9
        turn = turn * Rotation.from_euler("x", more, degrees=True)
    straight = RIGHT.pose(bent())
    apart = np.linalg.norm(straight[8] - straight[20])
    spread = bent(index_abduction=20, ring_abduction=20, little_abduction=20)
    assert np.linalg.norm(np.subtract(*RIGHT.pose(spread)[[8, 20]])) > apart + 0.02  # away from the middle finger
    for joint in ("thumb_abduction", "thumb_mcp", "thumb_ip"):  # out of the palm
        assert RIGHT.pose(bent(**{joint: 30}))[4, 2] > straight[4, 2] + 0.005
    assert np.linalg.norm(np.subtract(*RIGHT.pose(bent(thumb_adduction=30))[[4, 8]])) < np.linalg.norm(
        np.subtract(*straight[[4, 8]])
    )


def test_the_wrist_stands_where_it_is_put() -> None:
    rng = np.random.default_rng(0)
    angles, place = angles_of(rng.uniform(0, 1, (4, 21))), rng.normal(0, 1, (4, 3))
    turn = Rotation.random(4, rng=rng).as_matrix()
    inside, world = RIGHT.pose(angles), RIGHT.pose(angles, place, turn)
    assert np.abs(np.einsum("tij,tkj->tki", turn, inside) + place[:, None] - world).max() < 1e-12
    assert np.abs(RIGHT.pose(angles[2], place[2], turn[2]) - world[2]).max() < 1e-12


@pytest.mark.parametrize("kind", MOTIONS)
def test_motions_are_within_limits_smooth_seen_and_the_same_again(kind: str) -> None:
    fps, count = 240.0, 800  # a jump in speed would be a great acceleration from one frame to the next
    motion = RIGHT.move(kind, 4, count, fps)
    again, other = RIGHT.move(kind, 4, count, fps), RIGHT.move(kind, 5, count, fps)
    assert all(np.array_equal(a, b) for a, b in zip(motion, again, strict=True))
    assert np.abs(motion.place - other.place).max() > 0.01
    assert ((motion.angles >= LIMITS[:, 0]) & (motion.angles <= LIMITS[:, 1])).all()
    assert np.abs(np.linalg.det(motion.rotation) - 1).max() < 1e-9
    points = RIGHT.pose(*motion[:3])
    speed = np.linalg.norm(np.diff(points, axis=0), axis=2) * fps
    jump = np.linalg.norm(np.diff(points, 2, axis=0), axis=2) * fps**2
    assert 0.05 < speed.max() < 1.5 and jump.max() < 40  # [m/s], [m/s²]
    assert np.ptp(motion.angles if kind in ("open_close", "pinch", "point") else motion.rotation, axis=0).max() > 0.3
    left = LEFT.move(kind, 4, count, fps)
    assert np.abs(LEFT.pose(*left[:3]) - points * MIRROR).max() < 1e-6
    for name in CAMERAS:
        camera = RIGHT.camera(name)
        pixels = project(camera, points)
        assert before(camera, points)[..., 2].min() > 0.2
        assert ((pixels > 0) & (pixels < [640, 480])).mean() > 0.95
    assert points[..., 2].min() > 0  # above the table


@pytest.mark.parametrize("person", range(3))
def test_a_pinch_is_one_where_skin_meets_skin(person: int) -> None:
    hand = HumanHand("left" if person % 2 else "right", person=person)
    motion = hand.move("pinch", person, 240)
    points = hand.pose(motion.angles)
    apart = np.linalg.norm(points[:, 4] - points[:, 8], axis=1)
    assert (np.diff(motion.pinched.astype(int)) == 1).sum() >= 2  # more than once
    assert apart[motion.pinched].max() < 0.02 < apart[~motion.pinched].max()
    held = hand.gap(motion.angles[motion.pinched])
    assert held.min() > -0.0021 and np.median(held) == pytest.approx(-0.002, abs=1e-4)  # pressed, and no deeper
    assert np.array_equal(motion.pinched, hand.gap(motion.angles) <= TOUCH)
    for finger, tip in (("middle", 12), ("ring", 16)):
        angles = hand.pinch(finger)
        assert abs(hand.gap(angles, finger)) < 0.003
        assert np.linalg.norm(np.subtract(*hand.pose(angles)[[4, tip]])) < 0.012


@pytest.mark.parametrize("name", CAMERAS)
def test_a_camera_shows_the_hand_where_it_says(name: str) -> None:
    with HumanHand() as hand:
        motion = hand.move("wave", 1, 30)
        picture = hand.render(motion.angles[9], motion.place[9], motion.rotation[9], name, width=320, height=240)
        pixels = project(hand.camera(name, 320, 240), hand.pose(*(column[9] for column in motion[:3])))
    red, _, blue = np.moveaxis(picture.astype(int), 2, 0)
    rows, columns = np.nonzero(red > blue + 15)  # skin, and nothing else here
    wide = 0.0125 * 120 / np.tan(np.deg2rad(22)) / 0.4  # [pixels] of flesh around a landmark, at most
    for seen, said in ((columns, pixels[:, 0]), (rows, pixels[:, 1])):
        assert said.min() - wide <= seen.min() <= said.min() + 1.5
        assert said.max() - 1.5 <= seen.max() <= said.max() + wide
    skin = set(zip(rows.tolist(), columns.tolist(), strict=True))
    tips = [tuple(reversed(pixel)) for pixel in np.floor(pixels[[5, 6, 9, 10, 13, 14]]).astype(int).tolist()]
    assert sum(tip in skin for tip in tips) >= 5


def test_time_between_frames_does_not_change_where_a_motion_goes() -> None:
    slow, fast = RIGHT.move("point", 2, 60, 30.0), RIGHT.move("point", 2, 120, 60.0)
    assert np.abs(slow.angles - fast.angles[::2]).max() < 1e-12
    longer = RIGHT.move("point", 2, 300, 60.0)
    assert np.abs(longer.angles[:120] - fast.angles).max() < 1e-12
    steps = [np.abs(np.diff(motion.angles, axis=0)).max() for motion in (slow, fast)]
    assert all(0.4 < b / a < 0.6 for a, b in pairwise(steps))


def test_what_a_hand_has_not_is_said() -> None:
    with pytest.raises(ConfigError, match="left or right, not 'both'"):
        HumanHand("both")
    with pytest.raises(ConfigError, match="no hand has 9 m"):
        HumanHand(size=9)
    with pytest.raises(ConfigError, match="no motion 'fly'; it has open_close, pinch"):
        RIGHT.move("fly", 0)
    with pytest.raises(ConfigError, match="0 frames"):
        RIGHT.move("wave", 0, 0)
    with pytest.raises(ConfigError, match="no camera 'top' at the hand; there are ego, front, side"):
        RIGHT.camera("top")
    with pytest.raises(ConfigError, match="1920 × 1080"):
        RIGHT.render(np.zeros(21), np.zeros(3), np.eye(3), "ego", width=4000)
