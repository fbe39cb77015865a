"""Policies small enough for tests: the reference policy hardly trained, and an expert that sometimes gives up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dataengine import plugins
from dataengine.plugins import Explained
from dataengine.sim.expert import ExpertPolicy
from dataengine.store.gather import append_all

GIVES_UP_AFTER = (8, 20)  # steps, from and below


def demonstrations(root: Path, *, image_size: int = 32, episodes: int = 3) -> Path:
    """A store of the expert's."""
    params = {"episodes": episodes, "image_size": image_size, "recovery": 0.0}
    append_all(plugins.make("collectors", "expert", params).collect(), root)
    return root


def tiny_policy(store: Path, folder: Path, head: str, **choices: Any) -> Path:
    """A checkpoint after two steps."""
    from pipelines.policy.config import PolicyConfig
    from pipelines.policy.train import train

    small = {"width": 16, "channels": (8, 8), "image_size": 32, "attention_heads": 2}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "flow_steps": 3}
    quick = {"steps": 2, "batch": 4, "warmup": 0, "save_every": 2, "dtype": "float32", "holdout": 0.0}
    train(store, folder, PolicyConfig(**{"head": head, **small, **layers, **quick, **choices}))
    return folder


class Wavering:
    """Does what the expert does; with noise it gives up half of its attempts, and its features show it from then on."""

    def enter(self, world: Any) -> None:
        self._expert = ExpertPolicy()
        self._expert.enter(world)

    def reset(self) -> None:
        self.begin(0)

    def begin(self, seed: int, noise: float = 0.0) -> None:
        self._expert.reset()
        self._rng = np.random.default_rng(seed)
        gives_up = noise > 0 and self._rng.random() < 0.5
        self.lost = int(self._rng.integers(*GIVES_UP_AFTER)) if gives_up else None
        self._step, self._held = 0, np.zeros(0)

    def act(self, observation: Mapping[str, np.ndarray], instruction: str) -> np.ndarray:
        return self.act_explained(observation, instruction).actions

    def act_explained(self, observation: Mapping[str, np.ndarray], instruction: str) -> Explained:
        given_up = self.lost is not None and self._step >= self.lost
        if not given_up:
            self._held = self._expert.act(observation, instruction)
        self._step += 1
        features = np.array([given_up, 0.0, 1.0]) + 0.1 * self._rng.normal(size=3)
        return Explained(self._held.astype(np.float32), features=features.astype(np.float32))


def install(monkeypatch: Any, **policies: Any) -> None:
    """Make policies known by name in this process, beside the installed ones."""
    load, parts = plugins.load, plugins.parts
    monkeypatch.setattr(
        plugins,
        "load",
        lambda kind, name: policies[name] if kind == "policies" and name in policies else load(kind, name),
    )
    monkeypatch.setattr(plugins, "parts", lambda kind: {**parts(kind), **(policies if kind == "policies" else {})})
