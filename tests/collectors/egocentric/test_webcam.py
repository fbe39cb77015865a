"""Recording from a camera; a video file stands for one, since OpenCV opens both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_foreign import by_hand, moving, write_video

from collectors.egocentric import webcam
from dataengine.errors import SourceError
from dataengine.video import probe

pytest.importorskip("cv2")


class Camera:
    """Gives one picture every `every` seconds, as a camera that is slow does, and none after `count`."""

    def __init__(self, clock: Clock, every: float, count: int) -> None:
        self.clock, self.every, self.left, self.given = clock, every, count, 0

    def get(self, _: int) -> float:
        return 10.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self.left == 0:
            self.clock.now += 0.5
            return False, None
        self.left -= 1
        self.clock.now += self.every if self.given else 0.0
        self.given += 1
        return True, np.full((48, 64, 3), (self.given, 100, 200), np.uint8)  # blue, green, red


class Clock:
    now = 5.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def filmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: float, count: int, seconds: float) -> np.ndarray:
    clock = Clock()
    monkeypatch.setattr(webcam, "time", clock)
    path = webcam._record(Camera(clock, every, count), "cam", tmp_path, seconds)
    info = probe(path)
    assert float(info.fps) == 10 and info.constant
    return by_hand(path)


def test_a_camera_in_step_gives_one_picture_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = filmed(tmp_path, monkeypatch, 0.1001, 100, 2.0)
    assert len(film) == 20
    red, green, blue = film[10].reshape(-1, 3).mean(0)
    assert abs(red - 200) < 8 and abs(green - 100) < 8 and blue < 40


def test_a_slow_camera_is_shown_again_and_not_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(filmed(tmp_path, monkeypatch, 0.35, 100, 3.0)) == 30


def test_a_camera_that_falls_silent_ends_the_film_and_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = filmed(tmp_path, monkeypatch, 0.1001, 12, 600.0)
    assert 12 <= len(film) <= 12 + 10 * (webcam.SILENT + 1)


def test_a_camera_that_changes_its_pictures_ends_the_film_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Camera.read

    def turned(camera: Camera) -> tuple[bool, np.ndarray | None]:
        got, picture = read(camera)
        return got, picture if picture is None or camera.given < 8 else picture.transpose(1, 0, 2)

    monkeypatch.setattr(Camera, "read", turned)
    assert 5 <= len(filmed(tmp_path, monkeypatch, 0.1001, 100, 2.0)) <= 8


def test_a_file_can_stand_for_a_camera_and_nothing_can_not(tmp_path: Path) -> None:
    path = webcam.record(str(write_video(tmp_path, moving(40))), tmp_path / "films", 0.5)
    assert path.parent == tmp_path / "films" and probe(path).frames == 15
    with pytest.raises(SourceError, match="cannot be opened as a camera"):
        webcam.record(str(tmp_path / "nothing.mp4"), tmp_path, 1.0)


def test_a_long_film_is_one_and_a_killed_one_is_there_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webcam, "PIECE", 0.7)
    whole = filmed(tmp_path / "whole", monkeypatch, 0.1001, 100, 2.0)
    assert len(whole) == 20 and len(list((tmp_path / "whole").iterdir())) == 1
    read = Camera.read

    def killed(camera: Camera) -> tuple[bool, np.ndarray | None]:
        if camera.given == 18:
            raise RuntimeError("killed")
        return read(camera)

    monkeypatch.setattr(Camera, "read", killed)
    with pytest.raises(RuntimeError, match="killed"):
        filmed(tmp_path / "cut", monkeypatch, 0.1001, 100, 9.0)
    pieces = sorted(path for path in (tmp_path / "cut").iterdir() if path.suffix == ".mp4")
    assert [probe(piece).frames for piece in pieces] == [7, 7]
    np.testing.assert_array_equal(np.concatenate([by_hand(piece) for piece in pieces]), whole[:14])
