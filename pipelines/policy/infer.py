"""A saved policy as `dataengine.plugins.Policy`: an observation and an instruction in, the next actions out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dataengine.episode import Feature
from dataengine.errors import ConfigError
from dataengine.plugins import Explained
from pipelines.policy.actions import names_of
from pipelines.policy.checkpoint import read_policy
from pipelines.policy.explain import as_array, explain
from pipelines.policy.model import threads
from pipelines.policy.pictures import resize

log = logging.getLogger(__name__)


class ReferencePolicy:
    """A trained policy; picklable, so that evaluation can send it to workers.

    `act` gives `(execute, A)` float32 in the action space of the dataset it was trained on. Two policies that are
    reset act alike: the only randomness, a flow head's noise, starts from the same seed.
    """

    def __init__(self, checkpoint: Path, device: str = "cpu") -> None:
        self.spec, self._model = read_policy(Path(checkpoint), device)
        self._unknown: set[str] = set()
        self.reset()

    @property
    def action(self) -> Feature:
        """What its actions are, as far as its dataset said it."""
        space = self.spec.space
        feature = Feature("float32", (space.size,), role="action")
        names = space.names if space.names != names_of("action", feature) else None
        units = tuple(unit or "" for unit in space.units) if any(space.units) else None
        info = {"control": space.control} if space.control else {}
        return replace(feature, names=names, unit=units, info=info)

    @property
    def fps(self) -> float:
        """Actions per second."""
        return self.spec.fps

    def reset(self) -> None:
        """Start an episode."""
        self._episode: int | None = None
        self._decisions, self._noise = 0, 0.0

    def begin(self, seed: int, noise: float = 0.0) -> None:
        """Start an episode with randomness of its own. noise: of the exploration, as `explain.py` says: a standard
        deviation in the normalised target space (l1, flow), or a temperature (fast, bins). Raises `ConfigError`."""
        if not 0 <= noise <= 10:
            raise ConfigError(f"noise is 0 to 10, not {noise}")
        self.reset()
        self._episode, self._noise = seed, noise

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        """Pictures are `(H, W, 3)` uint8 of any size; numbers are in the dataset's units.

        Raises `ConfigError` when the observation lacks something the policy was trained on or has another shape.
        """
        pictures, state, words, here = self._look(observation, instruction)
        with threads(1):  # one picture is too little for more, and workers act side by side
            targets = self._model.act(pictures, state, words, self._draw())
        return self._actions(targets, here)

    @torch.inference_mode()
    def act_explained(self, observation: Mapping[str, np.ndarray], instruction: str) -> Explained:
        """Like `act`, with what was drawn and how likely it was. features: the mean over the memory tokens.

        The parts of an l1 head are those of the actions that are given; of the others' the whole chunk's.
        """
        pictures, state, words, here = self._look(observation, instruction)
        with threads(1):
            memory, text = self._model.encoder(pictures, state, words)
            said = explain(self._model.head, memory, text, self._draw(), self._noise)
        parts = as_array(said.parts, np.float64)
        if parts is not None and self.spec.config.head == "l1":
            parts = parts[: self.spec.config.execute]
        return Explained(
            actions=self._actions(said.chunk, here),
            log_prob=None if parts is None else float(parts.sum()),
            parts=parts,
            noise=as_array(said.noise),
            path=as_array(said.path),
            tokens=said.tokens,
            features=as_array(memory.mean(1)[0]),
        )

    def _look(
        self, observation: Mapping[str, np.ndarray], instruction: str
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]:
        """Pictures, state and words as the model takes them, and the state in the dataset's units."""
        spec, device = self.spec, self.spec.config.device
        if new := set(spec.vocabulary.unknown(instruction)) - self._unknown:
            self._unknown |= new
            log.warning("the policy has never read %s", ", ".join(sorted(new)))
        pictures = [resize(self._get(observation, key), spec.config.image_size) for key in spec.cameras]
        looked = np.stack(pictures)[None] if pictures else np.zeros((1, 0, 1, 1, 3), np.uint8)
        state = self._state(observation)
        words = spec.vocabulary.encode([instruction])
        inputs = [torch.from_numpy(a).to(device) for a in (looked, spec.state.normalise(state), words)]
        return inputs[0], inputs[1], inputs[2], state

    def _draw(self) -> torch.Generator:
        """The randomness of the next decision."""
        seed, self._decisions = self._decisions, self._decisions + 1
        if self._episode is not None:
            seed = int(np.random.SeedSequence([self._episode, seed]).generate_state(1, np.uint64)[0] >> 1)
        return torch.Generator().manual_seed(seed)

    def _actions(self, targets: torch.Tensor, state: np.ndarray) -> np.ndarray:
        """`(execute, A)` float32 in the dataset's units."""
        actions = self.spec.actions(targets.cpu().numpy(), state)[0]
        return actions[: self.spec.config.execute].astype(np.float32)

    def _state(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """`(1, S)` float32: all numeric inputs in the model's order."""
        columns = [np.zeros(0, np.float32)]
        for key, size in self.spec.inputs:
            value = np.asarray(self._get(observation, key), np.float32).reshape(-1)
            if value.shape != (size,) or not np.isfinite(value).all():
                raise ConfigError(f"{key!r} is {size} finite numbers for this policy, not {value}")
            columns.append(value)
        return np.concatenate(columns)[None]

    def _get(self, observation: Mapping[str, np.ndarray], key: str) -> np.ndarray:
        if key not in observation:
            raise ConfigError(f"the policy looks at {key!r}; the observation has {', '.join(observation)}")
        return np.asarray(observation[key])


def load_policy(checkpoint: Path | str, device: str = "cpu") -> ReferencePolicy:
    """A policy from the folder of its training run or from `policy/` inside; `SourceError` when there is none."""
    return ReferencePolicy(Path(checkpoint), device)
