"""Robot hands that are known, asked to do what was made for them: do they, as well as can be, and within bounds?"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robot_hand_made import RANGES, THUMB_RANGES, TIPS, hand_config
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.errors import ConfigError, DataEngineError
from dataengine.sim.human_hand import ABOUT_TO_PINCH, RELAXED, HumanHand
from dataengine.sim.human_hand_xml import JOINTS
from dataengine.sim.human_hand_xml import LIMITS as JOINT_LIMITS
from pipelines.retarget import dexterous_objectives as objectives
from pipelines.retarget.dexterous import DexterousHand, Following
from pipelines.retarget.dexterous_config import HandConfig
from pipelines.retarget.dexterous_solve import least

OBJECTIVES = ("position", "vector", "dexpilot")
LIMITS = np.array([*THUMB_RANGES, *RANGES, *RANGES, *RANGES])
# The little ring of joints a cheap hand has: the last joint of each finger follows the one before it.
FOLLOWING = "<equality>" + "".join(
    f'<joint joint1="{finger}_3" joint2="{finger}_2" polycoef="0.05 0.7 {bend} 0 0"/>'
    for finger, bend in (("thumb", 0), ("index", 0), ("middle", 0.1), ("ring", 0))
) + "</equality>"  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hands")


def waves(seed: int, count: int, low: np.ndarray, high: np.ndarray, fps: float = 30.0) -> np.ndarray:
    """`(T, N)` joint angles of a slow motion."""
    rng = np.random.default_rng(seed)
    middle, half = (low + high) / 2, (high - low) / 2
    rate, phase = rng.uniform(0.1, 0.4, len(low)), rng.uniform(0, 2 * np.pi, len(low))
    return middle + 0.9 * half * np.sin(2 * np.pi * rate * np.arange(count)[:, None] / fps + phase)


@cache
def loaded(path: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_path(path)
    return model, mujoco.MjData(model)


def tips_of(hand: DexterousHand, joints: np.ndarray) -> np.ndarray:
    """`(T, 4, 3)` where MuJoCo has the fingertips, from the palm and in the axes of a human one."""
    model, data = loaded(hand.config.model)
    found = np.empty((len(joints), 4, 3))
    for frame, row in enumerate(joints):
        data.qpos[:] = row
        mujoco.mj_forward(model, data)
        away = np.array([data.site(tip).xpos for tip in TIPS]) - data.body("palm").xpos
        found[frame] = (away @ data.body("palm").xmat.reshape(3, 3))[:, [1, 2, 0]]
    return found


def human_with(tips: np.ndarray) -> np.ndarray:
    """`(T, 21, 3)` of a hand that has its fingertips there, in the palm's frame."""
    points = np.zeros((len(tips), 21, 3))
    points[:, list(hands.PALM)] = hands.RIGHT_PALM
    points[:, list(hands.TIPS[:4])] = tips
    return points


STILL = np.eye(3)


# -- what it should find -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "most"), [("position", 4e-3), ("vector", 2e-3), ("dexpilot", 2.5e-3)])
@pytest.mark.parametrize("seed", range(3))
def test_a_robots_own_motion_is_found_again(folder: Path, objective: Any, most: float, seed: int) -> None:
    hand = DexterousHand(hand_config(folder, objective=objective, scale=1.0, speed=10.0))
    assert hand.names == tuple(f"{tip[:-4]}_{n}" for tip in TIPS for n in range(4))
    tips = tips_of(hand, waves(seed, 120, *LIMITS.T))
    found = hand.retarget(human_with(tips), np.tile(STILL, (120, 1, 1)))
    off = np.linalg.norm(tips_of(hand, found.joints) - tips, axis=2)
    assert np.abs(off.mean(1) - found.residual).max() < 1e-9
    assert off.mean() < most


def test_where_one_pose_alone_does_it_the_joints_are_found_again(folder: Path) -> None:
    """With the bones' ends followed too, nothing is left to choose; without pulls they are exact."""
    links = {
        f"{tip[:-4]}_link{n}": first + n - 1 for tip, first in zip(TIPS, (2, 6, 10, 14), strict=True) for n in (1, 2)
    }
    config = hand_config(folder, scale=1.0, links=links, keep=1e-7, ease=0.0, speed=10.0)
    hand = DexterousHand(config)
    joints = waves(7, 60, *LIMITS.T)
    human = human_with(tips_of(hand, joints))
    for frame, row in enumerate(joints):
        human[frame, list(links.values())] = hand.model.points(row)[4:]
    found = hand.retarget(human, np.tile(STILL, (60, 1, 1)))
    assert np.abs(found.joints - joints).max() < 0.01 and found.residual.max() < 2e-4


def straightforward(hand: DexterousHand, human: np.ndarray, last: np.ndarray) -> Callable[[np.ndarray], float]:
    """The objective of one frame `(21, 3)` that has none before it, written out term by term."""
    scale, config = float(hand.config.scale), hand.config
    tips = human[list(hands.TIPS[:4])]

    def huber(length: float, delta: float) -> float:
        return length**2 / (2 * delta) if length < delta else length - delta / 2

    def value(joints: np.ndarray) -> float:
        robot, total = tips_of(hand, joints[None])[0], 0.0
        if config.objective == "position":
            total = sum(huber(abs(off), 0.02) for off in (robot - scale * tips).ravel()) / 12
        elif config.objective == "vector":
            total = sum(huber(float(np.linalg.norm(off)), 0.02) for off in robot - scale * tips) / 4
        else:
            near = {i: np.linalg.norm(tips[0] - tips[i]) < 0.03 for i in (1, 2, 3)}
            for i, j in combinations(range(4), 2):
                between = tips[i] - tips[j]
                wanted, weight = scale * between, 1.0
                if i == 0 and near[j]:
                    wanted, weight = between / (np.linalg.norm(between) + 1e-6) * 1e-4, 200.0
                elif i and near[i] and near[j] and np.linalg.norm(between) <= 0.03:
                    wanted, weight = between / (np.linalg.norm(between) + 1e-6) * 3e-2, 400.0
                total += weight * huber(float(np.linalg.norm(robot[i] - robot[j] - wanted)), 0.03) / 10
            total += sum(10 * huber(float(np.linalg.norm(off)), 0.03) for off in robot - scale * tips) / 10
        total += config.keep * float(((joints - last) ** 2).sum())
        return total + config.ease * float(((joints - LIMITS.mean(1)) ** 2).sum())

    return value


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nobody_finds_better_by_a_straightforward_way(folder: Path, objective: Any) -> None:
    """Frames of a human hand that pinches and of one that makes a fist, against L-BFGS-B on the written-out sum."""
    hand = DexterousHand(hand_config(folder, objective=objective, scale=1.4, speed=1e3))
    for kind, frames in (("pinch", (24, 40, 70)), ("open_close", (15, 38))):
        human = HumanHand(person=1)
        motion = human.move(kind, 3, 80)
        points = human.pose(motion.angles)
        if kind == "pinch":
            assert motion.pinched[[40, 70]].any()
        for frame in frames:
            start = np.clip(hand.retarget(points[None, frame - 4], STILL[None]).joints[0], *LIMITS.T)
            mine = hand.retarget(points[None, frame], STILL[None], start=start)
            value = straightforward(hand, points[frame], start)
            assert value(mine.joints[0]) == pytest.approx(mine.objective[0], rel=1e-6)
            theirs = minimize(value, start, method="L-BFGS-B", bounds=LIMITS, options={"maxiter": 100, "ftol": 1e-9})
            assert mine.objective[0] <= 1.02 * theirs.fun


def test_where_fingers_begin_to_be_drawn_together_no_bad_valley_holds_it(folder: Path) -> None:
    """From any pose at once to a pinch of thumb and ring finger: downhill from the last solution alone costs five times
    as much as this."""
    human, hand = HumanHand(), DexterousHand(hand_config(folder, objective="dexpilot", scale=1.4, speed=1e3))
    angles = np.random.default_rng(5).uniform(*JOINT_LIMITS.T, (1, 21)).repeat(2, 0)
    pinched = [name.startswith(("thumb_", "ring_")) for name in JOINTS]
    angles[1, pinched] = human.pinch("ring")[pinched]
    points = human.pose(angles)
    found = hand.retarget(points, np.tile(STILL, (2, 1, 1)))
    value = straightforward(hand, points[1], found.joints[0])
    middle = minimize(value, LIMITS.mean(1), method="L-BFGS-B", bounds=LIMITS, options={"maxiter": 40})
    assert value(found.joints[1]) <= 1.02 * middle.fun


# -- derivatives -------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), objective=st.sampled_from(OBJECTIVES), extra=st.sampled_from(["", FOLLOWING]))
def test_derivatives_are_those_of_finite_differences(folder: Path, seed: int, objective: Any, extra: str) -> None:
    hand = DexterousHand(hand_config(folder, extra=extra, objective=objective, scale=1.3))
    rng = np.random.default_rng(seed)
    count = len(hand.model.lower)
    assert count == (12 if extra else 16)
    human = hand.seen(HumanHand(person=0).pose(HumanHand().move("pinch", seed % 7, 60).angles[[40]]))
    human = human + rng.normal(0, 0.01, human.shape)
    _, terms = hand.aims(human)
    x, centre = rng.uniform(hand.model.lower, hand.model.upper, (2, count))
    following = Following(hand.model, terms, 0, centre, 4e-3, 1e-4)
    slope, bend = following.derivatives(x)
    step = 1e-6 * np.eye(count)
    told = np.array([(following.value(x + way) - following.value(x - way)) / 2e-6 for way in step])
    assert np.abs(slope - told).max() < 1e-5 * max(1.0, np.abs(told).max())
    if not extra or objective == "vector":  # where a joint follows by a curve its own curvature is left out
        around = (
            np.array([following.derivatives(x + way)[0] - following.derivatives(x - way)[0] for way in step]) / 2e-6
        )
        off = np.abs(bend - around) / np.abs(around).max()
        assert np.quantile(off, 0.9 if extra else 0.97) < (0.05 if extra else 1e-3)
        assert np.abs(bend - bend.T).max() < 1e-9


def test_the_solver_finds_the_least_in_a_box() -> None:
    """Of a bent valley whose bottom is outside."""

    class Valley:
        def value(self, x: np.ndarray) -> float:
            return float((1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2)

        def derivatives(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            y = x[1] - x[0] ** 2
            slope = np.array([-2 * (1 - x[0]) - 400 * x[0] * y, 200 * y])
            return slope, np.array([[2 - 400 * y + 800 * x[0] ** 2, -400 * x[0]], [-400 * x[0], 200.0]])

    low, high = np.array([-2.0, -1.0]), np.array([0.5, 3.0])
    found = least(Valley(), np.array([-0.5, 1.5]), low, high)
    assert np.abs(found.x - [0.5, 0.25]).max() < 1e-5
    inside = least(Valley(), np.array([-0.5, 1.5]), low, np.array([2.0, 3.0]))
    assert np.abs(inside.x - 1).max() < 1e-4 and inside.value < 1e-8


# -- bounds ------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    objective=st.sampled_from(OBJECTIVES),
    speed=st.floats(0.5, 8.0),
    alpha=st.floats(0.1, 1.0),
    extra=st.sampled_from(["", FOLLOWING]),
)
def test_limits_and_speeds_hold_whatever_is_asked(
    folder: Path, seed: int, objective: Any, speed: float, alpha: float, extra: str
) -> None:
    hand = DexterousHand(hand_config(folder, extra=extra, objective=objective, speed=speed, alpha=alpha))
    rng = np.random.default_rng(seed)
    human = rng.normal(0, 0.1, (14, 21, 3))
    human[5:8] = np.nan
    found = hand.retarget(human, Rotation.random(14, rng=rng).as_matrix(), fps=30)
    there = np.flatnonzero(np.isfinite(found.joints).all(1))
    assert there.tolist() == [*range(5), *range(8, 14)]
    assert np.isnan(found.residual[5:8]).all() and np.isfinite(found.objective[there]).all()
    joints = found.joints[there]
    assert (joints >= LIMITS[:, 0] - 1e-9).all() and (joints <= LIMITS[:, 1] + 1e-9).all()
    steps = np.abs(np.diff(joints, axis=0)) / (np.diff(there)[:, None] / 30)
    assert steps.max() <= speed * (1 + 1e-3)
    if extra:
        for finger, bend in enumerate((0, 0, 0.1, 0)):
            leader = joints[:, 4 * finger + 2]
            assert np.abs(0.05 + 0.7 * leader + bend * leader**2 - joints[:, 4 * finger + 3]).max() < 1e-9


def test_a_slow_robot_gets_there_later_and_a_filter_lags(folder: Path) -> None:
    points = HumanHand().pose(np.stack([RELAXED, *[ABOUT_TO_PINCH] * 40]))

    def arrives(**more: Any) -> np.ndarray:
        """How far the fingertips still have to go, as a share."""
        hand = DexterousHand(hand_config(folder, scale=1.3, **more))
        tips = tips_of(hand, hand.retarget(points, np.tile(STILL, (41, 1, 1))).joints)
        left = np.linalg.norm(tips - tips[-1], axis=2).mean(1)
        return left / left[0]

    quick, slow, lagging = arrives(speed=100.0), arrives(speed=1.0), arrives(speed=100.0, alpha=0.3)
    assert quick[2] < 0.1 and slow[2] > 0.5 and slow[30] < 0.1
    assert quick[1] < 0.3 < lagging[1] < 0.8 and lagging[10] < 0.1


def test_a_robot_starts_where_it_is(folder: Path) -> None:
    hand = DexterousHand(hand_config(folder, speed=2.0))
    points = HumanHand().pose(np.zeros((3, 21)))
    start = LIMITS[:, 1]
    found = hand.retarget(points, np.tile(STILL, (3, 1, 1)), start=start, fps=20)
    assert np.abs(found.joints[0] - start).max() <= 0.1 + 1e-9 < np.abs(found.joints[2] - start).max()
    with pytest.raises(ConfigError, match="outside its limits"):
        hand.retarget(points, start=start + 1)
    with pytest.raises(ConfigError, match="16 joints have to be given: thumb_0"):
        hand.retarget(points, start=start[:3])


# -- frames, sides, sizes ----------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), objective=st.sampled_from(OBJECTIVES))
def test_where_the_hand_is_and_how_it_is_turned_does_not_matter(folder: Path, seed: int, objective: Any) -> None:
    hand, human = DexterousHand(hand_config(folder, objective=objective)), HumanHand(person=2)
    angles = human.move("pinch", seed % 5, 40).angles[::8]
    rng = np.random.default_rng(seed)
    turn, place = Rotation.random(5, rng=rng).as_matrix(), rng.normal(0, 1, (5, 3))
    at_home = hand.retarget(human.pose(angles), np.tile(STILL, (5, 1, 1)))
    away = hand.retarget(human.pose(angles, place, turn), turn)
    assert np.abs(at_home.joints - away.joints).max() < 1e-3
    # The palm's rotation can be seen in the landmarks themselves; this person's palm is not quite the average one.
    seen = hands.palm_rotation(human.pose(angles, place, turn), right=True)
    assert np.rad2deg((Rotation.from_matrix(seen) * Rotation.from_matrix(turn).inv()).magnitude()).max() < 8
    other = hands.palm_rotation(
        human.pose(angles) * [-1.0, 1.0, 1.0], right=True
    )  # of the wrong hand: still a rotation
    assert np.abs(np.linalg.det(other) - 1).max() < 1e-9
    average = HumanHand()
    assert np.abs(hands.palm_rotation(average.pose(angles, place, turn), right=True) - turn).max() < 1e-3


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_left_hand_does_the_mirrored(folder: Path, objective: Any) -> None:
    found = []
    for side in hands.SIDES:
        human = HumanHand(side, person=1)
        motion = human.move("pinch", 2, 60)
        hand = DexterousHand(hand_config(folder, side, objective=objective))
        found.append(hand.retarget(human.pose(*motion[:3]), motion.rotation))
        free = hand.retarget(human.pose(*motion[:3]))  # without being told how the palm is turned
        assert np.abs(free.residual - found[-1].residual).mean() < 0.01
    left, right = found
    assert np.abs(left.joints - right.joints).max() < 1e-3
    assert np.abs(left.residual - right.residual).max() < 1e-6


def test_scale_auto_makes_hands_of_all_sizes_alike(folder: Path) -> None:
    hand, small, large = DexterousHand(hand_config(folder)), HumanHand(size=0.07), HumanHand(size=0.11)
    angles = small.move("open_close", 1, 20).angles
    turns = np.tile(STILL, (20, 1, 1))
    found = [hand.retarget(one.pose(angles), turns).joints for one in (small, large)]
    assert np.abs(found[0] - found[1]).max() < 1e-6
    straight = small.pose(np.zeros((1, 21)))
    along = [
        np.linalg.norm(straight[0, tip] - straight[0, root])
        for tip, root in zip(hands.TIPS, (1, 5, 9, 13), strict=False)
    ]
    palm = np.linalg.norm(small.palm[1:5], axis=1)
    assert hand.scale(straight) == pytest.approx(hand.model.lengths.sum() / (np.array(along) + palm).sum(), rel=1e-6)


# -- DexPilot ----------------------------------------------------------------------------------------------------


def test_fingers_that_are_about_to_touch_are_drawn_together_until_they_are_well_apart() -> None:
    """Thumb and index go together and apart; middle comes to the thumb as well."""
    tips = np.zeros((8, 4, 3))
    tips[:, 0] = [0.03, 0.08, 0.05]
    apart = np.array([0.06, 0.04, 0.02, 0.04, 0.02, 0.049, 0.06, 0.0])
    tips[:, 1] = tips[:, 0] + apart[:, None] * [1.0, 0.0, 0.0]
    tips[:, 2] = tips[:, 0] + np.array([0.0, 0.06, 0.0])
    tips[4, 2] = tips[4, 0] + [0.02, 0.02, 0.0]
    tips[7, 1:3] = tips[7, 0] + np.array([[0.02, 0.0, 0.0], [-0.02, 0.0, 0.0]])  # both at the thumb, on either side
    tips[:, 3] = tips[:, 0] + np.array([0.0, 0.0, 0.09])
    terms = objectives.dexpilot(tips, 1.6)
    thumb_index, index_middle = 0, 3
    weight = terms.weight * 10
    assert weight[:, thumb_index].tolist() == [1, 1, 200, 200, 200, 200, 1, 200]
    assert weight[:, index_middle].tolist() == [1, 1, 1, 1, 400, 1, 1, 1]
    assert (weight[:, 6:] == 10).all()
    assert np.linalg.norm(terms.wanted[2, thumb_index]) == pytest.approx(1e-4, rel=1e-3)
    assert np.linalg.norm(terms.wanted[4, index_middle]) == pytest.approx(3e-2, rel=1e-3)
    assert np.allclose(terms.wanted[0, thumb_index], 1.6 * (tips[0, 0] - tips[0, 1]))
    assert np.allclose(terms.wanted[:, 6:], 1.6 * tips)


def test_a_pinch_of_the_hand_is_one_of_the_robot(folder: Path) -> None:
    """What the objective is for: vectors to the wrist alone leave the fingers apart."""
    human = HumanHand(person=1)
    motion = human.move("pinch", 0, 120)
    apart = {}
    for objective in ("vector", "dexpilot"):
        hand = DexterousHand(hand_config(folder, objective=objective))
        tips = tips_of(hand, hand.retarget(human.pose(motion.angles), np.tile(STILL, (120, 1, 1))).joints)
        apart[objective] = np.linalg.norm(tips[:, 0] - tips[:, 1], axis=1)[motion.pinched]
    assert np.median(apart["dexpilot"]) < 0.002 < 0.5 * np.median(apart["vector"])


# -- descriptions ------------------------------------------------------------------------------------------------

URDF = """<robot name="claw"><link name="base"/>{links}
  <joint name="a0" type="revolute"><parent link="base"/><child link="a"/><origin xyz="0.02 0.05 0"/><axis xyz="1 0 0"/>
    <limit lower="-0.5" upper="1.5" effort="1" velocity="2"/></joint>
  <joint name="a1" type="revolute"><parent link="a"/><child link="a2"/><origin xyz="0 0.05 0"/><axis xyz="1 0 0"/>
    <limit lower="-0.2" upper="0.6" effort="1" velocity="2"/><mimic joint="a0" multiplier="0.5" offset="0.1"/></joint>
  <joint name="at" type="fixed"><parent link="a2"/><child link="a_tip"/><origin xyz="0 0.04 0"/></joint>
  <joint name="b0" type="revolute"><parent link="base"/><child link="b"/><origin xyz="-0.02 0.05 0"/><axis xyz="1 0 0"/>
    <limit lower="-0.5" upper="1.5" effort="1" velocity="2"/></joint>
  <joint name="bt" type="fixed"><parent link="b"/><child link="b_tip"/><origin xyz="0 0.09 0"/></joint></robot>"""
LINKS = "".join(
    f'<link name="{name}"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/>'
    f"</inertial></link>"
    for name in ("a", "a2", "b", "a_tip", "b_tip")
)


def test_urdf_with_a_joint_that_mimics_another(folder: Path) -> None:
    path = folder / "claw.urdf"
    path.write_text(URDF.format(links=LINKS))
    (folder / "claw.yaml").write_text(
        "model: claw.urdf\npalm: base\nfingertips: [a_tip, b_tip]\nscale: 1\nlandmarks: [4, 8]"
    )
    hand = DexterousHand(HandConfig.from_yaml(folder / "claw.yaml"))
    assert hand.names == ("a0", "a1", "b0")
    assert hand.model.lower == pytest.approx([-0.5, -0.5]) and hand.model.upper[0] == pytest.approx(1.0, abs=2e-3)
    human = np.zeros((1, 21, 3))
    for turn in (-0.3, 0.4, 0.9):
        both = turn + 0.5 * turn + 0.1
        human[0, 4] = [
            0.02,
            0.05 + 0.05 * np.cos(turn) + 0.04 * np.cos(both),
            0.05 * np.sin(turn) + 0.04 * np.sin(both),
        ]
        human[0, 8] = [-0.02, 0.05 + 0.09 * np.cos(0.2), 0.09 * np.sin(0.2)]
        found = hand.retarget(human, STILL[None])
        assert found.joints[0] == pytest.approx([turn, 0.5 * turn + 0.1, 0.2], abs=0.02)


def test_joints_follow_as_mujoco_has_it(folder: Path) -> None:
    """What MuJoCo itself says an equality is violated by, also where joints do not count from zero."""
    path = folder / "follow.xml"
    path.write_text("""<mujoco><compiler angle="radian" autolimits="true"/><worldbody>
      <body name="palm" pos="1 2 3" euler="0.3 0.2 0.1">
      <geom size="0.01"/><site name="base" pos="0 0 0.1" euler="0 0.5 1"/>
      <body pos="0.02 0 0"><joint name="a" axis="1 0 0" range="0.1 1.3" ref="0.3"/><geom size="0.01"/>
        <body pos="0 0.05 0"><joint name="b" axis="1 0 0" range="-2 3" ref="-0.2"/><geom size="0.01"/>
          <body pos="0 0.05 0"><joint name="c" axis="1 0 0" range="-3 3"/><geom size="0.01"/>
            <body name="one" pos="0 0.04 0"/></body></body></body>
      <body pos="-0.02 0 0"><joint name="d" axis="1 0 0" range="0 1"/><geom size="0.01"/>
        <body name="two" pos="0 0.1 0"/></body></body></worldbody>
      <equality><joint joint1="b" joint2="a" polycoef="0.1 0.8 0.3 -0.1 0"/><joint joint1="c" joint2="b"/></equality>
      </mujoco>""")
    hand = DexterousHand(HandConfig(str(path), "base", ("one", "two"), origin=(0.0, -0.01, 0.02)))
    assert hand.names == ("a", "b", "c", "d") and len(hand.model.lower) == 2
    model, data = loaded(str(path))
    for free in np.random.default_rng(0).uniform(hand.model.lower, hand.model.upper, (20, 2)):
        data.qpos[:] = hand.model.joints(free)
        mujoco.mj_forward(model, data)
        away = np.array([data.body(tip).xpos for tip in ("one", "two")]) - data.site("base").xpos
        tips = away @ data.site("base").xmat.reshape(3, 3) - [0.0, -0.01, 0.02]
        assert np.abs(hand.model.points(free) - tips).max() < 1e-9
        assert np.abs(data.efc_pos[: data.ne]).max() < 1e-9 and data.ne == 2
        assert np.abs(hand.model.free(hand.model.joints(free)) - free).max() < 1e-12
    for joints, told in (
        (("a", "b", "d"), "joint c follows b; it has"),
        (("b", "c", "d"), "others follow joint a; it has"),
    ):
        with pytest.raises(ConfigError, match=told):
            DexterousHand(HandConfig(str(path), "base", ("one", "two"), joints=joints))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"palm": "hip"}, "no body or site 'hip'; it has thumb_tip, index_tip"),
        ({"fingertips": ("thumb_tip", "nose")}, "no body or site 'nose'"),
        ({"fingertips": ("thumb_tip",)}, "two to five"),
        ({"fingertips": ("thumb_tip", "palm")}, "no joint moves 'palm' against the palm"),
        ({"joints": ("index_9",)}, "no joint 'index_9'; it has thumb_0"),
        ({"joints": ("thumb_0", "index_0")}, "no joint moves 'middle_tip'"),
        ({"palm": "index_link1", "joints": ("thumb_0", "index_2")}, "index_2 moves the palm 'index_link1'"),
        ({"landmarks": (4, 8, 12)}, "3 of them for 4 fingertips"),
        ({"landmarks": (4, 8, 12, 21)}, "21 is none; they are 1"),
        ({"objective": "best"}, "none of position, vector, dexpilot"),
        ({"objective": "dexpilot", "links": {"index_link2": 6}}, "fingertips alone"),
        ({"fingers": (1.0, 0.0, 0.2)}, "not two directions at right angles"),
        ({"scale": 0.0}, "neither \"auto\" nor between"),
        ({"speed": {"thumb_0": 1.0}}, "nothing is said of thumb_1"),
        ({"speed": 0.0}, "not above zero"),
        ({"alpha": 0.0}, "alpha: 0.0"),
        ({"keep": 0.0}, "redundant joints jump"),
        ({"ease": -1.0}, "below zero"),
        ({"huber": 0.0}, "huber: 0.0"),
        ({"side": "both"}, "side: 'both'"),
        ({"origin": (np.nan, 0.0, 0.0)}, "is no place"),
        ({"origin": (0.0, 0.0, -95.0)}, "it is in metres"),
        ({"speed": {f"{tip[:-4]}_{n}": 6.0 for tip in TIPS for n in range(5)}}, "thumb_4 is none of the joints"),
        ({"fingers": (0.0, 0.0, -1.0)}, "points away from the fingertips"),
        ({"out": (-1.0, 0.0, 0.0)}, "'index_tip' is not on the thumb's side of a right hand"),
        ({"side": "left"}, "'index_tip' is not on the thumb's side of a left hand"),
        ({"fingertips": (TIPS[0], *TIPS[:0:-1])}, "'ring_tip' is not on the thumb's side.*in another order"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_file_is_said(folder: Path, more: dict[str, Any], told: str) -> None:
    base = {"palm": "palm", "fingertips": TIPS, "fingers": (0.0, 0.0, 1.0), "out": (1.0, 0.0, 0.0)}
    model = hand_config(folder).model
    with pytest.raises(ConfigError, match=told):
        DexterousHand(HandConfig(**{"model": model, **base, **more}))


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"palm": "p", "fingertips": ["a", "b"]}, "model has to be given"),
        ({"model": "m", "palm": "p", "fingertips": ["a", "b"], "wrist": 1}, "there is no wrist. Known: model, palm"),
        ({"model": "m", "palm": "p", "fingertips": "ab"}, "fingertips: 'ab' cannot be used: it has to be a list"),
        ({"model": "m", "palm": 3, "fingertips": ["a", "b"]}, "a name has to be text"),
        ({"model": "m", "palm": "p", "fingertips": ["a", "b"], "landmarks": [4, 8.0]}, "a whole number"),
        ({"model": "m", "palm": "p", "fingertips": ["a", "b"], "fingers": [1, 2]}, "fingers: .* cannot be used"),
        ({"model": "m", "palm": "p", "fingertips": ["a", "b"], "keep": None}, "keep: None cannot be used"),
    ],
)
def test_a_description_that_cannot_be_used_is_said(given_: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        HandConfig.from_dict(given_)


def test_files_that_are_no_hand(folder: Path) -> None:
    def of(text: str | bytes, name: str = "bad.xml") -> HandConfig:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return HandConfig(str(folder / name), "palm", TIPS)

    with pytest.raises(ConfigError, match="there is no file"):
        DexterousHand(HandConfig(str(folder / "nowhere.xml"), "palm", TIPS))
    with pytest.raises(ConfigError, match="no model that MuJoCo loads"):
        DexterousHand(of("<mujoco><worldbody><body>"))
    with pytest.raises(ConfigError, match="no model that MuJoCo loads"):
        DexterousHand(of(b"\x00\xff\xfe nonsense"))
    circle = '<equality><joint joint1="thumb_2" joint2="thumb_3"/><joint joint1="thumb_3" joint2="thumb_2"/></equality>'
    with pytest.raises(ConfigError, match="follows itself"):
        DexterousHand(hand_config(folder, extra=circle))
    far = '<equality><joint joint1="thumb_2" joint2="thumb_3" polycoef="9 0 0 0 0"/></equality>'
    with pytest.raises(ConfigError, match="cannot keep within its limits"):
        DexterousHand(hand_config(folder, extra=far))
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]>' + URDF.format(links=LINKS)
    with pytest.raises(ConfigError, match=r"entities|no model"):
        DexterousHand(of(bomb, "bomb.urdf"))


def test_arrays_of_other_shapes_are_refused(folder: Path) -> None:
    hand = DexterousHand(hand_config(folder))
    with pytest.raises(DataEngineError, match=r"shape \(T, 21, 3\), not \(21, 3\)"):
        hand.retarget(np.zeros((21, 3)))
    with pytest.raises(DataEngineError, match="rotations of 2 frames"):
        hand.retarget(np.zeros((2, 21, 3)), np.eye(3)[None])
    with pytest.raises(ConfigError, match="fps: 0"):
        hand.retarget(np.zeros((2, 21, 3)), np.tile(STILL, (2, 1, 1)), fps=0)
    with pytest.raises(DataEngineError, match="how long the fingers are"):
        hand.retarget(np.zeros((2, 21, 3)), np.tile(STILL, (2, 1, 1)))
    nothing = hand.retarget(np.full((2, 21, 3), np.nan))
    assert np.isnan(nothing.joints).all() and nothing.joints.shape == (2, 16)
    assert hand.retarget(np.zeros((0, 21, 3))).joints.shape == (0, 16)
