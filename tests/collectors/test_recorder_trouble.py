"""A machine that is too slow: which part, at once; nothing is left out unsaid, and the loop never waits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from faulty_robot import STATE, Fault, FaultyRobot
from recording_made import FRONT, encoded, filled, setup_of, ticks

from collectors.recorder import Recorder
from collectors.recording import journal as journals
from dataengine.errors import MachineError
from dataengine.store import Store
from dataengine.video import Encoder


def said(lines: tuple[str, ...], words: str) -> bool:
    return any(words in line for line in lines)


def test_a_slow_encoder_leaves_pictures_out_and_says_so_in_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot, add = FaultyRobot(), Encoder.add

    def slow(self: Encoder, frame: np.ndarray) -> None:
        time.sleep(0.01)
        add(self, frame)

    monkeypatch.setattr(Encoder, "add", slow)
    worst = 0.0
    with Recorder(tmp_path / "s", setup_of(robot), room_bytes=4 * 48 * 64 * 3) as recorder:
        take = recorder.start("pick")
        for tick in ticks(robot, 60):
            begin = time.thread_time()
            take.add(tick)
            worst = max(worst, time.thread_time() - begin)
            assert take._cameras[FRONT].waiting <= 4
        health = take.health()
        assert said(health.trouble, "encoder of front is too slow") and said(health.trouble, "ms a picture")
        assert health.cameras[FRONT].dropped > 10 and worst < 0.02
        take.keep(success=True)
    store = Store.open(tmp_path / "s")
    episode = store[0]
    dropped = episode.frames["collect.front.dropped"]
    assert episode.length == 60 and dropped.sum() == episode.meta.extra["collect"]["dropped"]["front"] > 10
    assert not dropped[0] and store.verify(deep=True).ok
    # a row without room shows the picture before, and its age says so
    shown = [int(n) for n in np.maximum.accumulate(np.where(dropped, 0, np.arange(60)))]
    np.testing.assert_allclose(episode.frames["collect.front.age"], 0.005 + (np.arange(60) - shown) / 30, atol=1e-5)
    for n, picture in enumerate(episode.clips[FRONT].frames()):
        assert abs(picture.astype(int) - robot.picture(FRONT, shown[n])).mean() < 6


def test_a_slow_disk_is_named_and_the_loop_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot, sync = FaultyRobot(), os.fsync

    def slow(descriptor: int) -> None:
        time.sleep(0.4)
        sync(descriptor)

    monkeypatch.setattr(journals, "SYNC_SECONDS", 0.05)
    monkeypatch.setattr("collectors.recording.health.DISK_SECONDS", 0.2)
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = recorder.start("pick")
        monkeypatch.setattr(os, "fsync", slow)
        trouble, begin = (), time.monotonic()
        for tick in ticks(robot, 1000):
            take.add(tick)
            time.sleep(0.005)
            if said(trouble := take.health().trouble, "disk is slow") or time.monotonic() > begin + 20:
                break
        assert said(trouble, "disk is slow")
        monkeypatch.undo()
        take.keep(success=True)
    assert Store.open(tmp_path / "s").verify().ok


def test_a_disk_that_stands_still_ends_the_take_before_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = FaultyRobot()
    monkeypatch.setattr(journals, "MOST_WAITING", 20_000)
    monkeypatch.setattr(journals, "FLUSH_SECONDS", 60)
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = recorder.start("pick")
        with pytest.raises(MachineError, match="has taken nothing"):
            for tick in ticks(robot, 500):
                take.add(tick)
        assert 5 < take.rows < 500 and said(take.health().trouble, "disk")
        rows = take.rows
        take.keep(success=None)
    episode = Store.open(tmp_path / "s")[0]
    assert episode.length == rows and "journal cannot be written" in episode.meta.extra["reason"]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ((Fault("stuck", "front", 20, 100),), "camera front has given no new picture for"),
        (tuple(Fault("stuck", "front", n, n + 2) for n in range(1, 100, 3)), "camera front is slow: 10 pictures"),
        ((Fault("stuck", STATE, 20, 100),), "robot's state is"),
    ],
)
def test_cameras_and_robots_that_are_too_slow_are_named(tmp_path: Path, faults: tuple[Fault, ...], words: str) -> None:
    robot = FaultyRobot(faults=faults)
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = encoded(filled(recorder, robot, 70))
        health = take.health()
        assert said(health.trouble, words) and len(health.trouble) == 1, health.trouble
        take.discard()


def test_a_late_loop_is_named_and_a_sound_take_has_no_trouble(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = encoded(filled(recorder, robot, 40))
        health = take.health()
        assert not health.trouble and 28 < health.rate < 32 and 28 < health.cameras[FRONT].rate < 32
        assert health.late_ms < 1 and health.missed == 0
        take.discard()
        take = encoded(filled(recorder, robot, 40, late=0.025))
        assert said(take.health().trouble, "loop is late: by 25 ms") and 24 < take.health().late_ms < 26
        take.keep(success=True)
        assert recorder.store.reload()[0].meta.extra["collect"]["late"] == 40
        take = encoded(filled(recorder, robot, 40, missed=lambda n: 5 * (n == 30)))
        assert said(take.health().trouble, "5 ticks of the last second are missing")
        take.discard()
