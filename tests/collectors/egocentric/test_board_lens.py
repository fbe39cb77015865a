"""A lens that is known, from pictures of a chessboard through it."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from video_foreign import write_video

from collectors.egocentric.board import Board
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


def test_the_command_writes_the_lens(pictures: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = write_video(tmp_path, pictures, options={"crf": "10"})
    ego(tmp_path / "lens.yaml", [film], board="8x5:0.03")
    assert "views" in capsys.readouterr().out and read_yaml(tmp_path / "lens.yaml")["width"] == 480
    with pytest.raises(ConfigError, match="one video"):
        ego(tmp_path / "two.yaml", [film, film], board="8x5")
