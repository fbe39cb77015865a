"""Recorded frame by frame is the same as appended at once, and what goes wrong leaves nothing behind."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store_made import DEPTH, FEATURES, FPS, FRONT, PNG, SMALL, episode

from dataengine.episode import Episode, Meta
from dataengine.errors import ConfigError, EpisodeError, VideoError
from dataengine.store import Store
from dataengine.video import Encoder

BOTH = {key: feature for key, feature in FEATURES.items() if key != PNG}


def frames_of(one: Episode) -> list[dict[str, np.ndarray]]:
    """What a robot would give, frame by frame."""
    columns = {**one.frames, **{key: list(clip.frames()) for key, clip in one.clips.items()}}
    return [{key: np.array(values[t]) for key, values in columns.items()} for t in range(one.length)]


def left(store: Store) -> list[Path]:
    return list((store.root / ".dataengine" / "staging").rglob("*"))


def test_recorded_is_appended(tmp_path: Path) -> None:
    made = [replace(episode(seed, 40 + seed, BOTH), labels=episode(seed, 40 + seed).labels) for seed in range(2)]
    recorded, appended = (Store.create(tmp_path / n, fps=FPS, features=BOTH) for n in ("recorded", "appended"))
    with recorded.writer() as writer, appended.writer() as other:
        for one in made:
            with writer.record(one.id, buffer_bytes=1) as recording:
                for frame in frames_of(one):
                    recording.add(frame)
                    for value in frame.values():  # the camera's buffer is used again
                        if value.ndim == 3:
                            value[:] = 0
                assert recording.save(one.meta, one.labels, one.frame_tasks) == other.append(one)
    assert recorded.digest() == appended.digest() and recorded.verify(deep=True).ok and not left(recorded)
    for key, values in appended.stats().items():
        for name, value in values.items():
            np.testing.assert_array_equal(recorded.stats()[key][name], value, err_msg=f"{key} {name}")


def test_what_is_stopped_takes_no_more_and_waits_to_be_saved(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features=SMALL)
    one = episode(1, 6, SMALL)
    frames = frames_of(one)
    with store.writer() as writer:
        recording = writer.record(one.id)
        for frame in frames[:5]:
            recording.add(frame)
        recording.stop()
        recording.stop()
        with pytest.raises(EpisodeError, match="takes no more frames"):
            recording.add(frames[5])
        closed = time.monotonic() + 20
        while not all((recording._folder / f"{key}.mp4").exists() for key in store.cameras):
            assert time.monotonic() < closed  # nobody has saved it yet
            time.sleep(0.01)
        assert len(store.reload()) == 0
        recording.save(one.meta)
        with writer.record() as other:
            other.add(frames[0])
            other.stop()
    assert len(store) == 1 and store[0].length == 5 and store.verify(deep=True).ok and not left(store)


def test_what_was_counted_before_another_came_first_is_counted_again(tmp_path: Path) -> None:
    """Both are stopped while the store is empty, so each counts around its own first value."""
    recorded, appended = (Store.create(tmp_path / n, fps=FPS, features=SMALL) for n in ("recorded", "appended"))
    made = [episode(seed, 12, SMALL) for seed in range(2)]
    with recorded.writer() as writer, appended.writer() as other:
        recordings = [writer.record(one.id) for one in made]
        for one, recording in zip(made, recordings, strict=True):
            for frame in frames_of(one):
                recording.add(frame)
            recording.stop()
            assert recording._counted.result().keys() == {k for k, f in SMALL.items() if not f.is_camera}
        for one, recording in zip(made, recordings, strict=True):
            recording.save(one.meta, frame_tasks=one.frame_tasks)
            other.append(one)
    for key, values in appended.stats().items():
        for name, value in values.items():
            np.testing.assert_array_equal(recorded.stats()[key][name], value, err_msg=f"{key} {name}")


def test_a_frame_that_does_not_fit_is_not_taken(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features=SMALL)
    one = episode(1, 5, SMALL)
    good = frames_of(one)
    state = good[2]["observation.state"]
    with store.writer() as writer:
        recording = writer.record(one.id)
        for number, frame in enumerate(good):
            for bad, message in (
                ({k: v for k, v in frame.items() if k != "action"}, "lacks action"),
                (frame | {"more": state}, "more"),
                (frame | {"action": frame["action"].astype(np.float64)}, "action.*float64"),
                (frame | {"action": state}, r"action.*\(3,\)"),
                (frame | {FRONT: frame[FRONT][:-1]}, r"front.*\(31, 48, 3\)"),
                (frame | {FRONT: frame[FRONT].astype(np.float32)}, "front.*float32"),
            ):
                with pytest.raises(EpisodeError, match=message) as error:
                    recording.add(bad)
                assert f"frame {number}" in str(error.value)
            recording.add(frame)
        recording.save(one.meta)
    assert len(store) == 1 and store[0].length == 5 and store.verify().ok


def test_nothing_stays_of_what_is_not_saved(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features=SMALL)
    one = episode(1, 5, SMALL)
    with store.writer() as writer:
        with writer.record() as recording:
            recording.add(frames_of(one)[0])
            recording.discard()
        with pytest.raises(RuntimeError, match="over"):
            recording.add(frames_of(one)[0])
        with pytest.raises(EpisodeError, match=r"action.*NaN"), writer.record() as recording:
            for frame in frames_of(one):
                recording.add(frame | {"action": np.full(2, np.nan, np.float32)})
            recording.save(one.meta)
        with pytest.raises(EpisodeError, match="no frames"), writer.record() as recording:
            recording.save(one.meta)
        with pytest.raises(EpisodeError, match="no task"), writer.record() as recording:
            recording.add(frames_of(one)[0])
            recording.save(Meta())
        assert not left(store) and threading.active_count() < 20
        writer.append(one)
    assert len(store) == 1 and store.verify().ok
    with (
        pytest.raises(ConfigError, match="kept as images"),
        Store.create(tmp_path / "png", fps=FPS, features=FEATURES).writer() as writer,
    ):
        writer.record()


def test_a_slow_encoder_makes_the_loop_wait_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features=SMALL)
    one, add = episode(1, 12, SMALL), Encoder.add

    def slow(self: Encoder, frame: np.ndarray) -> None:
        time.sleep(0.02)
        add(self, frame)

    monkeypatch.setattr(Encoder, "add", slow)
    most = 0
    with store.writer() as writer, writer.record(one.id, buffer_bytes=3 * 32 * 48 * 3) as recording:
        for frame in frames_of(one):
            recording.add(frame)
            most = max(most, recording.behind)
        recording.save(one.meta)
    assert 0 < most <= 3 and store[0].length == 12 and store.verify(deep=True).ok


def test_a_failing_encoder_is_said_and_stops_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(tmp_path / "s", fps=FPS, features={k: v for k, v in BOTH.items() if k != DEPTH})
    one, add = episode(1, 30, dict(store.features)), Encoder.add

    def failing(self: Encoder, frame: np.ndarray) -> None:
        if self.frames == 3:
            raise VideoError(self.target, "the disk is full")
        add(self, frame)

    with store.writer() as writer:
        monkeypatch.setattr(Encoder, "add", failing)
        with pytest.raises(VideoError, match="disk is full"), writer.record(buffer_bytes=1) as recording:
            for frame in frames_of(one):
                recording.add(frame)
            recording.save(one.meta)
        monkeypatch.undo()
        assert not left(store)
        with writer.record(one.id) as recording:
            for frame in frames_of(one):
                recording.add(frame)
            recording.save(one.meta)
    assert len(store) == 1 and store.verify().ok
