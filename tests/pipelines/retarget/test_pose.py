"""The tool's pose: exact where the pinch is clear, steady where it is not, whatever the frame."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import EpisodeError
from pipelines.retarget.hand import Hand, Poses, read_hand
from pipelines.retarget.placing import camera_poses, cameras_in_base
from pipelines.retarget.pose import APART, TOUCHING, USUAL, clearness, tool_poses

SEEDS = st.integers(0, 2**32 - 1)


def hand(landmarks: np.ndarray, wrist: Poses, side: str = "right") -> Hand:
    frames = len(landmarks)
    return Hand(side, landmarks, wrist, np.zeros((frames, 2)), np.full(frames, hands.SEEN))


@pytest.mark.parametrize("side", hands.SIDES)
def test_the_tool_is_found_again(made: SimpleNamespace, side: str) -> None:
    tool = made.tool_path(seed=3)
    found = tool_poses(read_hand(made.episode_of(tool, sides=(side,)), side))
    assert np.abs(found.point - tool.point).max() < 1e-6
    assert made.angle(found.turn, tool.turn).max() < 1e-3


def test_x_points_away_from_the_hand_and_y_from_thumb_to_index(made: SimpleNamespace) -> None:
    landmarks, wrist = made.hand_of(made.tool_path(seed=1), np.full(90, 0.06), "right")
    turn = tool_poses(hand(landmarks, wrist)).turn
    jaw = landmarks[:, 8] - landmarks[:, 4]
    assert np.allclose((turn[:, :, 1] * jaw).sum(1), 0.06, atol=1e-6)
    ahead = (landmarks[:, 4] + landmarks[:, 8]) / 2 - landmarks[:, 0]
    assert ((turn[:, :, 0] * ahead).sum(1) > 0.1).all()


@given(SEEDS)
def test_the_pose_moves_with_the_hand(made: SimpleNamespace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    within = rng.normal(scale=0.05, size=(7, 21, 3))  # no hand at all, some of them degenerate
    within[0, 8] = within[0, 4]
    wrist = Poses(rng.normal(size=(7, 3)), Rotation.random(7, random_state=seed).as_matrix())
    landmarks = wrist.point[:, None] + within @ wrist.turn.swapaxes(1, 2)
    outer = made.some_pose(seed)
    moved = hand(landmarks @ outer.turn[0].T + outer.point, wrist.seen_from(outer))
    here, there = tool_poses(hand(landmarks, wrist)).seen_from(outer), tool_poses(moved)
    assert np.allclose(here.point, there.point, atol=1e-9) and np.allclose(here.turn, there.turn, atol=1e-6)


@given(SEEDS)
def test_whatever_the_landmarks_it_is_a_rotation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    landmarks = rng.normal(scale=0.1, size=(6, 21, 3))
    landmarks[0] = 0.0
    landmarks[1, 8] = landmarks[1, 4]
    landmarks[2, 2] = landmarks[2, 5] = (landmarks[2, 4] + landmarks[2, 8]) / 2
    landmarks[3, 2] = landmarks[3, 5] = landmarks[3, 4]  # the approach lies along the jaw
    turn = tool_poses(hand(landmarks, Poses(landmarks[:, 0], Rotation.random(6, random_state=seed).as_matrix()))).turn
    assert np.allclose(turn @ turn.swapaxes(1, 2), np.eye(3), atol=1e-9) and np.allclose(np.linalg.det(turn), 1)


def test_a_closing_pinch_does_not_turn_the_tool(made: SimpleNamespace) -> None:
    """This person pinches unlike others; when the tips touch, and noise is all that is left between them, the tool
    stays where this palm had it."""
    unusual = USUAL @ Rotation.from_euler("x", 25, degrees=True).as_matrix()
    distance = np.concatenate([np.full(120, 0.06), np.linspace(0.06, 0.0, 40), np.zeros(40)])
    tool = Poses(np.zeros((200, 3)), np.repeat(np.eye(3)[None], 200, 0))
    landmarks, wrist = made.hand_of(tool, distance, "right", unusual)
    rng = np.random.default_rng(0)
    landmarks[:, [4, 8]] += rng.normal(scale=0.002, size=(200, 2, 3))
    found = tool_poses(hand(landmarks, wrist)).turn
    assert np.rad2deg(made.angle(found[160:], tool.turn[160:])).max() < 3.0
    assert np.rad2deg(made.angle(found[1:], found[:-1])).max() < 15.0
    bare = Rotation.from_matrix(tool_poses(hand(landmarks, wrist), orientation="palm").turn).magnitude()
    assert np.ptp(bare) < 1e-6  # constant in a palm that does not move


def test_a_hand_that_never_opens_is_taken_as_usual(made: SimpleNamespace) -> None:
    tool = made.tool_path(seed=5)
    landmarks, wrist = made.hand_of(tool, np.zeros(90), "left")
    found = tool_poses(hand(landmarks, wrist, "left"))
    assert made.angle(found.turn, wrist.turn @ USUAL).max() < 1e-3


def test_how_clear_a_pinch_is_grows_smoothly() -> None:
    at = np.linspace(0, 1, 1001)
    clear = clearness(at)
    assert (np.diff(clear) >= 0).all() and np.diff(clear).max() < 0.01
    assert (clear[at <= TOUCHING] == 0).all() and (clear[at >= APART] == 1).all()


def test_an_offset_is_along_the_tools_axes(made: SimpleNamespace) -> None:
    read = read_hand(made.episode_of(made.tool_path()), "right")
    plain, moved = tool_poses(read), tool_poses(read, offset=(0.01, 0.0, -0.02))
    wrist = tool_poses(read, place="wrist")
    assert np.allclose(moved.point - plain.point, plain.turn @ [0.01, 0.0, -0.02])
    assert np.allclose(wrist.point, read.wrist.point)


def placed(made: SimpleNamespace, episode: Episode, **given: tuple[float, ...]) -> Poses:
    cameras = cameras_in_base(camera_poses(episode), given.get("camera"), given.get("world"), episode)
    return tool_poses(read_hand(episode, "right")).seen_from(cameras)


def test_a_calibrated_camera_brings_the_tool_to_the_base(made: SimpleNamespace) -> None:
    tool, camera = made.tool_path(), made.some_pose(4)
    found = placed(made, made.episode_of(tool, camera=camera), camera=made.pose_numbers(camera))
    assert np.abs(found.point - tool.point).max() < 1e-6 and made.angle(found.turn, tool.turn).max() < 1e-3


@pytest.mark.parametrize("said", ["camera", "world"])
def test_a_moving_camera_does_not_move_the_tool(made: SimpleNamespace, said: str) -> None:
    tool = made.tool_path()
    moving = Poses(made.tool_path(seed=8).point, made.tool_path(seed=9).turn)  # in its own world
    world = made.some_pose(6)
    episode = made.episode_of(tool.seen_from(world.inverse()), camera=moving, moving=True)
    start = moving.cut(0, 1).seen_from(world) if said == "camera" else world
    found = placed(made, episode, **{said: made.pose_numbers(start)})
    assert np.abs(found.point - tool.point).max() < 1e-5 and made.angle(found.turn, tool.turn).max() < 1e-3


def test_what_an_episode_lacks_is_said(made: SimpleNamespace) -> None:
    episode = made.episode_of(made.tool_path())
    with pytest.raises(EpisodeError, match=r"left\.landmarks.*it holds hands: right"):
        read_hand(episode, "left")
    with pytest.raises(EpisodeError, match=r"observation\.camera\.pose"):
        placed(made, episode, world=(0, 0, 0, 0, 0, 0, 1))
    broken = episode.map(hands.column("right", "wrist"), lambda column: column * np.float32(0))
    with pytest.raises(EpisodeError, match="frame 0: holds a quaternion of length zero"):
        read_hand(broken, "right")
