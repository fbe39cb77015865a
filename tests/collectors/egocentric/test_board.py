"""Boards as they are said, and their corners where they are in a picture."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from boards_made import above, picture

from collectors.egocentric.board import Board
from collectors.egocentric.camera import Camera
from dataengine.errors import ConfigError

CAMERA = Camera(width=640, height=480, fx=520.0, fy=520.0, cx=319.5, cy=239.5)
CHARUCO = "charuco:8x6:0.03:0.022:4x4_50"
AT = (0.05, -0.28, 0.33)


def seen(board: Board, at: tuple[float, float, float] = AT) -> np.ndarray:
    return cv2.cvtColor(picture(board, CAMERA, above(at), np.array(at)), cv2.COLOR_RGB2GRAY)


def wanted(board: Board, at: tuple[float, float, float] = AT) -> np.ndarray:
    """Where the corners are, `(N, 2)` [px]."""
    return CAMERA.project((board.corners - np.array(at)) @ above(at))


@pytest.mark.parametrize("said", ["8x5:0.03", CHARUCO])
def test_corners_are_where_they_are(said: str) -> None:
    board = Board.said(said)
    marks = board.find(seen(board))
    assert marks is not None and len(marks.ids) == board.columns * board.rows
    off = np.linalg.norm(marks.pixels - wanted(board)[marks.ids], axis=1)
    turned = np.linalg.norm(marks.pixels[::-1] - wanted(board)[marks.ids], axis=1)
    assert min(off.max(), turned.max() if board.symmetric else np.inf) < 0.3


def test_half_a_charuco_board_is_enough_and_half_a_chessboard_is_not() -> None:
    charuco, chess = Board.said(CHARUCO), Board.said("8x5:0.03")
    for board in (charuco, chess):
        half = seen(board)
        half[:, :300] = 128  # an arm
        marks = board.find(half)
        if board is chess:
            assert marks is None
        else:
            assert marks is not None and 6 <= len(marks.ids) < 35
            assert np.linalg.norm(marks.pixels - wanted(board)[marks.ids], axis=1).max() < 0.3
    assert charuco.find(seen(chess)) is None and chess.find(seen(charuco)) is None


def test_one_line_of_corners_is_no_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board.said(CHARUCO)
    whole = board.find(seen(board))
    assert whole is not None
    row, corner = np.flatnonzero(whole.ids // 7 == 2), np.flatnonzero(whole.ids == 0)
    other = np.flatnonzero(whole.ids == 30)
    for kept, good in ((row, False), (np.append(row, corner), False), (np.concatenate([row, corner, other]), True)):
        shown = whole.pixels[kept][:, None], whole.ids[kept][:, None], None, None
        monkeypatch.setattr(
            "collectors.egocentric.board._detector", lambda _, s=shown: SimpleNamespace(detectBoard=lambda _: s)
        )
        assert (board.find(seen(board)) is not None) is good


def test_a_charuco_board_as_it_was_printed_before_is_another_one() -> None:
    now, before = Board.said(CHARUCO), Board.said(f"{CHARUCO}:legacy")
    marks = before.find(seen(before))
    assert marks is not None and len(marks.ids) == 35
    assert np.linalg.norm(marks.pixels - wanted(before)[marks.ids], axis=1).max() < 0.3
    assert now.find(seen(before)) is None and before.find(seen(now)) is None
    odd = "charuco:7x5:0.03:0.022:4x4_50"  # there both are one
    assert (seen(Board.said(odd)) == seen(Board.said(f"{odd}:legacy"))).all()


@pytest.mark.parametrize("said", ["8x5:0.03", CHARUCO])
def test_a_large_picture_is_searched_small_and_corners_are_where_they_are(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = CAMERA.scaled(3840, 2880)
    board, searched = Board.said(said), list[int]()
    grey = cv2.cvtColor(picture(board, large, above(AT), np.array(AT)), cv2.COLOR_RGB2GRAY)
    resize = cv2.resize

    def watched(*args: Any, **kwargs: Any) -> np.ndarray:
        searched.append(max((small := resize(*args, **kwargs)).shape))
        return small

    monkeypatch.setattr(cv2, "resize", watched)
    marks = board.find(grey)
    assert marks is not None and searched and searched[0] <= 1920
    right = large.project((board.corners - np.array(AT)) @ above(AT))[marks.ids]
    assert min(np.linalg.norm(marks.pixels - each, axis=1).max() for each in (right, right[::-1])) < 0.5


def test_what_is_no_board_is_refused() -> None:
    for wrong in ("8", "2x5", "8x5:9", "8x5:x", "axb", "charuco:8x6", "charuco:8x6:0.03:0.03:4x4_50", "8x5:0.0000001"):
        with pytest.raises(ConfigError, match=r"9x6:0\.025|3 to 40|smaller than its squares"):
            Board.said(wrong)
    with pytest.raises(ConfigError, match="more markers than the dictionary"):
        Board.said("charuco:20x20:0.03:0.02:4x4_50")
