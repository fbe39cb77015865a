"""What a person is told of an episode before they keep it, and what the last session's pictures are for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from teleop_rig import Rig, Told, TurnedArm, TurnedClock

from collectors.recorder import Recorder, Setup
from collectors.teleop.framing import Framing
from collectors.teleop.plan import Plan
from dataengine.store import Store

SIZE = {"observation.images.front": (48, 64)}


def recorded(folder: Path, seconds: float, device: Told, **arm: object) -> Rig:
    """A session with a real recorder, under review."""
    clock = TurnedClock()
    robot = TurnedArm(turned=clock, **arm)  # type: ignore[arg-type]
    recorder = Recorder(folder, Setup(30.0, robot.features, actors=(device.name,)))
    plan = Plan(instruction="wave", seconds=99.0, reset_seconds=0.1)
    made = Rig(robot, device, plan, recorder, clock, framing=Framing(folder, SIZE)).run(0.2)
    return made.order("start").run(seconds).order("stop").run(0.3)


@pytest.mark.parametrize("seconds", [3.0, 12.0])
def test_a_sound_episode_gets_a_verdict_with_what_could_not_be_known(tmp_path: Path, seconds: float) -> None:
    made = recorded(tmp_path / "s", seconds, Told(lambda now: 0.3 * np.sin(2 * now + np.arange(6))))
    verdict = made.session.status().verdict
    assert verdict is not None and verdict.grade == 1.0
    assert not [finding for finding in verdict.findings if finding.objective]
    assert "cameras" not in verdict.unknown and verdict.unknown and verdict.seconds > 0
    made.order("keep")
    made.session.close()
    made.recorder.close()
    (episode,) = list(Store.open(tmp_path / "s").episodes())
    assert episode.length == pytest.approx(30 * seconds, abs=3)


def test_a_frozen_camera_is_named_with_its_place(tmp_path: Path) -> None:
    from faulty_robot import Fault

    stuck = (Fault("stuck", "front", 60, 85),)
    made = recorded(tmp_path / "s", 4.0, Told(lambda now: 0.3 * np.sin(2 * now + np.arange(6))), faults=stuck)
    verdict = made.session.status().verdict
    assert verdict is not None and verdict.grade is not None and verdict.grade < 1.0
    odd = [finding for finding in verdict.findings if finding.objective]
    assert odd and any(1.0 < finding.start < 3.0 and "front" in finding.words for finding in odd)
    made.order("discard")
    made.session.close()
    made.recorder.close()


def test_pictures_of_the_last_session_are_kept_and_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scene = (rng.random((48, 64, 3)).cumsum(1).cumsum(0) % 200).astype(np.uint8)
    Framing(tmp_path, SIZE).keep({"observation.images.front": scene})
    again = Framing(tmp_path, SIZE)
    key = "observation.images.front"
    assert np.array_equal(again.reference[key], scene)
    assert again.drift(key, scene) == 0.0
    assert (again.drift(key, np.roll(scene, 12, 1)) or 0) > 0.3  # knocked
    assert (again.drift(key, (scene // 3)) or 0) > 0.3  # darker
    assert (again.drift(key, scene + np.uint8(3)) or 0) < 0.1
    assert Framing(tmp_path, {key: (24, 32)}).drift(key, scene[::2, ::2]) is None
    assert again.drift("observation.images.wrist", scene) is None


def test_a_broken_reference_costs_only_the_comparison(tmp_path: Path) -> None:
    framing = Framing(tmp_path, SIZE)
    framing.folder.mkdir(parents=True)
    (framing.folder / "observation.images.front.npy").write_bytes(b"\x93NUMPY\x01\x00")
    assert Framing(tmp_path, SIZE).reference == {}
    (tmp_path / "file").write_text("")
    Framing(tmp_path / "file", SIZE).keep({"observation.images.front": np.zeros((48, 64, 3), np.uint8)})
