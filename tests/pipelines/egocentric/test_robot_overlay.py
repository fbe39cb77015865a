"""The robot is drawn where the hand was: by joints and by poses, through any lens, and into a store."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hands_seen import BALL, CAMERA, GANTRY, HIGH, JOINTS, WIDE, Seen, seen

from dataengine import hands
from dataengine.episode import Episode, Feature
from dataengine.errors import ConfigError, DataEngineError, EpisodeError
from dataengine.plugins import Stage
from dataengine.store import Store
from pipelines.egocentric.overlay import ADDED, Beside, Drawn, filmed
from pipelines.egocentric.robot_overlay import RobotDrawn, RobotOverlay
from pipelines.retarget.stage import Retarget

FRAMES = (3, 30, 55)


@pytest.fixture
def gantry(tmp_path: Path) -> Path:
    path = tmp_path / "gantry.xml"
    path.write_text(GANTRY.format(inside=BALL, outside=""))
    return path


def retargeted(given: Seen, **params) -> Episode:
    (found,) = Retarget(camera=given.pose, jump=None, shortest=0, **params).run(iter([given.episode]))
    assert isinstance(found, Episode), found
    return found


def by_joints(given: Seen, model: Path, **arm) -> Episode:
    described = {"tool": "tool", "joints": JOINTS, "speed": 1e3, **arm}
    return retargeted(given, model=model, arm=described)


def middle(mask: np.ndarray) -> np.ndarray:
    assert mask.any()
    return np.argwhere(mask)[:, ::-1].mean(0)


LENSES = {
    "plain": {},
    "off its centre and squeezed": {"off_centre": (23.0, -17.0), "squeezed": 0.8},
    "distorted": {"distortion": (-0.32, 0.11, 0.002, -0.001, 0.0), "off_centre": (-9.0, 6.0), "aside": -0.4},
}


@pytest.mark.parametrize("lens", LENSES, ids=str)
def test_the_tool_is_drawn_where_opencv_sees_the_fingers_meet(lens: str, gantry: Path) -> None:
    """Hand → retargeting → inverse kinematics → MuJoCo's picture, against cv2.projectPoints of the true fingertips."""
    given = seen(**LENSES[lens])
    episode = by_joints(given, gantry)
    drawn = RobotDrawn(episode, gantry, HIGH, background=False)
    assert (drawn.width, drawn.height, drawn.length) == (WIDE, HIGH, 60)
    for frame in FRAMES:
        picture = drawn.frame(frame).astype(int)
        ball = picture[..., 0] > 60
        np.testing.assert_allclose(middle(ball), given.pixels[frame], atol=0.6)
        assert (picture[..., 2] < 60).all()  # neither floor nor what lies about


def test_some_frames_are_those_of_the_whole_by_one_painter(gantry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.egocentric import painter

    drawn = RobotDrawn(by_joints(seen(frames=12), gantry), gantry, 64)
    whole, made = list(drawn.frames()), []
    monkeypatch.setattr(painter.Painter, "close", lambda self, close=painter.Painter.close: made.append(close(self)))
    for frame, picture in zip((1, 4, 11), drawn.some([1, 4, 11]), strict=True):
        np.testing.assert_array_equal(picture, whole[frame])
    assert len(made) == 1


def test_in_another_size_it_is_at_the_same_place(gantry: Path) -> None:
    given = seen()
    picture = RobotDrawn(by_joints(given, gantry), gantry, 2 * HIGH, background=False).frame(30)
    np.testing.assert_allclose((middle(picture[..., 0] > 60) + 0.5) / 2 - 0.5, given.pixels[30], atol=0.4)


@pytest.mark.parametrize("workspace", [{}, {"scale": 1.4, "shift": (0.2, -0.1, 0.3)}], ids=["as it is", "grown"])
def test_a_plain_gripper_stands_for_poses(workspace: dict) -> None:
    """Its pads are about the pinch; a workspace that was grown and shifted is seen as if it had not been."""
    given = seen()
    episode = retargeted(given, rotation="rotation_6d", **workspace)
    closed = int(np.argmin(episode.frames["observation.state"][:, -1]))
    for frame in range(closed + 2, 60, 7):  # the palm hides a part of the pads
        picture = RobotDrawn(episode, None, HIGH, background=False).frame(frame).astype(int)
        pads = np.argwhere((picture[..., 0] > 25) & (picture[..., 2] < 0.4 * picture[..., 0]))[:, ::-1]
        assert np.linalg.norm(pads - given.pixels[frame], axis=1).min() < 3
        assert np.abs(pads - given.pixels[frame]).max() < 12


def test_both_fingers_of_a_gripper_open_whichever_leads(tmp_path: Path) -> None:
    given = seen()
    fingers = "".join(
        f'<body name="{name}"><joint name="{name}" type="slide" axis="0 {way} 0" range="0 0.05"/>'
        f'<geom type="sphere" size="0.006" pos="0 {way * 0.01} 0" rgba="1 0 0 1" contype="0" conaffinity="0"/></body>'
        for name, way in (("one", 1), ("two", -1))
    )
    for first, second in (("one", "two"), ("two", "one")):
        tie = f'<equality><joint joint1="{first}" joint2="{second}"/></equality>'
        path = tmp_path / f"{first}.xml"
        path.write_text(GANTRY.format(inside=fingers, outside=tie))
        episode = by_joints(given, path, gripper="one")
        state = episode.frames["observation.state"][:, -1]
        wide = int(np.argmax(state))
        assert state[wide] > 0.049
        picture = RobotDrawn(episode, path, HIGH, background=False).frame(wide)
        red = picture[..., 0] > 60
        np.testing.assert_allclose(middle(red), given.pixels[wide], atol=2.5)  # one finger alone would be 25 px away
        away = np.linalg.norm(np.argwhere(red)[:, ::-1] - given.pixels[wide], axis=1)
        assert away.min() > 8  # and shut they would be in the middle


def test_opacity_mixes_with_the_video_and_leaves_the_rest(gantry: Path) -> None:
    episode = by_joints(seen(), gantry)
    whole, half = (RobotDrawn(episode, gantry, HIGH, opacity).frame(30).astype(int) for opacity in (1.0, 0.5))
    away = np.abs(whole - 90).max(2) == 0
    assert 0.9 < away.mean() < 1 and (half[away] == 90).all()
    np.testing.assert_allclose(half, (whole + 90) / 2, atol=1)


def test_the_stage_adds_pictures_that_a_store_keeps(gantry: Path, tmp_path: Path) -> None:
    given = seen(frames=12)
    episode = by_joints(given, gantry)
    stage = RobotOverlay(model=gantry)
    assert isinstance(stage, Stage)
    (made,) = stage.run(iter([episode]))
    assert isinstance(made, Episode) and made.check().features[ADDED].shape == (HIGH, WIDE, 3)
    assert made.meta.lineage[-1].name == "robot_overlay"
    assert filmed(made) is filmed(episode)  # landmarks are drawn on the film, not on the robot
    clip = pickle.loads(pickle.dumps(made.clips[ADDED]))
    assert clip.fingerprint == made.clips[ADDED].fingerprint
    part = made.slice(4, 10)
    np.testing.assert_array_equal(part.clips[ADDED].frame(2), made.clips[ADDED].frame(6))
    store = Store.create(tmp_path / "store", fps=made.fps, features=made.features)
    with store.writer() as writer:
        writer.append(made)
    again = Store.open(tmp_path / "store")[0]
    picture = again.clips[ADDED].frame(8).astype(int)
    red = (picture[..., 0] - picture[..., 1]) > 50
    np.testing.assert_allclose(middle(red), given.pixels[8], atol=1.5)


def test_what_is_drawn_has_a_fingerprint_of_what_is_told(gantry: Path) -> None:
    episode = by_joints(seen(frames=30), gantry)
    prints = {RobotDrawn(episode, gantry, height, opacity).fingerprint for height in (120, 240) for opacity in (0.5, 1)}
    state = episode.frames["observation.state"] + np.float32(0.01)
    other = replace(episode, frames={**episode.frames, "observation.state": state})
    prints.add(RobotDrawn(other, gantry, 240, 1).fingerprint)
    gantry.write_text(gantry.read_text().replace("0.006", "0.007"))
    from pipelines.egocentric import robot_overlay

    robot_overlay._content.cache_clear()
    prints.add(RobotDrawn(episode, gantry, 240, 1).fingerprint)
    assert len(prints) == 6


def test_a_moving_camera_whose_world_is_known(gantry: Path) -> None:
    given = seen()
    turns = np.linspace(0, 0.2, 60)
    from scipy.spatial.transform import Rotation

    moves = Rotation.from_rotvec(turns[:, None] * [0.0, 0.3, 1.0])
    turn = moves.as_matrix() @ given.camera.turn
    point = given.camera.point + turns[:, None] * [0.1, -0.2, 0.1]
    column = np.concatenate([point, Rotation.from_matrix(turn).as_quat()], 1).astype(np.float32)
    features = {hands.CAMERA_POSE: Feature("float32", (7,), role="other")}
    moving = given.episode.with_columns(features, {hands.CAMERA_POSE: column})
    world = (0.1, 0.0, 0.2, 0.0, 0.0, 0.0, 1.0)
    arm = {"tool": "tool", "joints": JOINTS, "speed": 1e3}
    (episode,) = Retarget(world=world, jump=None, model=gantry, arm=arm).run(iter([moving]))
    assert isinstance(episode, Episode)
    for part, frame in ((episode, 55), (episode.slice(20, 60), 35)):
        picture = RobotDrawn(part, gantry, HIGH, background=False).frame(frame)
        np.testing.assert_allclose(middle(picture[..., 0] > 60), given.pixels[55], atol=0.6)
    (begun,) = Retarget(camera=given.pose, jump=None).run(iter([moving]))
    assert isinstance(begun, Episode)
    assert RobotDrawn(begun, None, HIGH, background=False).frame(30).any()
    with pytest.raises(EpisodeError, match="where it began was cut away"):
        RobotDrawn(begun.slice(5, 40), None, HIGH).frame(0)


def test_clips_stand_side_by_side() -> None:
    episode = retargeted(seen(frames=30))
    both = Beside((Drawn(episode, 120), RobotDrawn(episode, None, 120)))
    picture = both.frame(7)
    assert picture.shape == (both.height, both.width, 3) == (120, 320, 3) and both.length == 30
    np.testing.assert_array_equal(picture[:, 160:], RobotDrawn(episode, None, 120).frame(7))
    np.testing.assert_array_equal(both.slice(5, 9).frame(2), picture)


def bare(episode: Episode) -> Episode:
    return replace(episode, meta=replace(episode.meta, extra={}))


def lens(episode: Episode, **changes: object) -> Episode:
    return replace(episode, meta=replace(episode.meta, extra={"camera": {**episode.meta.extra["camera"], **changes}}))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (bare, "says no camera"),
        (lambda e: lens(e, fx=0), "no lens"),
        (lambda e: lens(e, cy=float("nan")), "no lens"),
        (lambda e: lens(e, fy="wide"), "no lens"),
        (lambda e: lens(e, distortion=[1, 2, 3]), "no lens"),
        (lambda e: replace(e, meta=replace(e.meta, lineage=())), "not retargeted"),
        (lambda e: e.map("observation.state", lambda c: np.zeros_like(c)), "no rotation"),
        (lambda e: replace(e, clips={}), "no pictures"),
    ],
)
def test_what_cannot_be_drawn_says_why(change, why: str) -> None:
    episode = change(retargeted(seen(frames=20), rotation="rotation_6d"))
    with pytest.raises(DataEngineError, match=why):
        next(iter(RobotOverlay().run(iter([episode])))).clips[ADDED].frame(0)


def test_joints_need_the_model_they_are_of(gantry: Path, tmp_path: Path) -> None:
    episode = by_joints(seen(frames=20), gantry)
    with pytest.raises(ConfigError, match=r"its model is needed.*gantry\.xml"):
        next(RobotOverlay().run(iter([episode])))
    with pytest.raises(ConfigError, match="no file"):
        RobotOverlay(model=tmp_path / "none.xml")
    with pytest.raises(ConfigError, match="opacity"):
        RobotOverlay(opacity=0)
    with pytest.raises(ConfigError, match="height"):
        RobotOverlay(height=101)
    assert CAMERA in episode.clips
