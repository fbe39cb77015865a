"""What a person can do with a session, phase by phase, and what becomes of the episodes."""

from __future__ import annotations

import numpy as np
import pytest
from teleop_rig import MemoryRecorder, Rig, Told, TurnedArm, TurnedClock, rig

from collectors.teleop.messages import ORDERS, Order, Sitting
from collectors.teleop.plan import Plan
from collectors.teleop.session import Session
from dataengine.errors import ConfigError

PLAN = Plan(instruction="wipe the table", reset_seconds=1.0, seconds=5.0, target=3)


def wave(now: float) -> np.ndarray:
    return 0.3 * np.sin(now + np.arange(6))


def test_a_session_is_what_a_page_expects() -> None:
    assert isinstance(rig().session, Session)
    sitting: Sitting = rig().session
    assert sitting.status().to_json()


def test_one_pedal_is_enough_for_the_whole_round() -> None:
    made = rig(PLAN)
    assert made.phase == "ready"
    assert made.order("next").phase == "recording"
    made.run(1.0)
    assert made.order("next").phase == "review"
    assert made.order("next").phase == "reset"
    assert made.order("next").phase == "ready"
    (episode,) = made.recorder.episodes
    assert 30 <= episode["rows"] <= 35
    assert (episode["task"], episode["success"], episode["flagged"]) == ("wipe the table", None, False)


def test_rows_are_the_ticks_of_the_clock_in_order() -> None:
    made = rig(PLAN, Told(wave))
    made.order("start").run(1.0).order("stop").order("keep")
    ticks = made.recorder.episodes[0]["ticks"]
    assert np.allclose(np.diff([tick.due for tick in ticks]), 1 / 30)
    assert {tick.actor for tick in ticks} == {"told"}
    assert all(np.array_equal(tick.action, tick.sent) for tick in ticks)
    assert not any(tick.intervention or tick.missed for tick in ticks)


def test_the_reset_ends_by_its_own_timer_and_shows_it() -> None:
    made = rig(PLAN)
    made.order("start").run(0.5).order("stop").order("discard")
    status = made.run(0.2).session.status()
    assert status.phase == "reset" and 0.3 < status.reset_left < 0.9
    assert made.run(1.0).phase == "ready"
    assert made.recorder.thrown == 1 and made.session.status().discarded == 1


def test_an_episode_ends_after_its_longest_time() -> None:
    made = rig(PLAN).order("start").run(5.2)
    assert made.phase == "review" and "5 s" in made.said


def test_words_and_judgements_go_with_the_episode() -> None:
    made = rig(PLAN).order("start").run(0.5)
    made.order("instruct", "wipe the desk").order("success").order("note", "slipped once").order("flag")
    made.order("stop").order("failure").order("keep")
    (episode,) = made.recorder.episodes
    assert (episode["task"], episode["success"], episode["note"]) == ("wipe the desk", False, "slipped once")
    assert episode["flagged"]
    assert made.session.status().instruction == "wipe the desk"  # of the next one too


def test_undo_takes_the_last_kept_one_back() -> None:
    made = rig(PLAN)
    for _ in range(2):
        made.order("start").run(0.5).order("stop").order("keep").run(1.2)
    assert made.session.status().kept == 2
    assert made.order("undo").session.status().kept == 1 and "taken out" in made.said
    made.order("undo").order("undo")
    assert "nothing left" in made.said


def test_counting_goes_on_where_the_dataset_stands() -> None:
    made = rig(Plan(instruction="x", target=50, reset_seconds=0.5), recorder=MemoryRecorder(earlier=36))
    status = made.session.status()
    assert (status.kept, status.target) == (36, 50)
    made.order("start").run(0.5).order("stop").order("keep").run(0.2)
    assert made.session.status().kept == 37


def test_a_rehearsal_records_nothing_and_says_so() -> None:
    made = rig(PLAN).order("rehearse").order("start").run(0.5)
    status = made.session.status()
    assert (status.phase, status.recording, status.rehearsal, status.episode_rows) == ("recording", False, True, 0)
    assert made.order("stop").phase == "reset"
    assert made.order("keep").said.startswith("keep: not while")
    assert made.recorder.episodes == [] and made.order("rehearse", on=False).session.status().rehearsal is False


def test_a_session_without_a_recorder_only_rehearses() -> None:
    clock = TurnedClock()
    device = Told(wave)
    made = Rig(TurnedArm(turned=clock), device, Plan(instruction="x", rehearse=True), None, clock).run(0.2)
    assert made.order("start").run(0.3).phase == "recording"
    assert made.order("next").phase == "reset"


@pytest.mark.parametrize("phase", ["ready", "recording", "review", "reset", "held", "fault", "done"])
@pytest.mark.parametrize("name", ORDERS)
def test_no_order_ever_raises_whatever_the_phase_and_each_is_answered(name: str, phase: str) -> None:
    made = rig(PLAN)
    before = {"ready": [], "recording": ["start"], "review": ["start", "stop"], "reset": ["start", "stop", "discard"],
              "held": ["start", "estop"], "fault": ["start"], "done": ["finish"]}[phase]  # fmt: skip
    for order in before:
        made.order(order).run(0.2)
    if phase == "fault":
        made.robot.lost = np.inf
        made.session.course.fault("the cable is out")
    assert made.phase == phase
    made.session.say("")
    made.session.order(Order(name, "a text" if name in ("instruct", "note", "device", "task") else ""))
    made.session.tick(made.metronome.wait())
    made.session.tick(made.metronome.wait())
    changed = made.phase != phase
    assert changed or made.said or name in ("keep", "discard")
    assert made.session.status().to_json()


def test_finish_asks_for_the_episode_first() -> None:
    made = rig(PLAN).order("start").run(0.5).order("finish")
    assert made.phase == "recording" and "keep or discard" in made.said
    assert made.order("stop").order("keep").order("finish").phase == "done"


def test_what_nobody_judged_is_kept_and_marked_when_the_session_ends() -> None:
    made = rig(PLAN).order("start").run(1.0)
    made.session.end()
    made.run(0.2)
    assert made.phase == "done"
    made.session.close()
    (episode,) = made.recorder.episodes
    assert episode["flagged"] and "stop" in episode["note"]
    assert made.robot.connected is False


def test_devices_are_switched_between_episodes_and_begin_where_the_robot_is() -> None:
    clock = TurnedClock()
    devices = {"told": Told(lambda now: np.zeros(6)), "other": Told(lambda now: np.full(6, 0.8), "other")}
    made = Rig(TurnedArm(turned=clock), devices, PLAN, MemoryRecorder(), clock).run(0.2)
    assert "there is no device 'nobody'" in made.order("device", "nobody").said
    made.order("device", "other").run(0.1)
    assert made.session.status().device == "other"
    path = np.array([action[0] for _, action in made.run(4.0).robot.acted], np.float64)
    assert np.abs(np.diff(path)).max() * 30 <= 2.5 + 1e-3
    assert path[-1] == pytest.approx(0.8, abs=1e-3)
    made.order("start").order("device", "told")
    assert "not while an episode is recorded" in made.said


def test_alone_it_records_until_the_target_and_ends() -> None:
    made = rig(Plan(instruction="x", alone=True, target=3, seconds=0.5, reset_seconds=0.2), Told(wave, autonomous=True))
    made.run(30.0)
    assert made.phase == "done" and len(made.recorder.episodes) == 3


def test_a_full_disk_ends_the_episode_and_it_is_kept_up_to_there() -> None:
    recorder = MemoryRecorder()
    recorder.breaks = 20
    made = rig(PLAN, recorder=recorder).order("start").run(1.0)
    assert made.phase == "review" and "no room on the disk" in made.said
    made.order("keep")
    assert recorder.episodes[0]["rows"] == 20 and recorder.episodes[0]["flagged"]
    assert recorder.episodes[0]["why"] == "no room on the disk"


def test_a_leader_is_approached_slowly_before_anything_else() -> None:
    made = rig(PLAN, Told(lambda now: np.full(6, 1.0), leads=True))
    assert made.phase == "approach"
    assert "on its way" in made.order("start").said
    made.run(3.0)
    assert made.phase == "ready"
    path = np.array([action[0] for _, action in made.robot.acted], np.float64)
    near = path < 1.0 - 0.15 * 2.5
    assert np.abs(np.diff(path)[near[1:]]).max() * 30 <= 0.2 * 2.5 + 1e-3


def test_plans_that_make_no_sense_are_refused() -> None:
    for wrong in ({"fps": 0.0}, {"target": 0}, {"seconds": -1.0}, {"seed": -1}):
        with pytest.raises(ConfigError):
            Plan(**wrong)
