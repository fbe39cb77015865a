"""A lens that is known, from pictures of a chessboard through it."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from video_foreign import write_video

from collectors.egocentric.board import Board, Marks
from collectors.egocentric.board_lens import lens_of, write_lens
from collectors.egocentric.camera import camera_of
from collectors.egocentric.footage import Footage
from dataengine.cli.collect_ego import ego
from dataengine.episode import ArrayClip
from dataengine.errors import ConfigError, SourceError
from dataengine.guard import read_yaml

BOARD = Board(8, 5, 0.03)
MATRIX = np.array([[315.0, 0, 243.0], [0, 318.0, 177.0], [0, 0, 1]])
BENT = np.array([-0.22, 0.06, 0.001, -0.0015, 0.0])
SIZE = (480, 360)


def straight(pixels: np.ndarray) -> np.ndarray:
    """The rays of pixels `(N, 2)`."""
    enough = (cv2.TERM_CRITERIA_COUNT, 40, 0.0)
    return cv2.undistortPointsIter(pixels[:, None], MATRIX, BENT, np.eye(3), np.eye(3), enough)[:, 0]


@functools.cache
def rays_of_all() -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]].astype(np.float64)
    return straight(np.stack([x, y], -1).reshape(-1, 2))


def seen(pose: np.ndarray) -> np.ndarray:
    """`(H, W, 3)` uint8 of the board at a rotation vector and a place: every pixel's ray meets it. Edges are soft."""
    rays = rays_of_all()
    turn = Rotation.from_rotvec(pose[:3]).as_matrix()
    normal, place = turn[:, 2], pose[3:]
    ways = np.concatenate([rays, np.ones((len(rays), 1))], 1)
    points = (ways * (normal @ place / (ways @ normal))[:, None] - place) @ turn
    u, v = (points[:, :2] / BOARD.square).T
    inside = (u > -1) & (v > -1) & (u < BOARD.columns) & (v < BOARD.rows)
    grey = np.where(inside, 125 - 105 * np.tanh(8 * np.sin(np.pi * u) * np.sin(np.pi * v)), 230)
    return np.repeat(grey.reshape(SIZE[1], SIZE[0], 1), 3, 2).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    poses = []
    for _ in range(20):
        turn = rng.uniform(-0.5, 0.5, 3)
        middle = np.array([*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.32, 0.45)])
        poses.append(np.concatenate([turn, middle - Rotation.from_rotvec(turn).apply([0.105, 0.06, 0])]))
    return np.stack([seen(pose) for pose in poses])


def footage(pictures: np.ndarray) -> Footage:
    return Footage(Path("board.mp4"), ArrayClip(pictures, 10.0), "abc", ())


def test_a_known_lens_comes_back_and_the_camera_reads_it(pictures: np.ndarray, tmp_path: Path) -> None:
    lens = lens_of(footage(pictures), BOARD)
    camera = lens.camera
    assert camera.fx == pytest.approx(315, rel=0.01) and camera.fy == pytest.approx(318, rel=0.01)
    assert camera.cx == pytest.approx(243, abs=2) and camera.cy == pytest.approx(177, abs=2)
    assert lens.error < 0.3 and lens.views >= 8 and 0.0005 < camera.spread < 0.01
    write_lens(lens, tmp_path / "lens.yaml")
    again = camera_of(read_yaml(tmp_path / "lens.yaml"), *SIZE)
    edge = np.array([[25.0, 25.0], [455.0, 25.0], [240.0, 180.0], [450.0, 335.0]])
    np.testing.assert_allclose(again.rays(edge), straight(edge), atol=0.004)
    with pytest.raises(SourceError, match="is there already"):
        write_lens(lens, tmp_path / "lens.yaml")


def test_a_board_seen_from_one_side_says_what_is_missing(pictures: np.ndarray) -> None:
    with pytest.raises(SourceError, match=r"in 1 different views; 8 are needed"):
        lens_of(footage(np.repeat(pictures[:1], 12, 0)), BOARD)
    with pytest.raises(SourceError, match=r"9x6 inner corners in 0 different views"):
        lens_of(footage(pictures[:3]), Board(9, 6))


def filmed(tilted: list[bool]) -> tuple[Footage, list[Marks]]:
    """A film of the board, tilted or not in every picture, and what is found in each."""
    rng = np.random.default_rng(1)
    marks = []
    for number, steep in enumerate(tilted):
        tilt = rng.uniform(-0.5, 0.5, 2) if steep else rng.normal(0, 0.01, 2)
        turn = Rotation.from_euler("xyz", [np.pi + tilt[0], tilt[1], rng.uniform(-0.3, 0.3)])
        place = np.array([*rng.uniform(-0.08, 0.08, 2), 0.5 + (0.1 * np.sin(number) if steep else 0)])
        rotation, points = cv2.Rodrigues(turn.as_matrix())[0], BOARD.corners.astype(np.float64)
        pixels = cv2.projectPoints(points, rotation, place, MATRIX, BENT)[0][:, 0]
        found = (pixels + rng.normal(0, 0.15, pixels.shape)).astype(np.float32)
        marks.append(Marks(np.arange(len(pixels)), found))
    return footage(np.zeros((len(tilted), SIZE[1], SIZE[0], 3), np.uint8)), marks


@pytest.mark.parametrize("flat", [60, 100])
def test_a_film_that_begins_flat_is_seen_to_its_end_and_one_that_stays_flat_is_refused(
    flat: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, marks = filmed([number >= flat for number in range(100)])
    found = iter(marks)
    monkeypatch.setattr(Board, "find", lambda _, grey: next(found))
    if flat < 100:
        camera = lens_of(film, BOARD).camera
        assert abs(camera.fx - 315) < 0.03 * 315 and camera.spread < 0.04
    else:
        with pytest.raises(SourceError, match=r"fits badly: 0\.\d+ px off, .* is it seen tilted each way"):
            lens_of(film, BOARD)


def test_corners_that_fit_no_camera_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    line = [Marks(np.arange(8), rng.uniform(0, 300, (8, 2)).astype(np.float32)) for _ in range(10)]
    found = iter(line)
    monkeypatch.setattr(Board, "find", lambda _, grey: next(found))
    with pytest.raises(SourceError, match=r"board\.mp4: the board fits badly"):
        lens_of(footage(np.zeros((10, SIZE[1], SIZE[0], 3), np.uint8)), BOARD)


def test_the_command_writes_the_lens(pictures: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = write_video(tmp_path, pictures, options={"crf": "10"})
    ego(tmp_path / "lens.yaml", [film], board="8x5:0.03")
    assert "views" in capsys.readouterr().out and read_yaml(tmp_path / "lens.yaml")["width"] == 480
    with pytest.raises(SourceError, match=r"lens\.yaml: is there already"):
        ego(tmp_path / "lens.yaml", [tmp_path / "not looked at.mp4"], board="8x5")
    ego(tmp_path / "dry.yaml", [film], board="8x5:0.03", dry_run=True, json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["lens"]["width"] == 480 and said["views"] >= 8 and not (tmp_path / "dry.yaml").exists()
    with pytest.raises(ConfigError, match="one video"):
        ego(tmp_path / "two.yaml", [film, film], board="8x5")


def test_views_that_agree_on_a_wrong_lens_are_refused_for_want_of_tilt() -> None:
    """A board held upright before the camera: both halves of this film say fx is 286, to half a per cent; it is 315."""
    rng = np.random.default_rng(2)
    poses = []
    for _ in range(16):
        rng.uniform(-1, 1, 3)
        turn = np.array([0, 0, rng.uniform(-0.6, 0.6)])
        middle = np.array([*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.32, 0.45)])
        poses.append(np.concatenate([turn, middle - Rotation.from_rotvec(turn).apply([0.105, 0.06, 0])]))
    with pytest.raises(SourceError, match=r"±[01]\.\d%, tilted by \d°.*is it seen tilted each way"):
        lens_of(footage(np.stack([seen(pose) for pose in poses])), BOARD)
