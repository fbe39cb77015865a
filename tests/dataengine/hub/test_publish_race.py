"""The one race that publishing cannot close: LeRobot 0.6.1 looks its tag up twice, and a tag can move in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from store_made import FPS, SMALL, episode

from dataengine.hub.publish import Publish
from dataengine.hub.server import serving
from dataengine.store import Store

FEATURES = {key: SMALL[key] for key in ("observation.state", "action")}
LENGTHS = {"A": (4, 5), "B": (6, 7)}


def store_of(folder: Path, version: str) -> Path:
    store = Store.create(folder, fps=FPS, features=FEATURES)
    with store.writer() as writer:
        for seed, length in enumerate(LENGTHS[version]):
            writer.append(episode(seed + 10 * (version == "B"), length, FEATURES))
    return folder


def read_by_stock(repo: str, revision: str, commit: str, address: str, cache: Path) -> dict[str, float]:
    places = {"HF_HOME": "hf", "HF_DATASETS_CACHE": "datasets", "HF_LEROBOT_HOME": "lerobot"}
    environment = {**os.environ, **{name: str(cache / place) for name, place in places.items()}}
    environment |= {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}
    program = Path(__file__).parents[2] / "stock_race.py"
    done = subprocess.run(
        [sys.executable, str(program), repo, revision, commit], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("pinned", ["-", "v3.0.1", "commit"])
def test_only_a_reader_that_pins_nothing_can_mix_two_versions(tmp_path: Path, pinned: str) -> None:
    """Should the first case fail one day, LeRobot looks up once: take the race out of docs/publishing.md."""
    with serving(tmp_path / "hub") as address:
        publish = Publish("local/race", licence="mit", endpoint=address)
        first = publish.run(store_of(tmp_path / "A", "A"), tmp_path / "out")
        second = publish.run(store_of(tmp_path / "B", "B"), tmp_path / "out")
        _move_back(address, first["commit"])
        revision = first["commit"] if pinned == "commit" else pinned
        found = read_by_stock("local/race", revision, second["commit"], address, tmp_path / "cache")
    a, b = sum(LENGTHS["A"]), sum(LENGTHS["B"])
    assert (found["meta"], found["rows"]) == ((a, b) if pinned == "-" else (a, a)), found


def _move_back(address: str, commit: str) -> None:
    """The tag as it stood before the second publish."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=address)
    api.delete_tag("local/race", tag="v3.0", repo_type="dataset")
    api.create_tag("local/race", tag="v3.0", revision=commit, repo_type="dataset")
