"""Robots of Gymnasium by a description: a small one in turned time; gym-hil's Panda and gym-aloha's arms themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from teleop_rig import MemoryRecorder, Rig, Told, TurnedClock

from collectors.teleop import build
from collectors.teleop.devices.keyboard import Keyboard
from collectors.teleop.messages import Input
from collectors.teleop.plan import Plan
from collectors.teleop.robots.gymnasium import GymnasiumRobot
from collectors.teleop.session import Session
from dataengine.errors import RobotError
from dataengine.store import Store

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "robots"


class Slider(gym.Env):  # type: ignore[misc]
    """A point that is to be brought beyond 0.3. meaning delta: the action is a step; absolute: where it shall be."""

    def __init__(self, delta: bool = True) -> None:
        self.delta = delta
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gym.spaces.Dict({"agent_pos": gym.spaces.Box(-9, 9, (2,), np.float32)})

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.at = np.zeros(2, np.float32) + 0.01 * (seed or 0)
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.at = self.at + action if self.delta else np.array(action)
        won = bool(self.at[0] > 0.3)
        return self._seen(), float(self.at[0]), won, False, {"is_success": won}

    def _seen(self) -> dict[str, Any]:
        picture = np.full((32, 40, 3), int(100 + 50 * self.at[0]) % 256, np.uint8)
        return {"agent_pos": self.at.copy(), "pixels": {"top": picture}}


if "tests/Slider-v0" not in gym.registry:
    gym.register("tests/Slider-v0", entry_point=Slider)


def slider(**more: Any) -> GymnasiumRobot:
    known = {
        "action": ("slide.dx", "grip"), "meaning": "delta", "units": ("m", "1"), "fps": 10.0,
        "cameras": {"top": "pixels.top"}, "twist": {"x": {"to": "slide.dx", "by": 0.1}},
        "gripper": {"to": "grip", "closed": 0.0, "open": 1.0}, "beside": False,
    }  # fmt: skip
    return GymnasiumRobot("tests/Slider-v0", **{**known, **more})


def test_a_description_becomes_features() -> None:
    robot = slider()
    with pytest.raises(RobotError, match="once it is connected"):
        _ = robot.features
    robot.connect()
    features = robot.features
    assert features["action"].names == ("slide.dx", "grip") and features["action"].control == "delta"
    assert features["observation.state"].shape == (2,)
    assert features["observation.images.top"].shape == (32, 40, 3)


def test_the_page_s_keys_drive_what_moves_by_steps() -> None:
    clock = TurnedClock()
    robot = slider()
    robot.now = clock.now
    made = Rig(robot, Keyboard(), Plan(fps=10.0, seconds=60, reset_seconds=0.2), MemoryRecorder(), clock).run(0.3)
    made.order("start")
    assert made.session.status().instruction == "do the task"
    for n in range(40):
        made.session.input(Input("keyboard", n, float(n), keys=("KeyW",)))
        made.session.tick(made.metronome.wait())
    assert made.session.status().progress == 1.0
    made.session.input(Input("keyboard", 99, 99.0))
    made.order("stop").order("keep")
    (episode,) = made.recorder.episodes
    assert episode["success"] is True
    steps = np.array([tick.action for tick in episode["ticks"]])
    assert steps[5:30, 0] == pytest.approx(0.015, abs=1e-6)  # 0.15 m/s, a tenth of a second
    assert (steps[:, 1] == 1.0).all()


def test_silence_and_a_hold_mean_no_step_where_actions_are_steps() -> None:
    robot = slider()
    robot.connect()
    robot.act(np.array([0.5, 0.0], np.float32))
    assert robot.hold().tolist() == [0.0, 0.0]
    held = slider(meaning="absolute", kwargs={"delta": False}, hold_from=(0, 1), gripper={})
    held.connect()
    held.act(np.array([0.25, 0.5], np.float32))
    assert held.hold().tolist() == [0.25, 0.5]


def test_an_environment_that_has_ended_waits_for_its_reset() -> None:
    robot = slider()
    robot.connect()
    for _ in range(5):
        robot.act(np.array([0.2, 1.0], np.float32))
    assert robot.verdict()["success"] and robot.observe()["observation.state"].value[0] == pytest.approx(0.4)
    robot.reset(7)
    assert not robot.verdict()["success"] and robot.observe()["observation.state"].value[0] == pytest.approx(0.07)


def test_what_a_description_gets_wrong_is_named() -> None:
    with pytest.raises(RobotError, match=r"instead of 'front' there is top"):
        slider(cameras={"front": "pixels.front"}).connect()
    with pytest.raises(RobotError, match="2 numbers of state and 2 of action, not 2 and 3"):
        slider(action=("a", "b", "grip")).connect()
    with pytest.raises(RobotError, match="cannot be made"):
        GymnasiumRobot("tests/Nowhere-v0", beside=False).connect()
    with pytest.raises(RobotError, match="the action has no 'z'"):
        robot = slider(twist={"z": {"to": "z", "by": 1.0}})
        robot.connect()
        robot.steer(np.ones(6), None)


ALOHA = pytest.param("gym_aloha", "gym_aloha", marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "package"), [("gym_hil_panda", "gym_hil"), ALOHA])
def test_the_worlds_of_lerobot_are_recorded_in(name: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    small = {"kwargs": {"obs_type": "pixels_agent_pos", "observation_width": 64, "observation_height": 48}}
    robot, facts = build.robot_of(EXAMPLES / f"{name}.yaml", small if package == "gym_aloha" else {})
    assert isinstance(robot, GymnasiumRobot)
    at = {"rest": np.zeros(0)}

    def wave(now: float) -> np.ndarray:
        return at["rest"] + 0.02 * np.sin(4 * now)

    plan = Plan(fps=5.0, instruction=robot.instruction, target=1, seconds=2.5, reset_seconds=0.0, alone=True)
    with build.session(tmp_path / "store", robot, {"told": Told(wave, autonomous=True)}, plan, facts=facts) as session:
        at["rest"] = robot.hold().astype(np.float64)
        _driven(session)
    (episode,) = list(Store.open(tmp_path / "store").episodes())
    size = {"gym_hil": (18, 7, 2), "gym_aloha": (14, 14, 1)}[package]
    assert (episode.features["observation.state"].size, episode.features["action"].size, len(episode.clips)) == size
    assert episode.meta.embodiment in ("franka_panda", "aloha") and episode.length >= 3
    assert episode.meta.tasks == (robot.instruction,)


def _driven(session: Session) -> None:
    """Run it to its end; a drawing context belongs to one thread, whichever that is."""
    build.run(session)
    assert session.status().kept == 1
