"""Stock LeRobot's commands, run inside this process: importing LeRobot takes longer than all they do."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from lerobot.utils.import_utils import register_third_party_plugins

ROBOT = ("--robot.type=dataengine_tabletop", "--robot.id=r1", "--robot.image_size=64", "--robot.seed=3")
EXPERT = ("--teleop.type=dataengine_expert", "--teleop.id=t1")


def command(name: str, *arguments: str, calibration: Path) -> Any:
    """`lerobot-NAME` as a person would start it, without its lookup of plugins."""
    argv = [f"lerobot-{name}", *arguments, f"--robot.calibration_dir={calibration}"]
    if EXPERT[0] in arguments:
        argv.append(f"--teleop.calibration_dir={calibration}")
    register_third_party_plugins()
    module = importlib.import_module(f"lerobot.scripts.lerobot_{name}")
    function = getattr(module, {"rollout": "rollout"}.get(name, name))
    with mock.patch.object(sys, "argv", argv), quiet():
        return function()


def record(root: Path, *arguments: str, calibration: Path, episodes: int = 2, seconds: float = 2) -> Any:
    """A run without a person, as LEROBOT.md has it."""
    return command(
        "record",
        *ROBOT,
        "--dataset.repo_id=me/demo",
        f"--dataset.root={root}",
        "--dataset.single_task=pick up the red cube",
        f"--dataset.num_episodes={episodes}",
        f"--dataset.episode_time_s={seconds}",
        *("--dataset.reset_time_s=0", "--dataset.fps=10", "--dataset.push_to_hub=false"),
        *("--display_data=false", "--play_sounds=false"),
        *arguments,
        calibration=calibration,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Give the root logger back as it was: LeRobot clears it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def untrained_act(folder: Path, size: int, seed: int = 0) -> None:
    """The smallest ACT for this world, as LeRobot saves one, with random weights."""
    import torch
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    cameras = {
        f"observation.images.{c}": PolicyFeature(FeatureType.VISUAL, (3, size, size)) for c in ("front", "wrist")
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
    torch.manual_seed(seed)
    ACTPolicy(config).save_pretrained(folder)
    for processor in make_pre_post_processors(config, dataset_stats=stats):
        processor.save_pretrained(folder)
