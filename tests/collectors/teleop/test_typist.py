"""The program at the keyboard: what it presses, that it gets things done, and that nothing is wrong with its data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from teleop_rig import MemoryRecorder, Rig, TurnedClock, rig
from typer.testing import CliRunner

from annotators.quality import assess, learn, measure
from annotators.quality.grade import objective
from collectors.teleop.devices.keyboard import GRIP, MOVES, SLOW
from collectors.teleop.devices.typist import FINGERS, KEYS, Typist
from collectors.teleop.launch import Wishes
from collectors.teleop.plan import Plan
from collectors.teleop.robots.world import WorldRobot
from dataengine.cli import app
from dataengine.errors import ConfigError, RobotError
from dataengine.store import Store


def driven(
    task: str, seed: int, arm: str = "six", fps: float = 10.0, **how: float
) -> tuple[list[tuple[str, ...]], Rig]:
    """The keys of every tick of one episode, and the session it happened in."""
    clock, pressed = TurnedClock(), []
    robot = WorldRobot(arm=arm, fps=fps, cameras=(), task=task, beside=False)  # type: ignore[arg-type]
    robot.now = clock.now
    typist = Typist(seed=seed, **how)
    plan = Plan(fps=fps, tasks=(task,), seed=seed, target=1, seconds=60, reset_seconds=0.2, alone=True)
    made = Rig(robot, typist, plan, MemoryRecorder(), clock)
    while made.phase != "done" and clock.now() < 1070:
        made.run(1 / fps)
        newest = typist._keyboard.inputs.newest("keyboard") if made.phase == "recording" else None
        pressed += [newest[0].keys] if newest else []
    return pressed, made


@pytest.mark.parametrize(
    ("task", "arm", "fps"),
    [
        ("pick_red", "five", 10.0),
        ("stack_red_on_blue", "six", 30.0),
        ("drawer_red_cube", "six", 10.0),
        ("pour", "six", 10.0),
    ],
)
def test_it_gets_things_done_by_keys(task: str, arm: str, fps: float) -> None:
    pressed, made = driven(task, 5, arm, fps)
    (episode,) = made.recorder.episodes
    assert episode["success"] is True
    assert {tick.actor for tick in episode["ticks"]} == {"typist"}
    assert set(np.concatenate([keys for keys in pressed if keys])) <= {*MOVES, GRIP, SLOW[0]}
    assert max(len(set(keys) - set(SLOW)) for keys in pressed) <= FINGERS + 1  # one of them by mistake


def test_a_person_starts_stops_and_waits_and_no_two_alike() -> None:
    pressed, _ = driven("pick_red", 3)
    nothing = [not keys for keys in pressed]
    assert 0.03 < np.mean(nothing) < 0.8
    again, other = driven("pick_red", 3)[0], driven("pick_red", 3, reaction=0.1)[0]
    assert again == pressed and other != pressed


def test_keys_of_an_axis_are_opposite() -> None:
    for axis, (back, forth) in enumerate(KEYS):
        assert np.array_equal(np.eye(6)[axis], MOVES[forth]) and np.array_equal(MOVES[back], -np.array(MOVES[forth]))


def test_it_says_whom_it_cannot_drive() -> None:
    with pytest.raises(RobotError, match="looks at the embedded world"):
        Typist().start(rig().robot)
    with pytest.raises(RobotError, match="reaction is 0 to 1 s"):
        Typist(reaction=-1)


def test_simulated_time_is_for_worlds_that_nobody_watches() -> None:
    for options in ({"sim": True}, {"robot": Path("x.yaml"), "headless": True}):
        with pytest.raises(ConfigError, match="needs --sim and --headless"):
            Wishes(Path("store"), simulated_time=True, **options)  # type: ignore[arg-type]


def test_its_demonstrations_are_recorded_in_simulated_time_and_are_sound(tmp_path: Path) -> None:
    tasks = ("--task", "pick_red", "--task", "place_blue", "--task", "open_drawer")
    world = ("--set", "arm=six", "--set", "image_size=48", "--set", "cameras=[front]", "--fps", "15", "--seed", "2")
    options = (
        "--sim",
        "--headless",
        "--simulated-time",
        "--device",
        "typist:slips=0",
        "--episodes",
        "6",
        "--seconds",
        "60",
    )
    done = CliRunner().invoke(app, ["collect", "teleop", str(tmp_path / "s"), *options, *world, *tasks])
    assert done.exit_code == 0, done.output
    episodes = list(Store.open(tmp_path / "s").episodes())
    assert len(episodes) == 6 and sum(e.meta.success is True for e in episodes) >= 5
    for episode in episodes:
        assert np.allclose(np.diff(episode.frames["collect.timestamp"]), 1 / 15, atol=1e-6)
        assert not episode.frames["collect.missed"].any() and not episode.frames["collect.front.repeated"].any()
    reference = learn([measure(e) for e in episodes])
    found = [f for e in episodes for f in objective(assess(e, reference))]
    # Six episodes are too few to say what trembles: who tilts the tool in one of them only has no peers.
    assert [f"{f.check}: {f.reason}" for f in found if f.check != "noise"] == []
