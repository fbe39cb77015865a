"""Pictures of boards that lie on a white table, drawn by a homography; ChArUco's pattern is OpenCV's own."""

from __future__ import annotations

import cv2
import numpy as np

from collectors.egocentric.board import Board
from collectors.egocentric.camera import Camera

FINE = 60  # [px] of a square of the drawing


def drawing(board: Board) -> np.ndarray:
    """`(rows + 1, columns + 1)` squares of `FINE` pixels."""
    if board.dictionary:
        words = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{board.dictionary.upper()}"))
        made = cv2.aruco.CharucoBoard((board.columns + 1, board.rows + 1), board.side, board.marker, words)
        made.setLegacyPattern(board.legacy)
        return made.generateImage(((board.columns + 1) * FINE, (board.rows + 1) * FINE))
    y, x = np.mgrid[: board.rows + 1, : board.columns + 1]
    return np.kron(np.where((x + y) % 2, 255, 0), np.ones((FINE, FINE))).astype(np.uint8)


def picture(board: Board, camera: Camera, turn: np.ndarray, place: np.ndarray) -> np.ndarray:
    """`(H, W, 3)` uint8: what a camera sees that stands at `place` in the board's frame, its axes the columns of
    `turn`."""
    drawn = drawing(board)
    half = np.array([board.columns + 1, board.rows + 1]) / 2 * board.side
    one = board.side / FINE
    on_board = np.array([[one, 0, 0.5 * one - half[0]], [0, -one, half[1] - 0.5 * one], [0, 0, 1]])
    flat = np.stack([turn.T[:, 0], turn.T[:, 1], -turn.T @ place], 1)
    way = camera.matrix @ flat @ on_board
    size = (camera.width, camera.height)
    large = cv2.warpPerspective(
        drawn, np.diag([3.0, 3, 1]) @ (np.array([[1, 0, 1 / 3], [0, 1, 1 / 3], [0, 0, 1]]) @ way),
        (3 * size[0], 3 * size[1]), flags=cv2.INTER_LINEAR, borderValue=235,
    )  # fmt: skip
    small = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, 2)


def above(at: tuple[float, float, float], towards: tuple[float, float] = (0.0, 0.0), roll: float = 0.0) -> np.ndarray:
    """`(3, 3)` axes of a camera that looks at a point of the table."""
    forward = np.array([*towards, 0.0]) - at
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [-np.sin(roll), np.cos(roll), 0.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], 1)
