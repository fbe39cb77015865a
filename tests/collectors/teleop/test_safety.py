"""Whatever goes wrong, the robot is held within 250 ms, nothing that was recorded is lost, and the session goes on."""

from __future__ import annotations

import numpy as np
import pytest
from faulty_robot import Fault
from teleop_rig import Rig, Told, TurnedClock, rig

from collectors.teleop.plan import Plan
from collectors.teleop.safety import DEADMAN, Watchdog, check_hold, check_robot
from dataengine.episode import Feature
from dataengine.errors import RobotError

PLAN = Plan(instruction="x", reset_seconds=0.5, seconds=60.0)


def wave(now: float) -> np.ndarray:
    return 0.3 * np.sin(2 * now + np.arange(6))


def recording(**more: object) -> Rig:
    """A session that has recorded for a second."""
    return rig(PLAN, Told(wave), **more).order("start").run(1.0)  # type: ignore[arg-type]


def test_a_device_that_falls_silent_holds_the_robot_within_the_dead_man_s_time() -> None:
    made = recording()
    made.session.drive.device.until = silent = made.clock.now()
    made.robot.held.clear()
    made.run(1.0)
    assert made.robot.held and made.robot.held[0] - silent <= DEADMAN + 1e-9
    later = np.array([action for when, action in made.robot.acted if when > made.robot.held[0]])
    assert len(later) > 10 and (later == later[0]).all()
    assert made.phase == "recording"  # what it did is in the data; nobody is punished for a hiccup
    assert any("no command from told" in line for line in made.session.status().trouble)


def test_it_goes_on_slowly_when_the_device_speaks_again() -> None:
    made = recording()
    device = made.session.drive.device
    device.until = made.clock.now()
    made.run(1.0)
    device.says, device.until = lambda now: np.full(6, 1.0), np.inf
    before = len(made.robot.acted)
    made.run(0.5)
    path = np.array([action for _, action in made.robot.acted[before - 1 :]], np.float64)
    assert np.abs(np.diff(path, axis=0)).max() * 30 <= 0.2 * 2.5 + 1e-3
    assert made.session.holding == ""


def test_a_device_that_never_spoke_moves_nothing() -> None:
    made = rig(PLAN, Told(lambda now: None)).order("start").run(1.0)
    assert len({action.tobytes() for _, action in made.robot.acted}) == 1


@pytest.mark.parametrize("phase", ["ready", "recording", "review", "reset"])
def test_the_emergency_stop_holds_at_once_and_only_a_release_goes_on(phase: str) -> None:
    made = rig(PLAN, Told(wave))
    for order in {"ready": [], "recording": ["start"], "review": ["start", "stop"],
                  "reset": ["start", "stop", "keep"]}[phase]:  # fmt: skip
        made.order(order).run(0.1)
    made.robot.held.clear()
    pressed = made.clock.now()
    made.session.stop_now()
    made.run(0.1)
    assert made.phase == "held" and made.robot.held[0] - pressed <= 0.04
    moved = len(made.robot.acted)
    made.order("next").order("start").run(1.0)
    assert made.phase == "held" and len(made.robot.acted) == moved
    made.order("release").run(0.1)
    assert made.phase == ("review" if phase in ("recording", "review") else "ready")
    assert len(made.robot.acted) > moved


def test_what_was_recorded_before_the_stop_can_be_kept_and_is_marked() -> None:
    made = recording()
    made.order("estop").order("keep").run(0.1)
    (episode,) = made.recorder.episodes
    assert episode["rows"] >= 29 and episode["flagged"] and "emergency stop" in episode["note"]
    assert made.phase == "held"


def test_the_watchdog_holds_a_robot_whose_loop_is_stuck() -> None:
    made = recording(faults=(Fault("late", start=60, amount=2.0),))
    made.robot.held.clear()
    stuck = None
    while made.clock.now() < 1006:
        before = made.clock.now()
        made.session.tick(made.metronome.wait())
        if made.clock.now() - before > 1:
            stuck = before
            break
    assert stuck is not None and made.session.watchdog.bites == 1
    assert made.robot.held[0] - stuck <= 0.25 + 1 / 30
    made.run(0.3)
    assert made.session.status().missed >= 55 and made.phase == "recording"
    missed = [tick.missed for tick in made.session.desk._take.ticks]  # type: ignore[union-attr]
    assert sum(missed) >= 55  # every one is marked


def test_a_jump_is_refused_and_holds_if_it_stays() -> None:
    made = recording()
    made.session.drive.device.says = lambda now: wave(now) + 2.5
    before = made.robot.acted[-1][1]
    made.run(0.1)
    assert np.abs(made.robot.acted[-1][1] - before).max() < 0.2
    assert made.phase == "recording" and "jumped" in made.session.holding
    made.run(0.4)
    assert made.phase == "held"
    assert any("jumped" in line for line in made.session.status().trouble)


def test_one_spike_of_a_device_changes_nothing() -> None:
    made = recording()
    spike = made.clock.now() + 0.1
    made.session.drive.device.says = lambda now: wave(now) + (2.5 if abs(now - spike) < 0.02 else 0.0)
    made.run(1.0)
    assert made.phase == "recording" and made.session.holding == ""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault("nan", start=60, stop=64), "observation.state answers NaN"),
        (Fault("gone", start=60, stop=64), "does not answer"),
        (Fault("stuck", start=60, stop=90), "observation.state has stood still"),
        (Fault("stuck", "front", start=60, stop=110), "camera front has stood still"),
        (Fault("silent", "observation.state", start=60, stop=64), "gives nothing"),
        (Fault("silent", "front", start=60, stop=110), "camera front has stood still"),
        (Fault("shape", start=60, stop=64), "it was set up anew"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_fault_keeps_the_episode_up_to_there_and_the_session_goes_on(fault: Fault, words: str) -> None:
    made = recording(faults=(fault,))
    made.robot.held.clear()
    while made.phase == "recording":
        last = made.clock.now()
        made.run(1 / 30)
    assert made.phase == "fault"
    assert made.robot.held and made.robot.held[0] - last <= 0.25
    (episode,) = made.recorder.episodes
    assert episode["rows"] >= 30 and episode["flagged"] and words in episode["note"] and words in episode["why"]
    assert any(words in line for line in made.session.status().trouble)
    made.run(3.0)
    assert made.phase in ("reset", "ready")
    made.run(1.0).order("start").run(0.5).order("stop").order("keep")
    assert len(made.recorder.episodes) == 2 and not made.recorder.episodes[1]["flagged"]


def test_a_lost_robot_is_looked_for_again_and_again_with_longer_pauses() -> None:
    made = recording(faults=(Fault("gone", start=60, stop=61),))
    made.robot.lost = made.clock.now() + 12.0
    tried: list[float] = []
    connect = made.robot.connect

    def trying() -> None:
        tried.append(made.clock.now())
        connect()

    made.robot.connect = trying
    made.run(10.0)
    assert made.phase == "fault" and any("plug it in" in line for line in made.session.status().trouble)
    gaps = np.diff(tried)
    assert len(tried) >= 3 and (np.diff(gaps) > 0).all()
    made.run(12.0)
    assert made.phase in ("reset", "ready")


def test_a_clock_that_jumps_is_said_and_ends_nothing() -> None:
    made = recording(faults=(Fault("clock_ahead", start=60, stop=62, amount=30.0),))
    made.run(1.0)
    assert made.phase == "recording"
    assert any("clock of observation.state jumped" in line for line in made.session.status().trouble)


def test_a_short_take_of_a_broken_robot_is_thrown_away() -> None:
    made = rig(PLAN, Told(wave), faults=(Fault("gone", start=12, stop=13),)).order("start").run(0.4)
    assert made.recorder.episodes == [] and made.recorder.thrown == 1


def test_before_the_first_motion_names_limits_and_place_are_checked() -> None:
    made = rig(PLAN)
    check_robot(made.robot)
    action = Feature("float32", (2,), ("a", "b"), "action", "rad")
    with pytest.raises(RobotError, match=r"outside its limits: b is 2, not -1 to 1"):
        check_hold(np.array([0.0, 2.0]), action, -np.ones(2), np.ones(2))
    with pytest.raises(RobotError, match="calibrate"):
        check_hold(np.array([0.0, np.nan]), action, -np.ones(2), np.ones(2))
    made.robot.fps = 0.0
    with pytest.raises(RobotError, match="1 to 1000"):
        check_robot(made.robot)


def test_a_robot_that_stands_outside_its_limits_is_not_moved() -> None:
    clock = TurnedClock()
    made = rig(PLAN, clock=clock)
    made.robot.limits = {"low": 1.0, "high": 2.0}
    made.robot.acted.clear()
    made.session.course.prepare()
    made.run(0.3)
    assert made.phase == "fault" and made.robot.acted == []
    assert any("outside its limits" in line for line in made.session.status().trouble)


def test_the_watchdog_bites_once_and_rests_when_told() -> None:
    clock, bites = TurnedClock(), []
    dog = Watchdog(lambda: bites.append(clock.now()), clock.now)
    clock.watchers.append(dog.check)
    clock.spend(5)
    assert bites == []  # nothing has beaten yet
    dog.beat()
    clock.spend(5)
    assert len(bites) == 1 and dog.beat() and not dog.beat()
    dog.rest()
    clock.spend(5)
    assert len(bites) == 1
    dog.demand()
    clock.spend(0.02)
    assert len(bites) == 2


def test_the_watchdog_s_own_thread_needs_no_loop() -> None:
    import time

    bites: list[float] = []
    dog = Watchdog(lambda: bites.append(time.monotonic()), time.monotonic)
    dog.start()
    begin = time.monotonic()
    dog.beat()
    time.sleep(0.4)
    dog.stop()
    assert len(bites) == 1 and bites[0] - begin < 0.35
