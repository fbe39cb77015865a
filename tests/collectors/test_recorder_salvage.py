"""What a recorder that was killed has left is in the store when the next one starts: all of it, and once."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
from faulty_robot import STATE, FaultyRobot
from recording_made import FORCE, REWARD, encoded, filled, killed, rewarded, samples, setup_of, ticks

from collectors.recorder import Recorder
from collectors.recording import salvage
from dataengine.episode import Clip, Episode, Label
from dataengine.errors import MachineError, VideoError
from dataengine.store import Edit, Store
from dataengine.video import Codec, Encoder, VideoClip

CODECS = {
    "h264": Codec(),
    "h264 lossless": Codec("h264", lossless=True),
    "hevc": Codec("hevc"),
    "av1": Codec("av1"),
}


def journals(root: Path) -> list[Path]:
    return sorted((root / ".dataengine" / "journal").rglob("*.*"))


def coded(clip: Clip) -> list[bytes]:
    """The packets of an episode's own file."""
    assert isinstance(clip, VideoClip)
    with av.open(str(clip.path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def same(one: Episode, other: Episode, rows: int) -> None:
    for key, column in other.frames.items():
        np.testing.assert_array_equal(one.frames[key], column[:rows], err_msg=key)
    for key, clip in other.clips.items():
        assert coded(one.clips[key])[:rows] == coded(clip)[:rows], key
        np.testing.assert_array_equal(list(one.clips[key].frames()), list(clip.frames(0, rows)), err_msg=key)


@pytest.mark.parametrize("name", CODECS)
def test_what_is_salvaged_is_what_would_have_been_kept(tmp_path: Path, name: str) -> None:
    robot = FaultyRobot(cameras={"front": (48, 64), "wrist": (32, 48)}, depth=("wrist",))
    setup = setup_of(robot, columns=REWARD, sensors=FORCE, codec=CODECS[name])
    with Recorder(tmp_path / "s", setup) as recorder:
        take = recorder.start("fold")
        for sample in samples(40, 20.0, 1000.01):
            take.sensor("force", sample)
        for n, tick in enumerate(ticks(robot, 60, columns=rewarded)):
            take.add(replace(tick, missed=2 * (n == 30)))
        copy = killed(recorder, take, tmp_path / "killed")
        take.keep(success=True)
    with Recorder(copy, setup) as recorder:
        (found,) = recorder.recovered
        assert found.index == 0 and found.rows >= (43 if name == "hevc" else 61) and "marked incomplete" in found.words
        assert (recorder.kept, recorder.successes) == (1, 0)
    store, live = Store.open(copy), Store.open(tmp_path / "s")[0]
    assert store.verify(deep=True).ok and not journals(copy)
    one = store[0]
    assert one.id == live.id and one.meta.success is None and one.meta.tasks == live.meta.tasks
    assert one.meta.extra["incomplete"] and "ended before" in one.meta.extra["reason"]
    same(one, live, found.rows)
    table = one.labels["sensor.force"].table
    assert table.num_rows == 40 and table.column("value").equals(live.labels["sensor.force"].table.column("value"))


def test_nobody_has_to_ask_for_what_is_written_down(tmp_path: Path) -> None:
    """A recorder that is killed a second after a row has it, though nobody flushed anything."""
    robot, rows = FaultyRobot(), 0
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = encoded(filled(recorder, robot, 12))
        deadline = time.monotonic() + 10  # a machine may be busy; it takes 0.2 s
        while rows < 11 and time.monotonic() < deadline:
            time.sleep(0.1)
            left = Path(shutil.copy(take.journal.path, tmp_path / take.journal.path.name))
            rows = salvage.read(left, tmp_path / "films").rows
        assert rows >= 11
        take.discard()


def test_a_take_killed_while_it_was_kept_is_kept_as_it_was_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = FaultyRobot()
    label = Label("span", pa.table({"start": [0], "stop": [9], "text": ["reach"]}), {"name": "me"})
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = filled(recorder, robot, 20)
        monkeypatch.setattr(recorder, "commit", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(MachineError, match="no space left; it stays in its journal"):
            take.keep(success=True, note="neat", task="another", labels={"phase": label}, extra={"grade": 3})
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        assert "incomplete" not in recorder.recovered[0].words and recorder.successes == 1
    episode = Store.open(tmp_path / "s")[0]
    meta = episode.meta
    assert episode.length == 20 and meta.success and meta.tasks == ("another",) and not meta.extra.get("incomplete")
    assert (meta.extra["note"], meta.extra["grade"]) == ("neat", 3)
    assert episode.labels["phase"].table.to_pylist() == label.table.to_pylist()
    assert not journals(tmp_path / "s")


def test_a_take_that_is_in_the_store_or_was_taken_out_does_not_come_twice(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        filled(recorder, robot, 5).keep(success=True)
        take = filled(recorder, robot, 20)
        journal, saved = take.journal.path, tmp_path / "saved"
        encoded(take).journal.flush()
        shutil.copy(journal, saved)
        take.keep(success=True)
    for undo in (False, True):
        if undo:
            with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
                recorder.undo()
        shutil.copy(saved, journal)
        with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
            assert recorder.recovered == () and recorder.kept == 2 - undo
        assert not journals(tmp_path / "s")
    assert Store.open(tmp_path / "s").verify(deep=True).ok


def test_what_cannot_be_read_is_set_aside_and_said(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = recorder.start("pick")
        for tick in ticks(robot, 60):
            take.add(tick)
            if take.rows % 15 == 0:
                encoded(take).journal.flush()
        take.leave()
    (whole,) = journals(tmp_path / "s")
    data = bytearray(whole.read_bytes())
    folder = whole.parent
    (folder / "0123456789abcdef.mcap").write_bytes(b"no journal at all")
    (folder / "feedbeef.begun").write_bytes(b"\x89MCAP")
    data[data.rindex(b"collect.late", 0, data.rindex(b"collect.late", 0, -20000))] ^= 1
    whole.write_bytes(data)
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        said = {found.identity: found for found in recorder.recovered}
        assert recorder.kept == 1
    unread, part = said["0123456789abcdef"], said[whole.stem]
    assert unread.index is None and "journal/damaged/0123456789abcdef.mcap" in unread.words
    assert part.index == 0 and 0 < part.rows < 60 and "the rest is damaged" in part.words
    assert [p.name for p in journals(tmp_path / "s")] == sorted(["0123456789abcdef.mcap", whole.name])
    # they outlive other edits, and go with the episode
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        filled(recorder, robot, 5).keep(success=True)
    store = Store.open(tmp_path / "s")
    Edit(store).set([0], success=False).commit()
    store.compact()
    assert len(journals(tmp_path / "s")) == 2
    Edit(store.reload()).purge([0]).commit()
    assert [p.stem for p in journals(tmp_path / "s")] == ["0123456789abcdef"]


def test_a_journal_outlives_an_edit_made_before_the_next_recorder(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        filled(recorder, robot, 5).keep(success=True)
        take = filled(recorder, robot, 30)
        copy = killed(recorder, take, tmp_path / "killed")
        take.discard()
    Edit(Store.open(copy)).set([0], success=False).commit()
    with Recorder(copy, setup_of(robot)) as recorder:
        assert recorder.recovered[0].rows >= 29 and recorder.kept == 2


def test_an_encoder_that_fails_ends_the_take_and_what_it_gave_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot, add = FaultyRobot(cameras={"front": (48, 64), "side": (48, 64)}), Encoder.add

    def failing(self: Encoder, frame: np.ndarray) -> None:
        if self.frames == 25 and "side" in self.target.name:
            raise VideoError(self.target, "the encoder is gone")
        add(self, frame)

    monkeypatch.setattr(Encoder, "add", failing)
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = recorder.start("pick")
        with pytest.raises(MachineError, match=r"encoder of side failed.*gone"):
            for tick in ticks(robot, 60):
                take.add(tick)
                if take.rows < 25:
                    encoded(take)
                time.sleep(0.01)
        assert any("encoder of side failed" in line for line in take.health().trouble)
        monkeypatch.undo()
        assert take.keep(success=True) == 0
        filled(recorder, robot, 5).keep(success=True)
    store = Store.open(tmp_path / "s")
    meta = store[0].meta
    assert [24, 5] <= [e.length for e in store] <= [25, 5] and store.verify(deep=True).ok
    assert meta.success and meta.extra["incomplete"] and "side" in meta.extra["reason"]


def test_a_label_that_does_not_fit_is_said_before_anything_is_decided(tmp_path: Path) -> None:
    robot = FaultyRobot()
    with Recorder(tmp_path / "s", setup_of(robot)) as recorder:
        take = filled(recorder, robot, 10)
        one = Label("event", pa.table({"frame": [1]}))
        for labels in ({"x": Label("event", pa.table({"frame": [10]}))}, {"../x": one}):
            with pytest.raises(Exception, match=r"outside frames|\.\.|separator"):
                take.keep(success=True, labels=labels)
        assert take.keep(success=True) == 0
        assert recorder.store.reload()[0].frames[STATE].shape == (10, 6)
