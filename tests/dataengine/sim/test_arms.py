"""Closed-form kinematics of both arms against MuJoCo's own."""

from functools import cache

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataengine.errors import ConfigError
from dataengine.sim.arms import ARMS, FIVE, SIX, Arm
from dataengine.sim.arms.six import MIN_HEIGHT, SHOULDER_HEIGHT
from dataengine.sim.model import load_model
from dataengine.sim.rotations import angles, matrix

both = pytest.mark.parametrize("arm", ARMS.values(), ids=list(ARMS))
unit = st.floats(0, 1)
six = st.lists(unit, min_size=6, max_size=6).map(np.array)


@cache
def data_of(arm: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = load_model(arm)
    return model, mujoco.MjData(model)


def mujoco_pose(arm: Arm, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tool point `(3,)` and rotation matrix `(3, 3)` by MuJoCo."""
    model, data = data_of(arm.name)
    data.qpos[[model.joint(name).qposadr[0] for name in arm.joints]] = joints
    mujoco.mj_kinematics(model, data)
    site = model.site("ee").id
    return data.site_xpos[site].copy(), data.site_xmat[site].reshape(3, 3).copy()


def within(arm: Arm, share: np.ndarray) -> np.ndarray:
    """A reachable pose, by where it lies in the arm's box, 0 to 1 along each side."""
    size = len(arm.pose_names)
    return arm.reachable(arm.pose_low + share[:size] * (arm.pose_high - arm.pose_low))


@both
@given(share=six)
def test_forward_agrees_with_mujoco_for_any_joint_angles(arm, share):
    low, high = np.array(arm.joint_range).T
    joints = low + share[: len(low)] * (high - low)
    point, rotation = mujoco_pose(arm, joints)
    pose = arm.forward(joints)
    np.testing.assert_allclose(pose[:3], point, atol=1e-9)
    if arm.tilts:
        found = arm.measured(joints, point, rotation)
        np.testing.assert_allclose(matrix(pose[3:]), matrix(found[3:]), atol=1e-9)


@both
@given(share=six)
def test_inverse_brings_mujocos_tool_there_within_the_joint_limits(arm, share):
    pose = within(arm, share)
    joints = arm.inverse(pose)
    point, rotation = mujoco_pose(arm, joints)
    np.testing.assert_allclose(arm.measured(joints, point, rotation), pose, atol=1e-8)
    np.testing.assert_allclose(arm.forward(joints), pose, atol=1e-8)
    low, high = np.array(arm.joint_range).T
    assert (joints > low).all() and (joints < high).all()


@both
@given(share=six)
def test_an_upright_tool_points_down_with_its_jaw_turned_by_the_yaw(arm, share):
    place = within(arm, share)[[0, 1, 2, -1]]
    _, rotation = mujoco_pose(arm, arm.inverse(arm.reachable(arm.upright(place))))
    np.testing.assert_allclose(rotation[:, 0], [0, 0, -1], atol=1e-9)  # the tool's axis
    np.testing.assert_allclose(rotation[:, 1], [-np.sin(place[3]), np.cos(place[3]), 0], atol=1e-9)  # the jaw's


@both
@given(share=six)
def test_a_small_step_of_the_pose_is_a_small_step_of_the_joints(arm, share):
    """No jump from one solution to another, but where the outer axes of a straight wrist turn against each other."""
    pose = within(arm, share)
    near = arm.reachable(pose + 1e-5)
    if np.abs(near - pose).max() > 1e-4 or (arm.tilts and abs(arm.inverse(pose)[4]) < 0.1):
        return
    assert np.abs(arm.inverse(near) - arm.inverse(pose)).max() < 5e-3


@both
@given(pose=st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=6))
def test_every_target_is_drawn_into_reach_and_then_left_alone(arm, pose):
    near = arm.reachable(np.array(pose[: len(arm.pose_names)]))
    assert np.isfinite(arm.inverse(near)).all()
    assert arm.pose_low[2] <= near[2] <= arm.pose_high[2]
    np.testing.assert_allclose(arm.reachable(near), near, atol=1e-9)


@given(share=six)
def test_the_wrist_of_six_stays_off_the_table(share):
    joints = SIX.inverse(within(SIX, share))
    model, data = data_of("six")
    mujoco_pose(SIX, joints)
    assert data.xpos[model.body("wrist").id][2] > MIN_HEIGHT - 1e-6
    assert data.xpos[model.body("upper_arm").id][2] == pytest.approx(SHOULDER_HEIGHT)


def test_targets_within_reach_are_left_alone():
    for arm, pose in ((FIVE, [0.25, 0.08, 0.1, 0.4]), (SIX, [0.25, 0.08, 0.12, 1.2, -0.3, 0.4])):
        np.testing.assert_allclose(arm.reachable(np.array(pose)), pose, atol=1e-12)


def test_where_the_arm_cannot_tilt_so_far_it_tilts_less():
    asked = np.array([0.12, 0.0, 0.02, 0.0, -1.1, 0.0])  # the hand would lie in the table
    near = SIX.reachable(asked)
    np.testing.assert_allclose(near[:3], asked[:3])
    assert asked[4] < near[4] <= 0


@both
def test_a_pose_out_of_reach_is_refused(arm):
    with pytest.raises(ConfigError, match=r"reaches 0\.4[48]0 m"):
        arm.inverse(arm.upright(np.array([0.8, 0.0, 0.1, 0.0])))


@given(st.tuples(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1)).map(np.array))
def test_angles_come_back_from_their_matrix(three):
    np.testing.assert_allclose(angles(matrix(three)), three, atol=1e-7)


@both
def test_the_actions_names_stand_among_the_states(arm):
    assert set(arm.action_names) < set(arm.state_names) and len(arm.state_units) == len(arm.state_names)
    assert {f"{joint}.pos" for joint in arm.joints} < set(arm.state_names)
    assert (arm.action_low < arm.action_high).all() and len(arm.action_low) == len(arm.action_names)
