"""Killed at random instants while it records video: nothing that was kept is lost, and the take under way is salvaged.

`bench/recording_killed.py` does the same 200 times.
"""

from __future__ import annotations

import random
from pathlib import Path

from recording_killed import setup

from bench.killed import read_by_lerobot
from bench.recording_killed import killed, wrongs
from collectors.recorder import Recorder
from dataengine.store import Store


def test_nothing_is_lost_when_the_recorder_is_killed(tmp_path: Path) -> None:
    rng, before, rows = random.Random(7), set[str](), 0
    for kill in range(3):
        said, at = killed(tmp_path / "store", kill, rng.uniform(0.1, 1.2))
        with Recorder(tmp_path / "store", setup()) as recorder:
            assert len(recorder.recovered) <= 1
        store = Store.open(tmp_path / "store")
        assert not wrongs(store, before, said, at)[0]
        assert store.verify(deep=True).ok
        before, rows = set(store.ids), store.frames
    assert before and read_by_lerobot(tmp_path / "store", tmp_path / "cache") == rows
