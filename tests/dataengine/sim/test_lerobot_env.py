"""The tabletop in stock LeRobot's own environment machinery and its own evaluation command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataengine.sim.tasks import TASKS, tasks_of

pytestmark = pytest.mark.slow

SIZE = 48


def test_lerobot_makes_it_and_names_its_features_like_the_dataset():
    lerobot_envs = pytest.importorskip("lerobot.envs")
    from lerobot.envs.utils import env_to_policy_features, preprocess_observation

    from dataengine.sim.lerobot_env import TabletopConfig
    from dataengine.sim.world import Tabletop

    config = TabletopConfig(task="pick_blue", image_size=SIZE)
    env = lerobot_envs.make_env(config, n_envs=2)["tabletop"][0]
    observation, _ = env.reset(seed=[0, 1])
    features = Tabletop(image_size=SIZE).features
    assert set(preprocess_observation(observation)) == {key for key in features if key.startswith("observation.")}
    assert set(env_to_policy_features(config)) == set(features)
    assert env.call("task_description") == ("pick up the blue cube",) * 2
    env.close()


@pytest.mark.parametrize("task", tasks_of("six"))
def test_lerobot_makes_every_task_with_either_arm(task):
    lerobot_envs = pytest.importorskip("lerobot.envs")

    from dataengine.sim.lerobot_env import TabletopConfig

    for arm in TASKS[task].arms:
        config = TabletopConfig(task=task, image_size=32, arm=arm, fps=30)
        env = lerobot_envs.make_env(config, n_envs=1)["tabletop"][0]
        observation, _ = env.reset(seed=[0])
        assert observation["agent_pos"].shape[1:] == config.features["agent_pos"].shape
        env.step(env.action_space.sample())
        assert env.call("task_description") == (TASKS[task].instruction(),)
        env.close()


def test_lerobot_eval_runs_a_policy_in_it(tmp_path):
    pytest.importorskip("lerobot.policies.act")
    _untrained_act(tmp_path / "act")
    command = [
        str(Path(sys.executable).parent / "lerobot-eval"),
        f"--policy.path={tmp_path / 'act'}",
        "--policy.device=cpu",
        "--env.discover_packages_path=dataengine.sim.lerobot_env",
        "--env.type=tabletop",
        "--env.task=push_red",
        f"--env.image_size={SIZE}",
        "--eval.n_episodes=2",
        "--eval.batch_size=2",
        "--eval.use_async_envs=false",
        f"--output_dir={tmp_path / 'out'}",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((tmp_path / "out" / "eval_info.json").read_text())["overall"]["n_episodes"] == 2


def _untrained_act(folder: Path) -> None:
    """The smallest ACT for this world, as LeRobot saves one, with random weights."""
    import torch
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    cameras = {
        f"observation.images.{c}": PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE)) for c in ("front", "wrist")
    }
    config = ACTConfig(
        input_features={"observation.state": PolicyFeature(FeatureType.STATE, (10,)), **cameras},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (5,))},
        chunk_size=8,
        n_action_steps=8,
        pretrained_backbone_weights=None,
        dim_model=32,
        n_heads=2,
        dim_feedforward=64,
        n_encoder_layers=1,
        device="cpu",
        push_to_hub=False,
    )

    def unscaled(*shape: int) -> dict[str, torch.Tensor]:
        zero, one = torch.zeros(shape), torch.ones(shape)
        return {"mean": zero, "std": one, "min": zero, "max": one}

    stats = {"observation.state": unscaled(10), "action": unscaled(5), **{key: unscaled(3, 1, 1) for key in cameras}}
    ACTPolicy(config).save_pretrained(folder)
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(folder)
