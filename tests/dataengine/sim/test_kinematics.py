"""Closed-form kinematics against MuJoCo's own."""

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataengine.errors import ConfigError
from dataengine.sim.arm import JOINT_RANGE, JOINTS
from dataengine.sim.kinematics import WORKSPACE_HIGH, WORKSPACE_LOW, forward, inverse, reachable
from dataengine.sim.scene import load_model


def mujoco_pose(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tool point `(3,)` and rotation matrix `(3, 3)` by MuJoCo."""
    model = load_model()
    data = mujoco.MjData(model)
    data.qpos[[model.joint(name).qposadr[0] for name in JOINTS]] = joints
    mujoco.mj_kinematics(model, data)
    site = model.site("ee").id
    return data.site_xpos[site].copy(), data.site_xmat[site].reshape(3, 3).copy()


def test_forward_agrees_with_mujoco_for_any_joint_angles():
    rng = np.random.default_rng(0)
    low, high = np.array(JOINT_RANGE).T
    joints = rng.uniform(low, high, (200, len(JOINTS)))
    poses = forward(joints)
    for q, pose in zip(joints, poses, strict=True):
        point, _ = mujoco_pose(q)
        np.testing.assert_allclose(pose[:3], point, atol=1e-9)


def test_inverse_brings_mujocos_tool_there_pointing_down_and_turned():
    rng = np.random.default_rng(1)
    poses = np.array([reachable(p) for p in rng.uniform([0.1, -0.25, 0.01, -1.5], [0.42, 0.25, 0.24, 1.5], (200, 4))])
    for pose, joints in zip(poses, inverse(poses), strict=True):
        point, rotation = mujoco_pose(joints)
        np.testing.assert_allclose(point, pose[:3], atol=1e-9)
        np.testing.assert_allclose(rotation[:, 0], [0, 0, -1], atol=1e-9)  # the tool's axis
        np.testing.assert_allclose(rotation[:, 1], [-np.sin(pose[3]), np.cos(pose[3]), 0], atol=1e-9)  # the jaw's
        low, high = np.array(JOINT_RANGE).T
        assert (joints > low).all() and (joints < high).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_every_target_is_drawn_into_reach(pose):
    near = reachable(np.array(pose))
    assert np.isfinite(inverse(near)).all()
    assert (near[2] >= WORKSPACE_LOW[2]) and (near[2] <= WORKSPACE_HIGH[2])


def test_a_target_within_reach_is_left_alone():
    pose = np.array([0.25, 0.08, 0.1, 0.4])
    np.testing.assert_allclose(reachable(pose), pose, atol=1e-12)


def test_a_pose_out_of_reach_is_refused():
    with pytest.raises(ConfigError, match=r"reaches 0\.440 m"):
        inverse(np.array([0.8, 0.0, 0.1, 0.0]))
