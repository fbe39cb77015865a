"""LeRobot's own commands as a person starts them, each in a process of its own, with our world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("lerobot.scripts.lerobot_record")

from lerobot_commands import EXPERT, ROBOT, untrained_act  # noqa: E402

from dataengine.store import Store  # noqa: E402

DATASET = ("--dataset.single_task=pick up the red cube", "--dataset.fps=10", "--dataset.push_to_hub=false")
WORLD = ("--env.type=dataengine_tabletop", "--env.task=pick_red", "--env.image_size=64")
EVAL = ("--eval.n_episodes=2", "--eval.batch_size=2", "--eval.use_async_envs=false")


def run(name: str, *arguments: str, folder: Path) -> str:
    """What `lerobot-NAME` logged, without a network, a terminal or a display."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    clean = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL")}
    done = subprocess.run(
        [str(Path(sys.executable).parent / f"lerobot-{name}"), *arguments],
        env={**clean, **offline},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("console")
    timing = ("--dataset.num_episodes=2", "--dataset.episode_time_s=8", "--dataset.reset_time_s=0.3")
    where = ("--dataset.repo_id=me/demo", f"--dataset.root={folder / 'demo'}")
    log = run("record", *ROBOT, *EXPERT, *DATASET, *timing, *where, "--play_sounds=false", folder=folder)
    return folder / "demo", log


def test_the_expert_records_successes_at_the_worlds_own_rate(recorded: tuple[Path, str]) -> None:
    root, log = recorded
    assert log.count(": success in") == 2 and "scene 1 of run 3" in log
    store = Store.open(root)
    assert len(store) == 2 and all(60 <= len(episode) <= 82 for episode in store.episodes())


def test_an_episode_is_replayed_to_the_same_success(recorded: tuple[Path, str]) -> None:
    root, _ = recorded
    where = ("--dataset.repo_id=me/demo", f"--dataset.root={root}", "--dataset.episode=1", "--play_sounds=false")
    assert "scene 1 of run 3: success" in run("replay", *ROBOT, "--robot.first=1", *where, folder=root.parent)


def test_lerobot_trains_on_it_and_evaluates_in_our_world(recorded: tuple[Path, str]) -> None:
    root, _ = recorded
    folder = root.parent
    run(
        "train",
        *("--dataset.repo_id=me/demo", f"--dataset.root={root}", "--dataset.video_backend=pyav"),
        *("--policy.type=act", "--policy.device=cpu", "--policy.push_to_hub=false", "--policy.chunk_size=8"),
        *("--policy.n_action_steps=8", "--policy.dim_model=32", "--policy.n_heads=2", "--policy.n_encoder_layers=1"),
        *("--policy.pretrained_backbone_weights=null", "--policy.dim_feedforward=64", "--wandb.enable=false"),
        *("--steps=4", "--batch_size=2", "--num_workers=0", "--save_freq=4", "--env_eval_freq=4"),
        *(f"--output_dir={folder / 'run'}", *WORLD, *EVAL),
        folder=folder,
    )
    checkpoint = folder / "run" / "checkpoints" / "000004" / "pretrained_model"
    policy = (f"--policy.path={checkpoint}", "--policy.device=cpu")
    run("eval", *policy, *WORLD, *EVAL, f"--output_dir={folder / 'judged'}", folder=folder)
    assert json.loads((folder / "judged" / "eval_info.json").read_text())["overall"]["n_episodes"] == 2


def test_a_policy_rolls_out_in_scenes_that_change_with_the_episode(tmp_path: Path) -> None:
    untrained_act(tmp_path / "act", 64)
    policy = (f"--policy.path={tmp_path / 'act'}", "--policy.device=cpu", "--fps=10", "--play_sounds=false")
    base = ("--strategy.type=base", "--duration=2", "--task=pick up the red cube")
    assert "scene 0 of run 3" in run("rollout", *ROBOT, *policy, *base, folder=tmp_path)
    episodic = ("--strategy.type=episodic", "--dataset.num_episodes=2", "--dataset.episode_time_s=2")
    where = ("--dataset.repo_id=me/rollout_demo", f"--dataset.root={tmp_path / 'rolled'}", "--dataset.reset_time_s=0")
    log = run("rollout", *ROBOT, *policy, *episodic, *DATASET, *where, folder=tmp_path)
    assert "scene 1 of run 3" in log
    first, second = (episode.frames["observation.state"][0] for episode in Store.open(tmp_path / "rolled").episodes())
    assert np.abs(first - second).max() > 0.01
