"""The camera over a board, and a hand that lies beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boards_made import above, picture
from scipy.spatial.transform import Rotation
from video_foreign import write_video

from collectors.egocentric import videos
from collectors.egocentric.board import Board, Marks
from collectors.egocentric.camera import Camera
from collectors.egocentric.footage import Footage
from collectors.egocentric.identity import Tracks
from collectors.egocentric.metric import SHAPE_SPREAD
from collectors.egocentric.over_board import JOINT, JOINT_SPREAD, OverBoard, camera_over, palm_distances_over
from collectors.egocentric.scale import sizes
from collectors.egocentric.settings import EgoSettings
from collectors.egocentric.videos import EgoVideos
from converters import report
from dataengine import hands
from dataengine.episode import ArrayClip
from dataengine.errors import ConfigError, SourceError
from dataengine.sim.human_hand import HumanHand

CAMERA = Camera(width=640, height=480, fx=520.0, fy=520.0, cx=319.5, cy=239.5)
CHESS, CHARUCO = Board.said("8x5:0.03"), Board.said("charuco:8x6:0.03:0.022:4x4_50")
FPS = 10.0


def path(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A camera that a head carries: axes `(T, 3, 3)` and places `(T, 3)` in the board's frame."""
    t = np.linspace(0, 1, count)
    places = np.stack([0.10 * np.sin(4 * t), -0.25 + 0.08 * t, 0.38 + 0.05 * np.cos(5 * t)], 1)
    turns = np.stack([above(tuple(p), (0.02 * x, 0.01), 0.4 * x) for p, x in zip(places, t, strict=True)])
    return turns, places


def off(over: OverBoard, turns: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[m], [rad]"""
    spun = Rotation.from_quat(over.pose[:, 3:]).inv() * Rotation.from_matrix(turns)
    return np.linalg.norm(over.pose[:, :3] - places, axis=1), spun.magnitude()


@pytest.mark.parametrize("board", [CHESS, CHARUCO], ids=["chess", "charuco"])
def test_the_camera_is_where_it_is_in_metres(board: Board) -> None:
    turns, places = path(16)
    pictures = np.stack([picture(board, CAMERA, *each) for each in zip(turns, places, strict=True)])
    pictures[6:8] = 128  # a hand before it
    over = camera_over(iter(pictures), board, CAMERA, FPS)
    away, turned = off(over, turns, places)
    assert over.quality.tolist() == [1.0] * 6 + [0.5] * 2 + [1.0] * 8
    seen = over.quality == 1
    assert away[seen].max() < 0.001 and np.rad2deg(turned[seen].max()) < 0.15
    assert away.max() < 0.012 and np.rad2deg(turned.max()) < 1.5
    assert (np.sum(over.pose[1:, 3:] * over.pose[:-1, 3:], 1) > 0).all()


def test_a_long_loss_is_said_and_without_a_board_there_is_no_pose() -> None:
    turns, places = path(20)
    pictures = np.stack([picture(CHARUCO, CAMERA, *each) for each in zip(turns, places, strict=True)])
    pictures[:2] = pictures[5:13] = 0
    over = camera_over(iter(pictures), CHARUCO, CAMERA, FPS)
    assert (over.quality > 0).tolist() == [False] * 2 + [True] * 3 + [False] * 8 + [True] * 7
    nothing = camera_over(iter(pictures[:2]), CHARUCO, CAMERA, FPS)
    assert not nothing.quality.any() and (nothing.pose == [0, 0, 0, 0, 0, 0, 1]).all()
    other = Camera(width=640, height=480, fx=520.0, fy=260.0, cx=319.5, cy=239.5)  # fits no pose
    assert not camera_over(iter(pictures[13:]), CHARUCO, other, FPS).quality.any()


def test_a_chessboard_is_not_turned_round_on_the_way() -> None:
    alike = Board.said("7x5:0.03")  # its colours too are the same turned round by half
    turns = np.stack([above((0.01, -0.01, 0.45), roll=roll) for roll in np.linspace(0, 2 * np.pi, 25)])
    places = np.repeat([[0.01, -0.01, 0.45]], 25, 0)
    pictures = (picture(alike, CAMERA, *each) for each in zip(turns, places, strict=True))
    over = camera_over(pictures, alike, CAMERA, FPS)
    assert np.rad2deg(off(over, turns, places)[1].max()) < 0.6


def corners(board: Board, far: float, tilt: float, noise: float, count: int = 30) -> Iterator[tuple]:
    """Of a board in pictures: as they are found, and where the camera is."""
    rng = np.random.default_rng(0)
    for t in range(count):
        high = np.deg2rad(tilt + 2 * np.sin(t / 7))
        at = far * np.array([0.0, -np.cos(high), np.sin(high)])
        pixels = CAMERA.project((board.corners - at) @ above(tuple(at)))
        yield Marks(np.arange(len(pixels)), pixels + rng.normal(0, noise, pixels.shape)), above(tuple(at))


@pytest.mark.parametrize(
    ("far", "tilt", "told"), [(0.5, 60, True), (1.0, 45, True), (3.0, 80, False), (6.0, 45, False)]
)
def test_a_board_too_far_away_to_say_how_it_is_tilted_is_not_seen(
    far: float, tilt: float, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list(corners(CHESS, far, tilt, 0.25))
    found = iter([marks for marks, _ in seen])
    monkeypatch.setattr(Board, "find", lambda _, grey: next(found))
    over = camera_over(iter(np.zeros((len(seen), 480, 640, 3), np.uint8)), CHESS, CAMERA, FPS)
    known = over.quality == 1
    assert known.mean() == 1 if told else known.mean() < 0.2
    turns = np.stack([turn for _, turn in seen])
    turned = (Rotation.from_quat(over.pose[:, 3:]).inv() * Rotation.from_matrix(turns)).magnitude()
    assert np.rad2deg(turned[known]).max(initial=0) < 4


def lying(size: float, height: float, tilt: float = 0.0, frames: int = 40) -> tuple[OverBoard, Tracks, np.ndarray]:
    """A right hand beside the board, its palm's joints `height` above the plane, seen by a camera that moves."""
    turns, places = path(frames)
    with HumanHand("right", size=size) as hand:
        flat = hand.move("rotate", 1, frames=2, fps=FPS).angles[:1] * 0
        points = hand.pose(flat, np.zeros((1, 3)), np.eye(3)[None])[0]
    palm = points[list(hands.PALM)]
    axes = np.linalg.svd(palm - palm.mean(0))[2]
    axes[2] = np.cross(axes[0], axes[1])
    lain = (points - palm.mean(0)) @ axes.T @ Rotation.from_euler("x", tilt).as_matrix().T + [0.16, 0.0, height]
    there = np.einsum("tji,tkj->tki", turns, lain - places[:, None])
    noise = np.random.default_rng(0).normal(0, 0.5, (frames, 21, 2))
    both = np.full((2, frames, 21, 2), np.nan), np.full((2, frames, 21, 3), np.nan)
    both[0][1], both[1][1] = CAMERA.project(there) + noise, 0.8 * (there - there.mean(1, keepdims=True))
    spun = Rotation.from_matrix(turns).as_quat()
    return OverBoard(np.concatenate([places, spun], 1), np.ones(frames)), Tracks(*both, np.ones((2, frames)), 0), there


def footage(frames: int = 40) -> Footage:
    return Footage(Path("film.mp4"), ArrayClip(np.zeros((frames, 480, 640, 3), np.uint8), FPS), "abc", ())


@pytest.mark.parametrize("size", [0.080, 0.104])
def test_a_hand_beside_the_board_is_as_large_as_it_is(size: float) -> None:
    over, tracks, _ = lying(size, JOINT + 0.003)
    found = sizes(footage(), tracks, CAMERA, EgoSettings(board="8x5:0.03", sides=("right",)), None, over)["right"]
    assert found.size == pytest.approx(size, rel=0.04) and abs(found.size - size) < 2 * found.sigma
    together = np.hypot(SHAPE_SPREAD, JOINT_SPREAD / np.median(over.pose[:, 2]))
    assert size * together < found.sigma < 0.008 and found.source == "board" and found.frames > 20


def test_a_hand_that_moves_or_is_tilted_or_without_a_board_is_not_measured() -> None:
    settings = EgoSettings(board="8x5:0.03", sides=("right",))
    over, tracks, _ = lying(0.09, JOINT)
    blind = over._replace(quality=np.zeros(40))
    assert sizes(footage(), tracks, CAMERA, settings, None, blind) == {}
    assert sizes(footage(), tracks, CAMERA, settings, None, None) == {}
    _, tilted, _ = lying(0.09, 0.08, tilt=1.2)
    assert sizes(footage(), tilted, CAMERA, settings, None, over) == {}
    held = over._replace(pose=over.pose[:1].repeat(40, 0))  # the hand goes with the camera: it slides over the table
    assert sizes(footage(), tracks, CAMERA, settings, None, held) == {}
    assert sizes(footage(), tracks, CAMERA, EgoSettings(hand_size=0.09, board="8x5:0.03"), None, over) == {}


@pytest.mark.parametrize("above_it", [0.03, 0.05, 0.1])
def test_a_hand_that_rests_longer_in_the_air_than_on_the_table_is_not_larger(above_it: float) -> None:
    over, low, _ = lying(0.09, JOINT, frames=80)
    _, high, _ = lying(0.09, JOINT + above_it, frames=80)
    pixels, world = low.pixels.copy(), low.world.copy()
    pixels[:, 24:], world[:, 24:] = high.pixels[:, 24:], high.world[:, 24:]
    settings = EgoSettings(board="8x5:0.03", sides=("right",))
    found = sizes(footage(80), replace(low, pixels=pixels, world=world), CAMERA, settings, None, over)["right"]
    assert found.size == pytest.approx(0.09, rel=0.05)
    _, held, _ = lying(0.09, JOINT + 0.15, frames=80)  # never on the table: larger than anybody's
    assert sizes(footage(80), held, CAMERA, settings, None, over) == {}


def test_distances_are_those_of_the_joints() -> None:
    over, tracks, there = lying(0.09, JOINT)
    rays = CAMERA.rays(tracks.pixels[1])
    measured, unsure = palm_distances_over(over, rays, tracks.world[1], right=True, fps=FPS)
    apart = measured - there[:, list(hands.PALM), 2]
    assert np.nanmax(np.abs(apart)) < 0.012 and np.isfinite(measured).all(1).sum() > 30
    assert unsure == pytest.approx(0.005 / np.median(over.pose[:, 2]), rel=0.1)


def test_an_episode_stands_in_the_boards_frame(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAENGINE_CACHE", str(tmp_path / "cache"))
    turns, places = path(12)
    pictures = np.stack([picture(CHARUCO, CAMERA, *each) for each in zip(turns, places, strict=True)])
    film = write_video(tmp_path, pictures, options={"crf": "12"})

    class Nobody:
        version = "nobody"

        def track(self, frames, fps):  # type: ignore[no-untyped-def]
            return ([] for _ in frames)

    monkeypatch.setattr(videos, "_tracker", lambda settings: Nobody())
    told = {"motion": "board", "board": "charuco:8x6:0.03:0.022:4x4_50", "intrinsics": {"fx": 520.0}}
    plan = EgoVideos().plan(film, told)
    assert plan.features[hands.CAMERA_POSE].unit == ("m",) * 3 + ("1",) * 4
    report.write_mapping(plan, tmp_path / "mapping.yaml")
    again = EgoVideos().plan(film, report.read_mapping(tmp_path / "mapping.yaml"))
    assert (again.mapping, again.features, again.assumptions) == (plan.mapping, plan.features, plan.assumptions)
    episode = EgoVideos().read(plan, plan.episodes[0])
    pose = episode.frames[hands.CAMERA_POSE]
    assert np.linalg.norm(pose[:, :3] - places, axis=1).max() < 0.002
    about = episode.meta.extra["camera_motion"]
    assert about == {"kind": "moves", "from": "a board", "scale": "metric", "lost": 0}
    assert any(text.startswith("motion = ") and "board" in text for text in episode.meta.lineage[0].assumed)
    with pytest.raises(SourceError, match="board in none of its pictures"):
        plan = EgoVideos().plan(film, told | {"board": "9x6:0.02"})
        EgoVideos().read(plan, plan.episodes[0])


def test_what_a_board_cannot_tell_is_refused() -> None:
    with pytest.raises(ConfigError, match="says no size of its squares"):
        EgoSettings(board="9x6")
    with pytest.raises(ConfigError, match="motion: board needs the board"):
        EgoSettings(motion="board")
