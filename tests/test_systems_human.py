"""docs/systems.md, rows about human video: what comes out is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cotraining import FRONT, HUMAN, ROBOT, filmed, robots
from dataengine.cli import app
from dataengine.episode import Episode
from dataengine.sim.world import Tabletop
from dataengine.store import Store
from dataengine.store.gather import append_all
from pipelines.common_space import EULER
from pipelines.policy.infer import load_policy

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A robot's demonstrations and retargeted videos of a person."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("embodiments")
    append_all(robots(("pick_red",), 3), folder / "robot")
    videos: list[Episode] = [episode for number in (7, 8) for episode in filmed(number, "pick_red")]
    append_all(videos, folder / "human")
    return folder / "robot", folder / "human"


def test_44_human_video_is_one_more_embodiment_of_one_action_space(stores: tuple[Path, Path], tmp_path: Path) -> None:
    robot, human = stores
    given = {"robot": robot, "human": human, "out": tmp_path / "both", "human_camera": FRONT, "steps": 3}
    sets = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(app, ["run", str(ROOT / "examples/cotrain.yaml"), "--workers", "1", *sets])
    assert done.exit_code == 0, done.output
    both, theirs = Store.open(tmp_path / "both"), Store.open(human)
    of = [episode.meta.embodiment for episode in both.episodes()]
    assert of.count(ROBOT) == 3 and of.count(HUMAN) == len(theirs) > 0
    assert both.features["action"].names == EULER and set(both.features) == {
        "observation.state", "action", "observation.images.scene"
    }  # fmt: skip
    assert both.features["observation.images.scene"].shape == (96, 96, 3)
    actions = {kind: [e.frames["action"] for e in both.episodes() if e.meta.embodiment == kind] for kind in set(of)}
    low, high = Tabletop(arm="six", cameras=()).body.action_low, Tabletop(arm="six", cameras=()).body.action_high
    for kind, rows in actions.items():  # both say where a tool shall be in front of the robot, in one measure
        places = np.concatenate(rows)[:, :3]
        assert (places > low[:3] - 0.05).all() and (places < high[:3] + 0.05).all(), kind
    policy = load_policy(next((tmp_path / "both.flow").rglob("policy.json")).parent)
    assert policy.spec.config.shares == {ROBOT: 1, HUMAN: 1}
    kept_back = min(both.episodes(), key=lambda e: e.id).id  # of few episodes one is held out
    learnt = [episode for episode in both.episodes() if episode.id != kept_back]
    assert {episode.meta.embodiment for episode in learnt} == {ROBOT, HUMAN}
    scaled = np.concatenate([episode.frames["observation.state"] for episode in learnt]).astype(float)
    np.testing.assert_allclose(policy.spec.state.mean, scaled.mean(0), atol=1e-5)  # one scale for both
    seen = {
        "observation.state": scaled[0].astype(np.float32),
        "observation.images.scene": np.zeros((96, 96, 3), np.uint8),
    }
    assert policy.act(seen, "pick up the red cube").shape == (4, 7)
