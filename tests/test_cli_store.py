"""`dataengine verify` and `repair` from the command line: what a person reads, what a program reads, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from store_damage import flip, video
from store_made import store_of
from typer.testing import CliRunner

from dataengine.cli import app
from dataengine.errors import DataEngineError
from dataengine.store import Store, one_byte


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_of(tmp_path / "s", range(5, 8)).root


def run(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=True)
    if isinstance(done.exception, DataEngineError):
        raise done.exception
    assert done.exit_code == code, (done.output, done.exception)
    return done.output.strip()


def test_verify_and_repair(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_byte, "EFFORT", 0)
    whole = run("verify", store)
    assert whole.startswith("3 episodes, 18 frames, 0 problems\nchecked: metadata by sha256; 3 data files, 3 videos")
    assert "trusted: the bodies of 3 data files, 3 videos" in run("verify", store, "--quick")
    assert run("verify", store, "--digest") == Store.open(store).digest()
    assert f"digest: {Store.open(store).digest()}" in run("verify", store, "--digest", "--deep")
    assert run("repair", store) == "3 episodes, 18 frames: nothing is damaged"
    flip(video(store, 1), 0.9)
    place = video(store, 1).relative_to(store).as_posix()
    found = run("verify", store, code=1)
    assert f"problem: {place}: its sha256 is " in found and "LeRobot shows wrong pictures" in found
    report = json.loads(run("verify", store, "--json", code=1))
    assert report["problems"][0]["place"] == place and report["problems"][1]["episode"] == 1 and report["checked"]
    assert run("verify", store, "--quick").startswith("3 episodes, 18 frames, 0 problems")
    said = run("repair", store, "--dry-run")
    assert "lost: episode 1 (episode0001): " in said and "2 episodes, 12 frames: would be left" in said
    assert "2 episodes, 12 frames: in " in run("repair", store)
    assert json.loads(run("repair", store, "--json")) == {
        "mended": [], "lost": [], "episodes": 2, "frames": 12, "done": False,
    }  # fmt: skip
    assert run("edit", "undo", store).startswith("undo: repair: 1 episodes left out")


def test_what_cannot_be_asked_for(store: Path, tmp_path: Path) -> None:
    with pytest.raises(DataEngineError, match="reads no bodies"):
        run("verify", store, "--quick", "--deep")
    with pytest.raises(DataEngineError, match="is not there"):
        run("repair", tmp_path / "nothing")
    shutil.rmtree(store / "meta/dataengine")
    with pytest.raises(DataEngineError, match="read only; --out FOLDER"):
        run("repair", store)
    assert "3 episodes, 18 frames: in " in run("repair", store, "--out", tmp_path / "out")
    assert run("verify", tmp_path / "out").startswith("3 episodes, 18 frames, 0 problems")
