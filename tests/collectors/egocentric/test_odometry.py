"""How a camera moved, against one whose every pose is known, and real clips whose camera stood on a table."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest
from rooms_made import CAMERA, HEIGHT, WIDTH, film, looking, room
from scipy.spatial.transform import Rotation

from collectors.egocentric.background import background
from collectors.egocentric.camera import Camera
from collectors.egocentric.footage import open_footage
from collectors.egocentric.odometry import CameraMotion, camera_motion
from conftest import shared_data
from dataengine.plugins import Sighting

STANDS = np.array([0.0, -0.5, 0.9])
LOOKS = looking(STANDS, np.array([0.0, 0.8, 0.1]))
FRAMES = 60


@functools.cache
def filmed(shift: bool, turn: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, and the camera's places [m] and turns in its first frame: 20 cm to the side, 25° to the right."""
    time = np.linspace(0, 1, FRAMES)[:, None]
    way = shift * np.sin(np.pi / 2 * time) * [0.2, 0.05, 0.03]
    by = turn * np.sin(np.pi * time) * [0.1, 0.42, 0.05]
    turns = LOOKS @ Rotation.from_rotvec(by).as_matrix()
    return film(room(1), STANDS + way, turns), way @ LOOKS, LOOKS.T @ turns


def degrees(found: CameraMotion, turns: np.ndarray) -> np.ndarray:
    return np.rad2deg((Rotation.from_matrix(turns).inv() * Rotation.from_quat(found.pose[:, 3:])).magnitude())


def hand_at(x: float, y: float) -> Sighting:
    """A hand of a fifth of the picture, fingers up."""
    marks = np.array([x, y]) + np.random.default_rng(0).uniform(-0.5, 0.5, (21, 2)) * [30, 50]
    marks[0] = x, y + 30
    return Sighting(marks.astype(np.float32), np.zeros((21, 3), np.float32), True, 0.9)


def test_a_camera_that_stands_still_has_not_moved_at_all() -> None:
    """With noise, and with a hand and its arm that go through half of the picture."""
    rng = np.random.default_rng(0)
    still = filmed(False, False)[0]
    pictures = (still.astype(np.int16) + rng.normal(0, 5, still.shape).astype(np.int16)).clip(0, 255).astype(np.uint8)
    across = np.linspace(40, 200, FRAMES)
    for picture, x in zip(pictures, across, strict=True):
        picture[100:, int(x) - 15 : int(x) + 15] = rng.integers(80, 200, (HEIGHT - 100, 1, 1), np.uint8)
    found = camera_motion(background(pictures, [[hand_at(x, 125)] for x in across]), CAMERA)
    assert (found.pose == [0, 0, 0, 0, 0, 0, 1]).all() and found.kind == "still"
    assert (found.quality > 0.9).all() and found.lost == 0


def test_a_turn_is_a_turn_and_no_path_is_made_up() -> None:
    pictures, _, turns = filmed(False, True)
    found = camera_motion(background(pictures), CAMERA)
    assert (found.pose[:, :3] == 0).all() and found.kind == "turns"
    assert degrees(found, turns).max() < 0.2


@pytest.mark.parametrize("turn", [False, True])
def test_a_path_is_known_but_for_its_scale(turn: bool) -> None:
    pictures, places, turns = filmed(True, turn)
    found = camera_motion(background(pictures), CAMERA)
    assert found.kind == "moves" and (found.lost, found.restarts) == (0, 0)
    assert np.median(degrees(found, turns)) < 0.6 and degrees(found, turns).max() < 1.0
    path = found.pose[:, :3]
    scale = (path * places).sum() / (path**2).sum()
    assert np.linalg.norm(scale * path - places, axis=1).max() < 0.1 * np.linalg.norm(places, axis=1).max()
    ends = path[-1] @ places[-1] / np.linalg.norm(path[-1]) / np.linalg.norm(places[-1])
    assert np.rad2deg(np.arccos(min(ends, 1.0))) < 5
    assert 1.0 < scale < 2.0  # the unit is how far away the room is [m]
    assert (found.pose[0] == [0, 0, 0, 0, 0, 0, 1]).all()
    assert (np.abs(np.diff(found.pose[:, 3:], axis=0)) < 0.1).all()  # no quaternion jumps to its twin


def test_a_table_top_alone_is_not_seen_from_where_a_mirror_would_show_it() -> None:
    """Two movements fit two pictures of a plane that a camera comes nearer to; the wrong one turns by degrees more."""
    time = np.linspace(0, 0.6, 36)[:, None]
    way, turns = time * [0.05, 0.2, -0.05], LOOKS @ Rotation.from_rotvec(time * [0.05, 0.3, 0.0]).as_matrix()
    found = camera_motion(background(film(room(1, bare=True), STANDS + way, turns)), CAMERA)
    assert found.kind == "moves" and degrees(found, LOOKS.T @ turns).max() < 1.0
    path, places = found.pose[-1, :3], way[-1] @ LOOKS
    assert path @ places / np.linalg.norm(path) / np.linalg.norm(places) > 0.98


def test_hands_are_no_background() -> None:
    """A hand that goes along with the camera, as large as a third of the picture: without knowing of it, the camera
    seems not to turn."""
    pictures, _, turns = filmed(False, True)
    pictures = pictures.copy()
    grain = np.kron(np.random.default_rng(2).integers(0, 255, (21, 22, 1), np.uint8), np.ones((8, 8, 1), np.uint8))
    pictures[:, 72:, 72:248] = grain
    marks = np.stack(np.meshgrid([85.0, 160.0, 235.0], np.linspace(230, 90, 7)), -1).reshape(21, 2)
    marks[0] = 160.0, 230.0
    hand = Sighting(marks.astype(np.float32), np.zeros((21, 3), np.float32), True, 0.9)
    seen = degrees(camera_motion(background(pictures, [[hand]] * FRAMES), CAMERA), turns)
    assert seen.max() < 1.0
    assert degrees(camera_motion(background(pictures), CAMERA), turns).max() > 5


def test_a_camera_that_rests_on_its_way_rests_there() -> None:
    pictures, _, turns = filmed(True, True)
    rests = np.concatenate([np.arange(30), np.full(15, 29), np.arange(30, FRAMES)])
    found = camera_motion(background(pictures[rests]), CAMERA)
    assert (found.pose[30:45] == found.pose[29]).all()
    assert degrees(found, turns[rests]).max() < 1.0


def test_where_nothing_can_be_followed_it_says_so() -> None:
    pictures, _, turns = filmed(False, True)
    dark = pictures.copy()
    dark[20:24] = 0
    found = camera_motion(background(dark), CAMERA)
    assert (found.quality[20:24] == 0).all() and (found.pose[20:24] == found.pose[19]).all()
    assert (found.quality[26:] > 0.5).all()
    after = Rotation.from_matrix(turns[24].T @ turns[26:])
    went = Rotation.from_quat(found.pose[24, 3:]).inv() * Rotation.from_quat(found.pose[26:, 3:])
    assert np.rad2deg((after.inv() * went).magnitude()).max() < 0.5  # what is seen again is right from there on
    blank = camera_motion(background(np.zeros((5, 48, 64, 3), np.uint8)), CAMERA)
    assert (blank.quality == 0).all() and (blank.pose == [0, 0, 0, 0, 0, 0, 1]).all() and blank.lost == 5
    nothing = camera_motion(background([]), CAMERA)
    assert nothing.pose.shape == (0, 7)


def test_large_pictures_are_looked_at_in_small_and_mean_the_same() -> None:
    pictures, _, turns = filmed(False, True)
    large = [cv2.resize(p, (4 * WIDTH, 4 * HEIGHT), interpolation=cv2.INTER_CUBIC) for p in pictures[:25]]
    found = camera_motion(background(large), Camera(**{**CAMERA.scaled(1280, 960).to_json()}))
    assert degrees(found, turns[:25]).max() < 0.3


@pytest.mark.parametrize("name", ["handpose3d_cam0", "handpose3d_cam1"])
def test_the_cameras_of_the_stereo_pair_stood_still(name: str) -> None:
    """Nobody says here where hands are: that most of what is seen stands still is enough."""
    footage = open_footage(shared_data(f"hands/{name}.mp4"))
    lens = Camera(width=720, height=720, fx=640, fy=640, cx=359.5, cy=359.5)
    found = camera_motion(background(footage.clip.frames(0, 60)), lens)
    assert (found.pose == [0, 0, 0, 0, 0, 0, 1]).all() and found.kind == "still" and found.lost == 0
