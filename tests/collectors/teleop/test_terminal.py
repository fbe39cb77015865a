"""Keys that work over SSH, signals, and the verb from beginning to end."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from collectors.teleop.launch import Wishes, _plan
from collectors.teleop.terminal import KEYS, orders_of
from dataengine.cli import app
from dataengine.errors import ConfigError
from dataengine.store import Store


def test_keys_mean_orders_and_arrows_are_no_escape() -> None:
    assert [order.name for order in orders_of(" dRu")] == ["next", "discard", "redo", "undo"]
    assert [order.name for order in orders_of("\x1b")] == ["estop"]
    assert orders_of("\x1b[A") == [] and orders_of("xyz\n") == []
    assert {order.name for order in KEYS.values()} >= {"next", "success", "failure", "estop", "release", "finish"}


def test_a_robot_or_the_world_not_both_and_not_neither() -> None:
    for wrong in ({"sim": True, "robot": Path("x.yaml")}, {}):
        with pytest.raises(ConfigError, match="either --sim"):
            Wishes(Path("store"), **wrong)


def test_what_is_wrong_is_said_before_anything_moves(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        return str(CliRunner().invoke(app, ["collect", "teleop", str(tmp_path / "s"), *arguments]).exception)

    assert "no task fly; it has pick_red" in said("--sim", "--task", "fly", "--headless")
    assert "there is no device 'joystik'" in said("--sim", "--device", "joystik")
    assert "parameters are key=value" in said("--sim", "--device", "expert:noise")
    assert "it needs a line `robot: NAME`" in said("--robot", _file(tmp_path, "fps: 3"))
    assert "LeRobot knows no 'x'; it has" in said("--robot", _file(tmp_path, "robot: lerobot\nconfig: {type: x}"))
    with pytest.raises(ConfigError, match="say what is to be done"):
        _plan(Wishes(tmp_path / "s", robot=Path("arm.yaml")), SimpleNamespace(fps=30.0))  # type: ignore[arg-type]
    assert not (tmp_path / "s").exists()


def _file(folder: Path, text: str) -> str:
    (folder / "robot.yaml").write_text(text)
    return str(folder / "robot.yaml")


COMMAND = (sys.executable, "-m", "dataengine", "collect", "teleop")
SMALL = ("--sim", "--task", "pick_red", "--set", "image_size=64", "--set", "cameras=[front]")


@pytest.mark.slow
def test_the_expert_records_without_a_page(tmp_path: Path) -> None:
    options = ("--headless", "--device", "expert", "--episodes", "2", "--reset-seconds", "0.1", "--seconds", "20")
    done = subprocess.run(
        [*COMMAND, str(tmp_path / "s"), *SMALL, *options], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "2 episodes" in done.stdout
    episodes = list(Store.open(tmp_path / "s").episodes())
    assert len(episodes) == 2 and all(episode.meta.tasks == ("pick up the red cube",) for episode in episodes)
    again = subprocess.run(
        [*COMMAND, str(tmp_path / "s"), *SMALL, *options], capture_output=True, text=True, timeout=120
    )
    assert "all 2 episodes are there" in again.stdout and again.returncode == 0


def test_keys_in_a_terminal_record_and_finish(tmp_path: Path) -> None:
    main, side = pty.openpty()
    running = subprocess.Popen(
        [*COMMAND, str(tmp_path / "s"), *SMALL, "--device", "expert", "--reset-seconds", "0.1"],
        stdin=side, stdout=side, stderr=side, close_fds=True,
    )  # fmt: skip
    os.close(side)
    try:
        assert "http://127.0.0.1" in _until(main, "space next", 90)
        for key, seconds in ((b" ", 3.0), (b" ", 1.0), (b"s", 0.3), (b"k", 3.0), (b"q", 0.0)):
            time.sleep(0.5)
            os.write(main, key)
            time.sleep(seconds)
        assert "1 episodes" in _until(main, "discarded", 60)
        assert running.wait(30) == 0
    finally:
        running.kill()
    (episode,) = list(Store.open(tmp_path / "s").episodes())
    assert episode.meta.success is True and episode.length > 20


def test_a_signal_ends_a_session_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, str(tmp_path / "s"), *SMALL, "--headless", "--device", "expert", "--seconds", "100"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list((tmp_path / "s").glob(".dataengine/journal/*.mcap")) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1.5)
    running.send_signal(signal.SIGTERM)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0 and "episodes" in said


def _until(file: int, words: str, seconds: float) -> str:
    """What comes until these words do."""
    seen, end = "", time.monotonic() + seconds
    while words not in seen and time.monotonic() < end:
        if select.select([file], [], [], 0.2)[0]:
            try:
                seen += os.read(file, 4096).decode(errors="replace")
            except OSError:
                break
    assert words in seen, seen
    return seen
