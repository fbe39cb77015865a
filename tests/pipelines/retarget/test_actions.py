"""State and action: aligned, named and described as the rest of the engine understands them."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataengine.runs import runs
from pipelines.policy.actions import understand
from pipelines.retarget.actions import BASE, columns, following, gripper_block, next_poses, pose_block, wrist_targets
from pipelines.retarget.cuts import stretches
from pipelines.retarget.hand import Poses
from pipelines.retarget.rotations import NAMES, decode

CONVENTIONS = sorted(NAMES)


def written(tool: Poses, convention: str, kind: str) -> tuple[dict, dict]:
    openings = np.linspace(1, 0, len(tool.point))
    blocks = [
        pose_block("ee", tool, next_poses(tool), convention, BASE, kind),
        gripper_block("gripper.pos", "1", openings, openings),
    ]
    return columns(blocks, kind, BASE)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_an_absolute_action_is_the_next_rows_state(made: SimpleNamespace, convention: str) -> None:
    _, found = written(made.tool_path(), convention, "absolute")
    state, action = found["observation.state"], found["action"]
    assert state.dtype == action.dtype == np.float32
    assert np.allclose(action[:-1], state[1:], atol=1e-6) and np.allclose(action[-1], state[-1], atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.sampled_from(CONVENTIONS))
def test_deltas_lead_along_the_same_way(made: SimpleNamespace, seed: int, convention: str) -> None:
    tool = made.tool_path(30, seed)
    features, found = written(tool, convention, "delta")
    action = found["action"].astype(np.float64)
    point, turn = tool.point[0], tool.turn[0]
    for t in range(30):  # as a robot would execute them
        point, turn = point + action[t, :3], decode(action[t : t + 1, 3:-1], convention)[0] @ turn
        after = min(t + 1, 29)
        assert np.abs(point - tool.point[after]).max() < 1e-5
        assert made.angle(turn[None], tool.turn[after][None])[0] < 1e-4
    assert features["action"].control == "delta" and features["action"].info["absolute"] == ["gripper.pos"]
    assert np.allclose(action[:-1, -1], found["observation.state"][1:, -1])  # a gripper has no delta


def test_names_and_units_are_the_tabletops(made: SimpleNamespace) -> None:
    from dataengine.sim.arms import SIX
    from dataengine.sim.spaces import spaces

    features, _ = written(made.tool_path(), "euler", "absolute")
    action, theirs = features["action"], spaces(SIX, (), 96)["action"]
    assert (action.names, action.unit, dict(action.info)) == (theirs.names, theirs.unit, dict(theirs.info))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_trainer_understands_them(made: SimpleNamespace, convention: str) -> None:
    features, found = written(made.tool_path(), convention, "absolute")
    state, action = found["observation.state"], found["action"]
    space, notes = understand(features["action"], features["observation.state"], None, action, state)
    turned = NAMES[convention] if convention != "rotation_6d" else ()  # six numbers stay absolute there
    assert space.relative == ("ee.x", "ee.y", "ee.z", *(f"ee.{name}" for name in turned))
    assert len(notes) == (6 if convention == "rotation_6d" else 0)
    chunks = np.stack([action[t : t + 8] for t in range(60)])
    back = space.decode(space.encode(chunks, state[:60]), state[:60])
    assert np.abs(space.difference(back, chunks)).max() < 1e-5


def test_the_trainer_leaves_deltas_as_they_are(made: SimpleNamespace) -> None:
    features, found = written(made.tool_path(), "quaternion_xyzw", "delta")
    state = features["observation.state"]
    space, _ = understand(features["action"], state, None, found["action"], found["observation.state"])
    assert space.relative == () and space.control == "delta"


def test_a_wrist_is_aimed_at_from_where_the_camera_is_now(made: SimpleNamespace) -> None:
    """The hand stands still in the world and the head moves: the target stays where the wrist is."""
    cameras = Poses(made.tool_path(seed=2).point, made.tool_path(seed=3).turn)
    still = Poses(np.zeros((90, 3)), np.repeat(np.eye(3)[None], 90, 0))
    wrist = still.seen_from(cameras.inverse())
    targets = wrist_targets(wrist, cameras)
    assert np.abs(targets.point - wrist.point).max() < 1e-9 and made.angle(targets.turn, wrist.turn).max() < 1e-6
    assert np.abs(wrist_targets(wrist, None).point - wrist.point).max() > 1e-4


def test_following_repeats_the_last_row() -> None:
    assert following(np.array([1, 2, 3])).tolist() == [2, 3, 3] and following(np.array([1])).tolist() == [1]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_stretches_hold_every_good_frame_once_and_no_break_inside(rows: list[tuple[bool, bool]]) -> None:
    good, breaks = (np.array([row[i] for row in rows], bool) for i in (0, 1))
    found = stretches(good, breaks)
    assert [t for start, stop in found for t in range(start, stop)] == np.flatnonzero(good).tolist()
    assert not any(breaks[t] for start, stop in found for t in range(start + 1, stop))
    for (_, stop), (start, _) in pairwise(found):
        assert stop < start or breaks[start]  # as long as can be


@given(st.lists(st.booleans(), max_size=40))
def test_runs_are_where_the_mask_holds(rows: list[bool]) -> None:
    found = runs(np.array(rows, bool))
    assert [t for start, stop in found for t in range(start, stop)] == [t for t, each in enumerate(rows) if each]
    assert all(a[1] < b[0] for a, b in pairwise(found))
