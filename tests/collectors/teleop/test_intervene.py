"""The expert, a policy, and a person who takes over from them: who acted stands in every row, and nothing jumps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from teleop_rig import MemoryRecorder, Rig, TurnedClock, rig

from collectors.teleop.build import actors_of
from collectors.teleop.devices.expert import ExpertDevice
from collectors.teleop.devices.intervene import Intervene
from collectors.teleop.devices.keyboard import Keyboard
from collectors.teleop.devices.policy import PolicyDevice
from collectors.teleop.devices.whatever import Page
from collectors.teleop.messages import Input
from collectors.teleop.plan import Plan
from collectors.teleop.robots.world import WorldRobot
from dataengine.errors import RobotError
from dataengine.robot import Device


def world(device: object, **plan: object) -> Rig:
    clock = TurnedClock()
    robot = WorldRobot(cameras=(), task="pick_red")
    robot.now = clock.now
    known = {"tasks": ("pick_red",), "seed": 5, "reset_seconds": 0.2, **plan}
    return Rig(robot, device, Plan(**known), MemoryRecorder(), clock).run(0.3)  # type: ignore[arg-type]


def press(made: Rig, seconds: float, *keys: str) -> None:
    """Hold keys for a while, then let go."""
    end = made.clock.now() + seconds
    while made.clock.now() < end:
        made.session.input(Input("keyboard", int(made.clock.now() * 1000), 0.0, keys=keys))
        made.session.tick(made.metronome.wait())
    made.session.input(Input("keyboard", int(made.clock.now() * 1000) + 1, 0.0))


@pytest.mark.parametrize("fps", [10.0, 30.0])
def test_the_expert_alone_solves_its_task_at_any_rate(fps: float) -> None:
    clock = TurnedClock()
    robot = WorldRobot(cameras=(), task="pick_red", fps=fps)
    robot.now = clock.now
    plan = Plan(fps=fps, tasks=("pick_red",), target=5, alone=True, reset_seconds=0.2, seconds=20.0)
    made = Rig(robot, ExpertDevice(noise=0.002), plan, MemoryRecorder(), clock).run(120.0)
    assert [episode["success"] for episode in made.recorder.episodes] == [True] * 5
    assert {tick.actor for episode in made.recorder.episodes for tick in episode["ticks"]} == {"expert"}
    assert len({episode["extra"]["seed"] for episode in made.recorder.episodes}) == 5


def test_an_expert_waits_until_something_is_recorded() -> None:
    made = world(ExpertDevice()).run(2.0)
    before = made.robot.observe()["observation.state"].value
    made.run(1.0)
    assert made.robot.observe()["observation.state"].value == pytest.approx(before, abs=1e-3)


def test_a_key_takes_over_an_order_hands_back_and_rows_say_who_acted() -> None:
    made = world(Intervene(ExpertDevice(), Keyboard())).order("start").run(0.5)
    press(made, 0.7, "KeyR")
    made.run(0.6)  # still the person's, who makes it stay
    made.order("handback").run(4.0)
    made.order("stop").order("keep")
    (episode,) = made.recorder.episodes
    assert episode["success"] is True
    acted = [(tick.actor, tick.intervention) for tick in episode["ticks"]]
    changes = [one for one, before in zip(acted, [None, *acted], strict=False) if one != before]
    assert changes == [("expert", False), ("keyboard", True), ("expert", False)]
    held = acted.count(("keyboard", True)) / 30
    assert 1.1 < held < 1.6
    path = np.array([tick.action for tick in episode["ticks"]], np.float64)
    assert np.abs(np.diff(path[:, :3], axis=0)).max() * 30 <= 0.8 + 1e-3


def test_an_order_takes_over_without_a_key() -> None:
    made = world(Intervene(ExpertDevice(), Keyboard())).order("start").run(0.3).order("takeover")
    before = made.run(0.5).robot.observe()["observation.state"].value
    made.run(0.5)
    assert made.robot.observe()["observation.state"].value == pytest.approx(before, abs=2e-3)
    assert made.session.status().actor == "keyboard"
    assert "acts alone" in world(ExpertDevice()).order("takeover").said


def test_the_base_comes_back_by_itself_where_that_was_asked_for() -> None:
    made = world(Intervene(ExpertDevice(), Keyboard(), return_after=0.5)).order("start").run(0.2)
    press(made, 0.3, "KeyR")
    assert made.session.status().actor == "keyboard"
    assert made.run(1.0).session.status().actor == "expert"


class Chunks:
    """A policy of three actions at a time, each 0.01 further."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        self.asked.append(instruction)
        return observation["observation.state"][None] + 0.01 * np.arange(1, 4)[:, None]


def test_a_policy_s_chunks_run_out_over_ticks_and_begin_anew_with_every_episode() -> None:
    policy = Chunks()
    device = PolicyDevice("chunks", instruction="go", made=policy)
    made = rig(Plan(instruction="go", reset_seconds=0.2), device).order("start").run(1.0)
    assert policy.asked and set(policy.asked) == {"go"}
    rows = made.session.desk.rows
    assert len(policy.asked) == pytest.approx(rows / 3, abs=2)
    first = PolicyDevice("chunks", execute=1, made=Chunks())
    first.start(made.robot)
    for _ in range(4):
        first.read(0.0, made.robot.observe())
    assert len(first.made.asked) == 4


def test_a_policy_of_another_robot_is_refused() -> None:
    policy = Chunks()
    policy.action = rig().robot.features["observation.state"].__class__("float32", (1,), ("x",), "action")  # type: ignore[attr-defined]
    with pytest.raises(RobotError, match="the policy acts with x, the robot with joint_0"):
        PolicyDevice("chunks", made=policy).start(rig().robot)


@pytest.mark.parametrize("device", [Page(), Intervene(ExpertDevice(), Page())])
def test_who_acts_is_known_to_the_recorder_before_anybody_does(device: Device) -> None:
    """A row before the first key, or just after an order to take over, names somebody whom the dataset knows."""
    made = world(device).order("start").run(0.2).order("takeover").run(0.2).order("stop").order("keep")
    (episode,) = made.recorder.episodes
    acted = {tick.actor for tick in episode["ticks"]}
    assert acted and acted <= set(actors_of({device.name: device}))
