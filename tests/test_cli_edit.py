"""`dataengine edit` from the command line: what a person reads, what a program reads, and what is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from store_made import store_of
from typer.testing import CliRunner

from dataengine.cli import app
from dataengine.errors import DataEngineError
from dataengine.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return store_of(tmp_path / "s", range(5, 9)).root


def run(*words: object) -> str:
    done = CliRunner().invoke(app, ["edit", *map(str, words)], catch_exceptions=True)
    if isinstance(done.exception, DataEngineError):
        raise done.exception
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output.strip()


def test_every_edit_says_what_it_did(store: Path) -> None:
    assert run("delete", store, "3", "--dry-run") == "delete 1 episode: would leave 3 episodes, 18 frames"
    assert len(Store.open(store)) == 4
    assert run("delete", store, "0", "3") == "delete 2 episodes: the store has 2 episodes, 13 frames"
    assert run("trim", store, "1", "--start", 2) == "trim episode 1 to frames 2:7: the store has 2 episodes, 11 frames"
    assert "4:5: the store has 4 episodes" in run("split", store, "1", "--at", 2, "--at", 4)
    assert "put 1 episode first" in run("reorder", store, "2")
    assert "set success=False, split=val of 4 episodes" in run("set", store, "success=false", "split=val")
    assert "say 'wait' to 1 episode:" in run("task", store, "wait", "-e", "0")
    assert "rename action to action.joints" in run("rename", store, "action", "action.joints")
    assert "drop observation.state" in run("drop", store, "observation.state")
    assert json.loads(run("keep", store, "0-1", "--json")) == {
        "what": "keep 2 episodes", "done": True, "episodes": 2, "frames": Store.open(store).frames,
    }  # fmt: skip
    assert [entry["what"] for entry in json.loads(run("log", store, "--json"))][:2] == [
        "delete 2 episodes", "trim episode 1 to frames 2:7",
    ]  # fmt: skip
    assert "drop observation.state" in run("log", store)
    assert run("undo", store) == f"undo: keep 2 episodes: 4 episodes, {Store.open(store).frames} frames"
    first = json.loads(run("log", store, "--json"))[0]["before"]
    told = run("diff", f"{store}@{first}", store)
    assert "removed: episode0000, episode0002, episode0003" in told and "features added: action.joints" in told
    assert json.loads(run("diff", store, store, "--json"))["changed"] == {}
    assert run("undo", store, "--to", first).startswith(f"restore the state {first}: 4 episodes")
    assert run("purge", store, "1").startswith("purge 1 episode: the store has 3 episodes")
    assert "yes" not in run("log", store) and Store.open(store).verify().ok
    with pytest.raises(DataEngineError, match="not among the 3"):
        run("delete", store, "9")


def test_another_store_is_merged_and_pictures_are_counted(store: Path, tmp_path: Path) -> None:
    other = store_of(tmp_path / "other", [5, 6, 7, 8, 9, 10])
    assert (
        run("merge", store, other.root, "--dry-run") == "merge 2 episodes of other: would leave 6 episodes, 45 frames"
    )
    assert len(Store.open(store)) == 4
    assert run("merge", store, other.root) == "merge 2 episodes of other: the store has 6 episodes, 45 frames"
    with pytest.raises(DataEngineError, match="nothing to do"):
        run("merge", store, other.root)
    with pytest.raises(DataEngineError, match="every picture"):
        run("recount", store)
    with (copied := Store.create(tmp_path / "copied", fps=other.fps, features=other.features)).writer() as writer:
        writer.append(other[5])
    said = json.loads(run("recount", copied.root, "--json"))
    assert said == {"what": "count every picture", "done": True, "episodes": 1, "frames": 10}
