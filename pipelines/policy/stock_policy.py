"""A checkpoint of stock LeRobot as `dataengine.plugins.Policy`, through LeRobot's own loading code and processors.

LeRobot keeps a queue of actions inside its policies and is asked once for each, so a chunk here is one action, and what
looks like a decision at every frame may be the next of a queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataengine.errors import ConfigError, MissingDependency, SourceError
from dataengine.plugins import Explained
from pipelines.policy.model import threads

# Where a kind of policy sees the situation as a whole: tokens `(tokens, 1, F)`, whose mean are its features.
VIEWS = {"act": "model.encoder"}


class StockPolicy:
    """LeRobot's policy and the processors saved beside it. Randomness is its own generator's, never the process's."""

    def __init__(self, checkpoint: Path, device: str = "cpu") -> None:
        if find_spec("lerobot") is None:
            raise MissingDependency("lerobot", extra="lerobot")
        from lerobot.configs import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        folder = _pretrained(Path(checkpoint))
        config: Any = PreTrainedConfig.from_pretrained(folder, local_files_only=True)
        config.device, config.pretrained_path = device, folder
        self._policy = get_policy_class(config.type).from_pretrained(folder, config=config, local_files_only=True)
        self._policy.to(device).eval()
        self._processors = make_pre_post_processors(
            config, pretrained_path=str(folder), preprocessor_overrides={"device_processor": {"device": device}}
        )
        self._device = torch.device(device)
        self._features: np.ndarray | None = None
        if config.type in VIEWS:
            self._policy.get_submodule(VIEWS[config.type]).register_forward_hook(self._note)
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        self.begin(0)

    def begin(self, seed: int, noise: float = 0.0) -> None:
        """Start an episode with randomness of its own: the noise that flow and diffusion policies start from. LeRobot's
        policies have no exploration beside it. Raises `ConfigError` where some is asked for."""
        if noise:
            raise ConfigError("LeRobot's policies cannot explore beyond their own randomness: noise must be 0")
        self._policy.reset()
        for processor in self._processors:
            processor.reset()
        self._random = torch.Generator().manual_seed(seed).get_state()

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        """The next action, `(1, A)` float32."""
        return self.act_explained(observation, instruction).actions

    def act_explained(self, observation: Mapping[str, np.ndarray], instruction: str) -> Explained:
        """LeRobot's policies say no probabilities; ACT gives features. Raises `ConfigError` for what it lacks."""
        from lerobot.common.control_utils import predict_action

        wanted = self._policy.config.input_features
        if absent := [key for key in wanted if key not in observation]:
            raise ConfigError(f"the policy looks at {', '.join(absent)}; the observation has {', '.join(observation)}")
        looked = {key: np.ascontiguousarray(observation[key]) for key in wanted}
        with torch.random.fork_rng(devices=[]), threads(1):
            torch.set_rng_state(self._random)
            action = predict_action(
                looked, self._policy, self._device, *self._processors, use_amp=False, task=instruction
            )
            self._random = torch.get_rng_state()
        return Explained(action.float().cpu().numpy().reshape(1, -1), features=self._features)

    def _note(self, module: Any, given: Any, tokens: torch.Tensor) -> None:
        self._features = tokens.detach().float().mean(0)[0].cpu().numpy()


def _pretrained(folder: Path) -> Path:
    """The `pretrained_model` folder, also of a run or of `dataengine train --policy lerobot:…`."""
    for place in (folder, folder / "pretrained_model"):
        if (place / "config.json").is_file():
            return place
    if found := sorted(folder.glob("**/checkpoints/[0-9]*/pretrained_model/config.json")):
        return found[-1].parent
    raise SourceError(folder, "holds no checkpoint of LeRobot (config.json and model.safetensors)")


def load_stock(checkpoint: Path | str, device: str = "cpu") -> StockPolicy:
    """A policy of LeRobot from a checkpoint or the folder of its run; `SourceError` where there is none."""
    return StockPolicy(Path(checkpoint), device)
