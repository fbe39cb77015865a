from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from pipelines.policy.actions import ActionSpace, understand

XYZ = ("ee.x", "ee.y", "ee.z")
QUATERNION = ("ee.qx", "ee.qy", "ee.qz", "ee.qw")


def feature(names, units=None, **info) -> Feature:
    return Feature("float32", (len(names),), tuple(names), "action", units, info=info)


def follow(rng: np.random.Generator, n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """States, and actions a little ahead of them."""
    states = rng.uniform(-1, 1, (n, size))
    return states + rng.normal(0, 0.02, (n, size)), states


def test_positions_and_yaw_are_relative_and_the_gripper_is_not():
    names, units = (*XYZ, "ee.yaw", "gripper.pos"), ("m", "m", "m", "rad", "1")
    actions, states = follow(np.random.default_rng(0), 500, 5)
    space, notes = understand(feature(names, units), feature(names, units), None, actions, states)
    assert space.relative == (*XYZ, "ee.yaw") and not notes
    targets = space.encode(actions[:, None], states)
    np.testing.assert_allclose(targets[:, 0, :4], (actions - states)[:, :4], atol=1e-12)
    np.testing.assert_allclose(targets[:, 0, 4], actions[:, 4])


@given(st.floats(-3.1, 3.1), st.floats(-0.5, 0.5))
def test_an_angle_goes_the_short_way_round(start, turn):
    space = ActionSpace(("yaw",), ("rad",), (0,))
    goal = (start + turn + np.pi) % (2 * np.pi) - np.pi  # how a robot that wraps would report it
    target = space.encode(np.array([[[goal]]]), np.array([[start]]))
    assert abs(target[0, 0, 0] - turn) < 1e-9
    back = space.decode(target, np.array([[start]]))[0, 0, 0]
    assert abs(np.exp(1j * back) - np.exp(1j * goal)) < 1e-9


@pytest.mark.parametrize("kind", ["quaternion", "rotvec"])
def test_rotations_against_matrices(kind):
    rng = np.random.default_rng(1)
    here, turn = Rotation.random(200, random_state=2), Rotation.from_rotvec(rng.normal(0, 0.3, (200, 3)))
    there = Rotation.from_matrix(turn.as_matrix() @ here.as_matrix())
    if kind == "quaternion":
        names, info = (*XYZ, *QUATERNION), {}  # known by its names
        write = Rotation.as_quat
    else:
        names = (*XYZ, "ee.rx", "ee.ry", "ee.rz")
        info = {"rotations": [{"start": 3, "stop": 6, "convention": "axis_angle"}]}
        write = Rotation.as_rotvec
    place = rng.uniform(-1, 1, (200, 3))
    states = np.concatenate([place, write(here)], axis=1)
    actions = np.concatenate([place + 0.01, write(there)], axis=1)
    if kind == "quaternion":
        actions[::2, 3:] *= -1  # the same rotations, written the other way
    places = tuple(range(3, len(names)))
    space = ActionSpace(
        names,
        (None,) * len(names),
        tuple(range(len(names))),
        *(((places,), ()) if kind == "quaternion" else ((), (places,))),
    )
    targets = space.encode(actions[:, None], states)
    assert targets.shape == (200, 1, 6) and space.target_size == 6
    np.testing.assert_allclose(targets[:, 0, 3:], turn.as_rotvec(), atol=1e-7)
    back = space.decode(targets, states)[:, 0]
    read = Rotation.from_quat if kind == "quaternion" else Rotation.from_rotvec
    np.testing.assert_allclose(read(back[:, 3:]).as_matrix(), there.as_matrix(), atol=1e-7)
    if kind == "quaternion":
        assert np.abs(space.difference(actions, back)).max() < 1e-7  # q and -q are no error

    found, _ = understand(feature(names, **info), feature(names, **info), None, actions, states)
    assert (found.quaternions or found.rotvecs) == (places,)


def test_quaternions_in_the_other_order_and_rotations_without_a_difference():
    here, there = (Rotation.random(300, random_state=k) for k in (3, 4))
    names = tuple(f"q{i}" for i in range(4))
    states, actions = here.as_quat(scalar_first=True), there.as_quat(scalar_first=True)
    for convention, relative in (("quaternion_wxyz", names), ("matrix", ())):
        info = {"rotations": [{"start": 0, "stop": 4, "convention": convention}]}
        space, _ = understand(feature(names, **info), feature(names), None, actions, states)
        assert space.relative == relative
    space, _ = understand(
        feature(names, rotations=[{"start": 0, "stop": 4, "convention": "quaternion_wxyz"}]),
        feature(names),
        None,
        actions,
        states,
    )
    turn = space.encode(actions[:, None], states)[:, 0]
    np.testing.assert_allclose(Rotation.from_rotvec(turn).as_matrix() @ here.as_matrix(), there.as_matrix(), atol=1e-9)


def test_a_chunk_is_relative_to_its_start_alone():
    space = ActionSpace(("x",), ("m",), (0,))
    chunk = np.array([[[1.0], [2.0], [3.0]]])
    np.testing.assert_array_equal(space.encode(chunk, np.array([[1.0]]))[0, :, 0], [0, 1, 2])


@pytest.mark.parametrize(
    ("action", "declared", "why"),
    [("velocity", None, "do not follow"), ("position", "delta", "declares")],
)
def test_deltas_are_left_alone(action, declared, why):
    actions, states = follow(np.random.default_rng(0), 400, 1)
    if action == "velocity":
        actions = np.random.default_rng(1).normal(0, 0.02, (400, 1))
        states = states + 3
    info = {"control": declared} if declared else {}
    space, notes = understand(feature(["x"], **info), feature(["x"]), None, actions, states)
    assert space.relative == () and why in notes[0]


def test_refusals_name_what_would_be_right():
    actions, states = follow(np.random.default_rng(0), 50, 2)
    metres, degrees = feature(["x", "y"], ("m", "m")), feature(["x", "y"], ("m", "deg"))
    with pytest.raises(ConfigError, match=r"no element 'z'.*x, y"):
        understand(metres, metres, ["z"], actions, states)
    with pytest.raises(ConfigError, match=r"'y'.*its unit is 'm', the state's is 'deg'"):
        understand(metres, degrees, ["y"], actions, states)
    with pytest.raises(ConfigError, match=r"observation.state has no element of that name"):
        understand(metres, None, ["x"], actions, states)
    space, notes = understand(metres, degrees, None, actions, states)
    assert space.relative == ("x",) and "y stays as it is" in notes[0]
    assert ActionSpace.from_json(space.to_json()) == space
