"""Everything that can be chosen about the reference policy. The defaults are the recipe that works on two cores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dataengine.errors import ConfigError
from dataengine.plugins import checked

Head = Literal["l1", "flow", "fast", "bins"]


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Parameters of the model and of its training.

    head: `l1` regresses the chunk; `flow` learns a velocity field from noise to the chunk; `fast` and `bins` write
    it token by token, with the tokenizer of that name.
    chunk, execute: actions predicted at once, and how many of them are run before looking again.
    waypoint: weight of the error of where the motion will arrive (the next change of a gripper, or the end); 0 leaves
    it out, and with it what makes things of like colour be told apart.
    relative: names of action elements to predict relative to the state at the chunk's start; None takes every
    element that has its like in the state, grippers excepted; an empty list predicts plain actions.
    cameras, observations: feature keys to look at; None takes every colour camera, every numeric `observation.*`.
    shares: how much of what is learnt each embodiment gives, by its name in the episodes, of any sum; by default every
    frame counts alike.
    channels, strides: of the convolutions; strides are 2 each where none are given. `image_size` over their product
    is the side of the grid of tokens, and decides the speed: 4 suits two cores.
    steps: optimiser steps; a number of minutes would make two machines train two different models.
    holdout: share of the episodes kept for the held-out error, where the dataset has no split of its own.
    shift: random shift of the pictures in pixels. flow_draws: noise samples per picture; encoding dominates.
    save_every: steps between checkpoints to resume from. dtype: `auto` computes in bfloat16 where the processor does,
    which is nearly twice as fast, and learns the same. threads: more than one is slower where two
    share a core; two cores of their own made 1.45 of the steps. A trained policy acts with one.
    """

    head: Head = "l1"
    chunk: int = 8
    execute: int = 4
    waypoint: float = 1.0
    relative: tuple[str, ...] | None = None
    cameras: tuple[str, ...] | None = None
    observations: tuple[str, ...] | None = None
    include_failed: bool = False
    shares: Mapping[str, float] | None = None
    holdout: float = 0.1

    image_size: int = 64
    channels: tuple[int, ...] = (24, 48, 96, 128)
    strides: tuple[int, ...] = ()
    width: int = 128
    attention_heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 2
    flow_steps: int = 10
    flow_draws: int = 4

    steps: int = 1600
    batch: int = 64
    learning_rate: float = 6e-4
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.995
    shift: int = 4
    seed: int = 0
    save_every: int = 200
    device: str = "cpu"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("chunk", "execute", "image_size", "width", "attention_heads", "decoder_layers"):
            self._at_least(name, 1)
        for name in ("flow_steps", "flow_draws", "steps", "batch", "save_every", "threads"):
            self._at_least(name, 1)
        for name in ("encoder_layers", "warmup", "shift", "weight_decay", "waypoint"):
            self._at_least(name, 0)
        if max(self.encoder_layers, self.decoder_layers, len(self.channels)) > 64:
            raise ConfigError("more than 64 layers are not a model of this size")
        if self.flow_steps > 1000 or self.threads > 1000:  # a checkpoint may not make its reader wait for ever
            raise ConfigError(f"flow_steps={self.flow_steps} and threads={self.threads} must be at most 1000")
        if wrong := [name for name, share in (self.shares or {}).items() if not 0 <= share < math.inf]:
            raise ConfigError(f"shares are numbers from 0 on; that of {', '.join(wrong)} is not")
        if self.execute > self.chunk:
            raise ConfigError(f"execute={self.execute} runs more actions than chunk={self.chunk} predicts")
        if self.width % self.attention_heads:
            raise ConfigError(f"width={self.width} is not a multiple of attention_heads={self.attention_heads}")
        if min(self.channels, default=1) < 1:
            raise ConfigError(f"channels={self.channels} must each be at least 1")
        if not self.channels or len(self.strides) not in (0, len(self.channels)):
            raise ConfigError(f"channels={self.channels} and strides={self.strides} must be as many, and at least one")
        if not all(1 <= stride <= 3 for stride in self.strides):
            raise ConfigError(f"strides={self.strides} must each be 1 to 3: a longer one skips pixels")
        if self.image_size % self.stride:
            needs = f"a multiple of {self.stride} for {len(self.channels)} convolutions"
            raise ConfigError(f"image_size={self.image_size} must be {needs}")
        if not 0 <= self.holdout < 1 or not 0 <= self.ema < 1:
            raise ConfigError(f"holdout={self.holdout} and ema={self.ema} must lie in [0, 1)")
        if not 0 < self.learning_rate < float("inf") or not self.clip > 0:
            raise ConfigError(f"learning_rate={self.learning_rate} and clip={self.clip} must be positive")

    @property
    def stride(self) -> int:
        """Side of the part of a picture that one token stands for [pixels]."""
        return math.prod(self.strides or [2] * len(self.channels))

    def _at_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise ConfigError(f"{name}={getattr(self, name)} must be at least {least}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PolicyConfig:
        """Read back `to_json`; unknown keys are refused, since they would change what the model is."""
        return cls(**checked(PolicyConfig, data, "the policy", "policy"))
