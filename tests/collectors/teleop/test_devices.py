"""Devices of the page, driven by what a real browser sent: the recorded traces move the arm as hands had meant it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from teleop_rig import MemoryRecorder, Rig, TurnedClock, rig, trace

from collectors.teleop.devices.gamepad import Gamepad
from collectors.teleop.devices.keyboard import Keyboard
from collectors.teleop.devices.phone import Phone
from collectors.teleop.devices.pointer import Pointer, Touch
from collectors.teleop.devices.whatever import Page
from collectors.teleop.messages import Input
from collectors.teleop.plan import Plan
from collectors.teleop.robots.world import WorldRobot
from dataengine import plugins
from dataengine.errors import RobotError

KINDS = {"keyboard": Keyboard, "pointer": Pointer, "touch": Touch, "gamepad": Gamepad, "phone": Phone}


def world(device: Any, task: str = "pick_red", seed: int = 3, arm: Any = "five") -> Rig:
    """A session in the embedded world in turned time, without pictures."""
    clock = TurnedClock()
    robot = WorldRobot(arm=arm, cameras=(), task=task)
    robot.now = clock.now
    plan = Plan(tasks=(task,), seed=seed, reset_seconds=0.2)
    return Rig(robot, device, plan, MemoryRecorder(), clock).run(0.3)


def play(made: Rig, name: str, to: float = np.inf) -> list[tuple[float, np.ndarray, str]]:
    """Give the session a trace as time goes by: time since its start, measured state and actor of every tick."""
    begin, waiting, found = made.clock.now(), trace(name), []
    end = min(waiting[-1][0], to) + 0.9
    while made.clock.now() - begin < end:
        while waiting and waiting[0][0] <= min(made.clock.now() - begin, to):
            made.session.input(waiting.pop(0)[1])
        made.session.tick(made.metronome.wait())
        state = made.robot.observe()["observation.state"].value
        found.append((made.clock.now() - begin, state[5:].copy(), made.session.drive.actor))
    return found


def moved(path: list[tuple[float, np.ndarray, str]], since: float, until: float) -> np.ndarray:
    """How far x, y, z, yaw and opening went between two times."""
    inside = [state for when, state, _ in path if since <= when <= until]
    change: np.ndarray = inside[-1] - inside[0]
    return change


@pytest.mark.parametrize("device", ["own", "page"])
def test_keys_move_the_tool_as_the_picture_shows_it(device: str) -> None:
    path = play(world(Keyboard() if device == "own" else Page()), "keyboard")
    away = moved(path, 0.0, 0.95)
    assert away[0] < -0.05 and abs(away[1]) < 0.02  # W: away from whoever looks, to the base
    left = moved(path, 1.1, 1.5)
    assert left[1] < -0.02  # A and W together; there is no room further away
    grip = moved(path, 1.7, 2.3)
    assert grip[4] < -0.9  # G closes
    up = moved(path, 2.2, 2.9)
    assert 0.008 < up[2] < 0.05  # Shift and R: slowly up
    assert {actor for _, _, actor in path[40:]} == {"keyboard"}


@pytest.mark.parametrize("device", ["own", "page"])
def test_what_is_dragged_the_tool_does(device: str) -> None:
    path = play(world(Pointer() if device == "own" else Page()), "pointer")
    over = moved(path, 0.0, 1.2)
    assert over[1] > 0.03 and over[0] < -0.015 and abs(over[2]) < 0.02  # right and up in the picture
    whole = moved(path, 0.0, 4.0)
    assert whole[2] > 0.04  # right drag upwards, then the wheel
    assert whole[4] < -0.9  # a click closes
    assert abs(whole[0] - over[0]) < 0.03


def test_fingers_do_what_a_mouse_does() -> None:
    path = play(world(Touch()), "touch")
    over = moved(path, 0.0, 1.2)
    assert over[1] > 0.03 and over[0] < -0.015
    whole = moved(path, 0.0, 5.0)
    assert whole[2] > 0.03 and whole[4] < -0.9


def test_sticks_trigger_and_button() -> None:
    path = play(world(Gamepad()), "gamepad")
    assert moved(path, 0.0, 0.7)[0] < -0.04  # left stick forward
    assert moved(path, 0.8, 1.2)[1] > 0.015  # and to the right
    assert moved(path, 1.25, 1.7)[2] > 0.015  # right stick up
    closed = min(state[4] for when, state, _ in path if 1.7 < when < 2.3)
    assert closed < 0.1  # A closes
    half = [state[4] for when, state, _ in path if 2.3 < when < 2.6][-1]
    assert 0.35 < half < 0.65  # half the trigger
    assert path[-1][1][4] > 0.9  # let go: open


def test_a_phone_that_is_tilted_and_turned() -> None:
    path = play(world(Phone()), "phone")
    tilt = moved(path, 0.0, 0.6)
    assert tilt[0] < -0.01 and abs(tilt[1]) < 0.02  # the top tilted down: away
    assert moved(path, 0.5, 1.2)[3] > 0.1  # turned to the left
    whole = moved(path, 0.0, 10.0)
    assert whole[2] > 0.02 and whole[4] < -0.9  # up, and the gripper is closed


@pytest.mark.parametrize("name", KINDS)
def test_letting_go_stops_and_silence_holds(name: str) -> None:
    made = world(KINDS[name]())
    play(made, name, to=0.35)  # then the page is gone, with everything still pressed
    assert made.session.holding.startswith("no command from")
    before = made.robot.observe()["observation.state"].value
    made.run(1.0)
    assert made.robot.observe()["observation.state"].value == pytest.approx(before, abs=0.01)


def test_the_trace_of_a_pick_solves_the_task_and_the_world_says_so() -> None:
    made = world(Keyboard(), seed=3)
    made.order("start")
    play(made, "keyboard_pick")
    made.order("stop").order("keep")
    (episode,) = made.recorder.episodes
    assert episode["success"] is True and episode["task"] == "pick up the red cube"
    assert {tick.actor for tick in episode["ticks"]} == {"keyboard"}
    path = np.array([tick.action for tick in episode["ticks"]], np.float64)
    assert np.abs(np.diff(path[:, :3], axis=0)).max() * 30 <= 0.8


def test_devices_tell_whom_they_cannot_drive() -> None:
    with pytest.raises(RobotError, match="use a leader arm"):
        Keyboard().start(rig().robot)


def test_a_quick_click_between_two_ticks_is_not_lost() -> None:
    made = world(Pointer())
    for seq, button in enumerate((0.0, 1.0, 0.0)):
        made.session.input(Input("pointer", seq, float(seq), axes=(0.0, 0.0, 0.0), buttons=(button, 0.0, 0.0)))
    made.run(1.0)
    assert made.robot.observe()["observation.state"].value[-1] < 0.1


def test_a_state_that_is_older_than_the_newest_is_dropped() -> None:
    made = world(Keyboard())
    made.session.input(Input("keyboard", 5, 0.0, keys=("KeyW",)))
    made.session.input(Input("keyboard", 4, 0.0))
    newest = made.session.inputs.newest("keyboard")
    assert newest is not None and newest[0].keys == ("KeyW",)
    assert made.session.inputs.echo() == {"keyboard": 0.0}


def test_every_device_is_found_by_its_name() -> None:
    found = plugins.parts("devices")
    assert {*KINDS, "page", "lerobot", "expert", "policy"} <= set(found)
    for name in (*KINDS, "page", "expert", "policy"):
        device = plugins.make("devices", name)
        assert device.name == name
