"""Progress where nobody watches a terminal: lines now and then, and every item passed through."""

from __future__ import annotations

import pytest

from dataengine import progress


def test_lines_say_how_far_it_is_and_what_is_left(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    assert list(progress.track(range(4), total=4, what="recording")) == [0, 1, 2, 3]
    said = capsys.readouterr().err.splitlines()
    assert said == ["recording: 2 of 4, about 12 s left", "recording: 4 of 4, about 0 s left"]


def test_what_an_earlier_run_did_does_not_count_for_the_time_left(capsys, monkeypatch) -> None:
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with progress.Progress() as shown:
        shown.counter("training", 110, done=100)(1)
    assert capsys.readouterr().err == "training: 101 of 110, about 180 s left\n"
