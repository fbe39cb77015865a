"""A recorder's store is a dataset like any other, and everything odd about its rows is said in them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from faulty_robot import STATE, Fault, FaultyRobot
from recording_made import FORCE, FRONT, REWARD, encoded, filled, rewarded, samples, setup_of, ticks

from annotators.quality import assess, learn, measure
from collectors.recorder import Recorder, Setup, Tick
from dataengine.episode import CAPTURE_TIME, Feature, Label
from dataengine.errors import ConfigError, EpisodeError, MachineError, StoreLocked
from dataengine.robot import Sample
from dataengine.store import Store, history


def left(root: Path) -> list[str]:
    """What is not of the dataset, beside locks."""
    private = root / ".dataengine"
    return [p.name for p in private.rglob("*") if p.is_file() and "lock" not in p.name and "history" not in p.parts]


def test_what_goes_in_stands_in_the_store(tmp_path: Path) -> None:
    robot = FaultyRobot(cameras={"front": (48, 64), "wrist": (32, 32)}, depth=("wrist",))
    given = list(ticks(robot, 40, late=0.002, columns=rewarded, intervention=lambda n: n > 30,
                       actor=lambda n: "policy" if n < 30 else "person"))  # fmt: skip
    with Recorder(tmp_path / "s", setup_of(robot, columns=REWARD)) as recorder:
        assert (recorder.kept, recorder.recovered) == (0, ())
        take = recorder.start("stack", extra={"scene": 7})
        for tick in given:
            take.add(tick)
            for sample in tick.observation.values():
                sample.value[:] = 0  # buffers are used again
        assert take.rows == 40 and not encoded(take).health().trouble
        label = Label("span", pa.table({"start": [0], "stop": [9], "text": ["reach"]}))
        assert take.keep(success=True, note="neat", flagged=True, task="stack it", labels={"phase": label}) == 0
        assert (recorder.kept, recorder.successes, round(recorder.seconds_kept, 3)) == (1, 1, round(40 / 30, 3))
        assert recorder.minutes_left() > 0
    store = Store.open(tmp_path / "s")
    assert store.verify(deep=True).ok and not left(store.root) and threading.active_count() < 20
    episode, again = store[0], FaultyRobot(cameras=robot.cameras, depth=robot.depth)
    for n, tick in enumerate(ticks(again, 40)):
        np.testing.assert_array_equal(episode.frames["action"][n], tick.action)
        np.testing.assert_array_equal(episode.frames["collect.executed_action"][n], tick.sent)
        np.testing.assert_array_equal(episode.frames[STATE][n], tick.observation[STATE].value)
    shown = np.stack(list(episode.clips[FRONT].frames())).astype(int)
    wanted = np.stack([again.picture(FRONT, n) for n in range(40)]).astype(int)
    assert abs(shown - wanted).mean() < 6
    depth = np.stack(list(episode.clips["observation.images.wrist"].frames()))
    wanted = np.stack([again.picture("observation.images.wrist", n) for n in range(40)])
    assert abs(depth - wanted).max() < 2e-3
    frames = episode.frames
    np.testing.assert_allclose(frames[CAPTURE_TIME], np.arange(40) / 30, atol=1e-9)
    np.testing.assert_allclose(frames["collect.late"], 0.002, atol=1e-6)
    np.testing.assert_allclose(frames["collect.front.age"], 0.007, atol=1e-6)
    np.testing.assert_allclose(frames["collect.state.age"], 0.007, atol=1e-6)
    np.testing.assert_array_equal(frames["collect.actor"], [1] * 30 + [0] * 10)
    np.testing.assert_array_equal(frames["intervention"], np.arange(40) > 30)
    np.testing.assert_array_equal(frames["next.reward"], (np.arange(40) / 7).astype(np.float32))
    assert store.features["collect.actor"].info["actors"] == ["person", "policy"]
    flags = [key for key in frames if key.endswith((".repeated", ".dropped", ".filled", ".clock_jump"))]
    assert len(flags) == 6 and not any(frames[key].any() for key in flags)
    meta = episode.meta
    assert (meta.tasks, meta.success, meta.operator, meta.embodiment) == (("stack it",), True, "Ada", "test arm")
    assert meta.extra["collect"] == {
        "rows": 40, "late": 0, "missed": 0, "filled": 0, "gaps": 0, "clock_jumps": 0, "interventions": 9,
        "repeated": {"front": 0, "wrist": 0}, "dropped": {"front": 0, "wrist": 0},
        "actors": {"person": 10, "policy": 30},
    }  # fmt: skip
    assert (meta.extra["note"], meta.extra["flagged"], meta.extra["scene"]) == ("neat", True, 7)
    assert episode.labels["phase"].table.column("text").to_pylist() == ["reach"]


def test_nothing_of_a_recorder_is_an_input_or_output_of_a_policy(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot, columns=REWARD, sensors=FORCE)) as recorder:
        taken = {key for key in recorder.store.features if key.startswith(("observation.", "action"))}
    assert taken == set(robot.features)


def test_a_camera_with_nothing_new_repeats_and_says_so(tmp_path: Path) -> None:
    robot = FaultyRobot(faults=(Fault("stuck", "front", 10, 16), Fault("stuck", STATE, 20, 23)))
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        filled(recorder, robot, 30).keep(success=None)
        episode = recorder.store.reload()[0]
    repeated = episode.frames["collect.front.repeated"]
    np.testing.assert_array_equal(np.flatnonzero(repeated), range(10, 16))
    np.testing.assert_allclose(episode.frames["collect.front.age"][9:17], 0.005 + np.array([0, *range(1, 7), 0]) / 30,
                               atol=1e-6)  # fmt: skip
    np.testing.assert_allclose(episode.frames["collect.state.age"][19:24], 0.005 + np.array([0, 1, 2, 3, 0]) / 30,
                               atol=1e-6)  # fmt: skip
    shown = np.stack(list(episode.clips[FRONT].frames())).astype(int)
    assert abs(np.diff(shown, axis=0)).mean((1, 2, 3))[9:15].max() < 1 < abs(shown[16] - shown[15]).mean()
    assert episode.meta.extra["collect"]["repeated"] == {"front": 6}


def test_few_missed_ticks_are_filled_and_many_are_a_gap_and_checks_see_both(tmp_path: Path) -> None:
    robot = FaultyRobot()
    missing = {12: 2, 30: 9}  # before these rows
    shift, given = 0, []
    for n, tick in enumerate(ticks(robot, 50, columns=rewarded)):
        shift += missing.get(n, 0)
        moved = {key: replace(s, time=s.time + shift / 30) for key, s in tick.observation.items()}
        due = tick.due + shift / 30
        given.append(replace(tick, due=due, time=due, missed=missing.get(n, 0), observation=moved))
    with Recorder(tmp_path / "s", setup_of(robot, columns=REWARD)) as recorder:
        take = recorder.start("pick")
        for tick in given:
            take.add(tick)
        assert take.rows == 52 and take.health().missed == 11
        take.keep(success=True)
        episode = recorder.store.reload()[0]
    frames = episode.frames
    np.testing.assert_array_equal(np.flatnonzero(frames["collect.filled"]), [12, 13])
    np.testing.assert_array_equal(frames["collect.missed"].nonzero()[0], [14, 32])
    for key in ("action", STATE, "collect.executed_action"):
        assert (frames[key][12:14] == frames[key][11]).all()
    np.testing.assert_allclose(frames["collect.front.age"][11:15], np.array([0, 1, 2, 0]) / 30, atol=0.006)
    assert not frames["next.reward"][12:14].any() and frames["next.reward"][14] == np.float32(12 / 7)
    # where gaps are filled, the frame's time is the true one
    held = frames[CAPTURE_TIME] - np.arange(52) / 30
    assert abs(held[:12]).max() < 1e-9 and abs(held[14:32]).max() < 1e-9
    counts = episode.meta.extra["collect"]
    assert (counts["missed"], counts["filled"], counts["gaps"]) == (11, 2, 1)
    found = {f.start for f in assess(episode, learn([measure(episode)]))["gap"].findings}
    assert found == {13, 31}


@pytest.mark.parametrize("kind", ["clock_back", "clock_ahead", "clock_stuck"])
def test_a_clock_that_jumps_is_flagged(tmp_path: Path, kind: str) -> None:
    robot = FaultyRobot(faults=(Fault(kind, "front", 10, 11, amount=3600.0),))  # type: ignore[arg-type]
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = filled(recorder, robot, 20)
        assert any("clock" in line for line in take.health().trouble)
        take.keep(success=True)
        episode = recorder.store.reload()[0]
    jumps = np.flatnonzero(episode.frames["collect.clock_jump"]).tolist()
    assert jumps == {"clock_back": [10], "clock_ahead": [10, 11], "clock_stuck": [10]}[kind]
    assert episode.meta.extra["collect"]["clock_jumps"] == len(jumps)
    shown = np.stack(list(episode.clips[FRONT].frames())).astype(int)
    assert abs(shown[10] - shown[9]).mean() > 1, "a picture with a wrong time is still a picture"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": np.full(6, np.nan, np.float32)}, "'action'.*NaN"),
        ({"sent": np.full(6, np.inf, np.float32)}, "executed_action.*NaN or Inf"),
        ({"action": np.full(6, 1e300)}, "'action'.*Inf"),
        ({"action": np.zeros(5, np.float32)}, r"'action'.*\(5,\)"),
        ({"actor": "ghost"}, "ghost.*person, policy"),
        ({"time": float("nan")}, "finite"),
        ({"missed": -1}, "misses"),
        ({"columns": {}}, "next.reward"),
        ({"columns": {**rewarded(1), "more": np.float32(1)}}, "more"),
        ({"columns": {**rewarded(1), "next.success": np.float32(1)}}, "next.success.*float32"),
    ],
)
def test_a_tick_that_does_not_fit_is_refused_and_what_came_before_is_kept(
    tmp_path: Path, change: dict, message: str
) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot, columns=REWARD)) as recorder:
        take = filled(recorder, robot, 10, columns=rewarded)
        (tick,) = ticks(robot, 1, start=1001.0, columns=rewarded)
        with pytest.raises(EpisodeError, match=message) as error:
            take.add(replace(tick, **change))
        assert "frame 10" in str(error.value) and take.rows == 10
        take.add(tick)
        take.stop("a tick did not fit")
        with pytest.raises(EpisodeError, match="did not fit"):
            take.add(tick)
        take.keep(success=None)
        meta = recorder.store.reload()[0].meta
        assert meta.extra["incomplete"] is True and meta.extra["reason"] == "a tick did not fit"
    assert Store.open(tmp_path / "s").verify(deep=True).ok


@pytest.mark.parametrize("kind", ["nan", "shape", "silent"])
def test_a_faulty_sensor_is_named(tmp_path: Path, kind: str) -> None:
    what = STATE if kind == "nan" else "front"
    robot = FaultyRobot(faults=(Fault(kind, what, 5, 6),))  # type: ignore[arg-type]
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        with pytest.raises(EpisodeError, match=what) as error:
            filled(recorder, robot, 10)
        assert "frame 5" in str(error.value)
        recorder._take.discard()  # type: ignore[union-attr]


def test_sensors_of_other_rates_are_aligned_without_a_look_ahead_and_kept_whole(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot, sensors=FORCE)) as recorder:
        take = recorder.start("push")
        given = list(samples(250, 250.0, 1000.1))
        thread = threading.Thread(target=lambda: [take.sensor("force", sample) for sample in given])
        thread.start()
        for tick in ticks(robot, 30):
            take.add(tick)
        thread.join()
        with pytest.raises(EpisodeError, match=r"no sensor 'torque'.*force"):
            take.sensor("torque", given[0])
        with pytest.raises(EpisodeError, match=r"force.*NaN"):
            take.sensor("force", Sample(np.full(3, np.nan), 1001.0))
        take.keep(success=True)
        episode = recorder.store.reload()[0]
    at = 1000.0 + np.arange(30) / 30
    column, age = episode.frames["collect.sensor.force"], episode.frames["collect.sensor.force.age"]
    for n, when in enumerate(at):
        before = [sample for sample in given if sample.time <= when]
        if before:
            np.testing.assert_array_equal(column[n], before[-1].value)
            assert abs(age[n] - (when - before[-1].time)) < 1e-6
        else:
            assert age[n] == -1 and not column[n].any()
    table = episode.labels["sensor.force"].table
    assert table.num_rows == 250 and episode.labels["sensor.force"].kind == "event"
    np.testing.assert_allclose(table.column("time").to_numpy(), 0.1 + np.arange(250) / 250, atol=1e-9)
    since = 0.1 + np.arange(250) / 250
    rows = np.minimum(np.floor(since * 30 + 1e-6), 29)
    np.testing.assert_array_equal(table.column("frame").to_numpy(), rows)
    np.testing.assert_array_equal(np.stack(table.column("value").to_pylist()), [s.value for s in given])


def test_an_episode_is_looked_at_before_it_is_kept_and_after(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = filled(recorder, robot, 12)
        seen = take.episode()
        before = [frame.copy() for frame in seen.clips[FRONT].frames()]
        assert seen.length == 12 and len(recorder.store.reload()) == 0
        take.keep(success=False)
        np.testing.assert_array_equal(before, list(seen.clips[FRONT].frames()))
        np.testing.assert_array_equal(before, list(recorder.store.reload()[0].clips[FRONT].frames()))
        again = filled(recorder, robot, 3)
        again.discard()
        again.discard()
        for call in (again.episode, lambda: again.keep(success=True)):
            with pytest.raises(EpisodeError, match="already"):
                call()
        assert recorder.kept == 1 and not [p for p in left(tmp_path / "s") if p.endswith(".mcap")]
    assert not left(tmp_path / "s")


def test_undo_takes_the_last_episode_out_and_can_itself_be_undone(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        assert recorder.undo() is None
        filled(recorder, robot, 6).keep(success=True)
        filled(recorder, robot, 9).keep(success=True)
        assert "episode 1 (0.3 s)" in str(recorder.undo())
        assert (recorder.kept, recorder.successes) == (1, 1)
        assert "episode 0" in str(recorder.undo()) and recorder.kept == 0
        assert recorder.undo() is None
        take = filled(recorder, robot, 4)
        with pytest.raises(ConfigError, match="in progress"):
            recorder.undo()
        take.discard()
    store = Store.open(tmp_path / "s")
    history.undo(store)
    assert store.reload()[0].length == 6 and store.verify(deep=True).ok


def test_a_session_goes_on_in_a_store_with_the_same_features_only(tmp_path: Path) -> None:
    robot = FaultyRobot()
    for number in range(2):
        with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
            assert recorder.kept == number
            with pytest.raises(StoreLocked):
                Recorder(tmp_path / "s", setup_of(robot))
            filled(recorder, robot, 5).keep(success=True)
    other = FaultyRobot(joints=7, cameras={"front": (48, 64), "side": (48, 64)}, fps=15)
    with pytest.raises(ConfigError, match="cannot be recorded into") as error:
        Recorder(tmp_path / "s", replace(setup_of(other), embodiment="another"))
    for words in ("action: shape (7,)", "observation.images.side", "fps: the store has 30, the robot 15", "another"):
        assert words in str(error.value), words
    with pytest.raises(ConfigError, match="actors: the store knows person, policy, not expert"):
        Recorder(tmp_path / "s", setup_of(robot, actors=("expert", "person")))
    with Recorder(tmp_path / "s", setup_of(robot, actors=("policy",))) as recorder:
        filled(recorder, robot, 5, actor="policy").keep(success=True)
    assert (Store.open(tmp_path / "s")[2].frames["collect.actor"] == 1).all()


def test_a_take_that_nobody_judged_is_committed_when_the_session_ends(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with pytest.raises(KeyboardInterrupt), Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        filled(recorder, robot, 8)
        raise KeyboardInterrupt
    episode = Store.open(tmp_path / "s")[0]
    assert episode.length == 8 and episode.meta.success is None and episode.meta.extra["incomplete"]
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        recorder.start("nothing")
    assert len(Store.open(tmp_path / "s")) == 1 and not left(tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {STATE: Feature("float32", (2,))}}, "action"),
        ({"columns": {"action.more": Feature("float32", (1,))}}, "next"),
        ({"columns": {"collect": Feature("float32", (1,))}}, "next"),
        ({"sensors": {"../x": Feature("float32", (1,))}}, r"\.\."),
        ({"sensors": {"a.b": Feature("float32", (1,))}}, "dot"),
        ({"sensors": {"eye": Feature("video", (8, 8, 3))}}, "camera|numbers"),
        ({"actors": ()}, "actors"),
        ({"fps": 0.0}, "fps"),
        ({"features": {"action": Feature("float32", (1,)), "reward": Feature("float32", (1,))}}, "observation"),
    ],
)
def test_a_setup_that_cannot_be_recorded_is_refused(change: dict, message: str) -> None:
    with pytest.raises((ConfigError, Exception), match=message):
        replace(setup_of(FaultyRobot()), **change)


def test_a_nearly_full_disk_refuses_and_stops_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot), reserve=1 << 20) as recorder:
        filled(recorder, robot, 5).keep(success=True)
        take = filled(recorder, robot, 20)
        take.journal.free = 1 << 20
        (tick,) = ticks(robot, 1)
        with pytest.raises(MachineError, match=r"nearly full: 1\.0 MB are free, [\d.]+ MB are needed"):
            take.add(tick)
        assert any("nearly full" in line for line in take.health().trouble)
        take.keep(success=None)
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
        with pytest.raises(MachineError, match=r"0\.0 MB are free, a take needs"):
            recorder.start("more")
        assert recorder.minutes_left() == 0
    store = Store.open(tmp_path / "s")
    assert [e.length for e in store] == [5, 20] and "nearly full" in store[1].meta.extra["reason"]
    assert store.verify(deep=True).ok


def test_a_setup_comes_back_from_its_json() -> None:
    robot = FaultyRobot(cameras={"front": (8, 8), "deep": (8, 8)}, depth=("deep",))
    setup = setup_of(robot, columns=REWARD, sensors=FORCE)
    assert Setup.from_json(setup.to_json()).to_json() == setup.to_json()
    assert Tick(0, 0, {}, np.zeros(1), np.zeros(1), "person").missed == 0
