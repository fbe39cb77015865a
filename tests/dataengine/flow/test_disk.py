"""A disk that is full or read-only in the middle of a flow: one clear error, nothing lost, nobody blamed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dataengine.errors import DataEngineError, EpisodeError, MachineError, VideoError
from dataengine.flow import worker
from dataengine.flow.events import EventLog
from dataengine.store import Store


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_ends_the_run_and_no_episode_is_blamed(toy, go, tmp_path: Path, monkeypatch, code: int) -> None:
    source, seal, sealed = toy(4), worker.seal_shard, []

    def full(*arguments):
        sealed.append(arguments)
        if len(sealed) > 2:
            raise OSError(code, os.strerror(code), "shard")
        return seal(*arguments)

    monkeypatch.setattr(worker, "seal_shard", full)
    with pytest.raises(DataEngineError, match=rf"{os.strerror(code)}.*at toy\.json:e2.*run the same command again"):
        go(source)
    assert not (tmp_path / "out.flow" / "quarantine.jsonl").exists()
    assert [e.length for e in Store.open(tmp_path / "out")] == [20, 21]
    assert Store.open(tmp_path / "out").verify().ok
    monkeypatch.undo()
    result = go(source)
    assert (result.kept, result.reused, result.quarantined) == (4, 2, 0)
    assert result.digest == go(source, out="fresh").digest


def test_a_full_disk_is_known_behind_what_a_library_said(toy, go, tmp_path: Path, monkeypatch) -> None:
    def full(*arguments):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise VideoError("front.mp4", "cannot be written") from error

    monkeypatch.setattr(worker, "seal_shard", full)
    with pytest.raises(MachineError, match=r"No space left.*at toy\.json:e0"):
        go(toy(2))


def test_an_episode_that_speaks_of_a_full_disk_is_still_its_own_fault(toy, go, monkeypatch) -> None:
    def said(*arguments):
        raise EpisodeError("e0", f"its note says {os.strerror(errno.ENOSPC)}")

    monkeypatch.setattr(worker, "seal_shard", said)
    assert go(toy(2)).quarantined == 2


def test_a_disk_that_takes_no_report_is_said(toy, go, tmp_path: Path, monkeypatch) -> None:
    update = EventLog.update

    def full(self, **changes):
        if changes.get("phase") == "ended":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder.root))
        return update(self, **changes)

    monkeypatch.setattr(EventLog, "update", full)
    with pytest.raises(DataEngineError, match=r"No space left.*run the same command again"):
        go(toy(2))
    monkeypatch.undo()
    assert go(toy(2)).reused == 2
