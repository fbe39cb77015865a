"""Three ways to say an action chunk `(B, chunk, D)` in normalised target space, over one decoder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataengine.plugins import Tokenizer
from pipelines.policy.config import PolicyConfig
from pipelines.policy.model import ActionHead, Decoder


def masked_mean(error: Tensor, valid: Tensor) -> Tensor:
    """Mean of `(B, N, …)` over the places `(B, N)` that are inside the episode."""
    weight = valid.to(error.dtype)
    return (error.flatten(2).mean(-1) * weight).sum() / weight.sum().clamp(min=1)


class L1Head(ActionHead):
    """Regression to the median chunk, as in ACT without its latent variable: quick to learn, one pass to act."""

    def __init__(self, config: PolicyConfig, size: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(config.chunk, config.width))
        self.decoder = Decoder(config)
        self.out = nn.Linear(config.width, size)

    def act(self, memory: Tensor, text: Tensor, draw: torch.Generator) -> Tensor:
        queries = self.queries.expand(len(memory), -1, -1)
        return self.out(self.decoder(queries, memory, text)).float()

    def loss(self, memory: Tensor, text: Tensor, target: Tensor, valid: Tensor, draw: torch.Generator) -> Tensor:
        return masked_mean((self.act(memory, text, draw) - target).abs(), valid)


class FlowHead(ActionHead):
    """Flow matching (Lipman et al. 2023, eq. 23 with σ=0; π0, Black et al. 2024): noise at τ=0, the chunk at τ=1.

    On the straight path x_τ = (1-τ)·noise + τ·chunk the velocity is (chunk - x_τ) / (1-τ). The network says the chunk
    itself, which is well scaled at every τ, and the velocity follows from it; the loss is over the chunk, so near τ=1
    nothing explodes. Several draws of noise share one pass through the encoder, which costs most.
    """

    def __init__(self, config: PolicyConfig, size: int) -> None:
        super().__init__()
        self.size, self.chunk = size, config.chunk
        self.steps, self.draws = config.flow_steps, config.flow_draws
        self.queries = nn.Parameter(torch.randn(config.chunk, config.width))
        self.noisy = nn.Linear(size, config.width)
        self.time = nn.Sequential(nn.Linear(64, config.width), nn.SiLU(), nn.Linear(config.width, config.width))
        self.decoder = Decoder(config)
        self.out = nn.Linear(config.width, size)

    def _chunk(self, x: Tensor, tau: Tensor, memory: Tensor, text: Tensor) -> Tensor:
        """The network's guess of the clean chunk from x `(B, chunk, D)` at time tau `(B,)`."""
        angle = tau[:, None] * torch.exp(torch.linspace(0, math.log(1000), 32, device=tau.device))
        time = self.time(torch.cat([angle.sin(), angle.cos()], dim=-1))
        queries = self.queries + self.noisy(x) + time[:, None]
        return self.out(self.decoder(queries, memory, text)).float()

    def loss(self, memory: Tensor, text: Tensor, target: Tensor, valid: Tensor, draw: torch.Generator) -> Tensor:
        memory, text, target, valid = (t.repeat_interleave(self.draws, dim=0) for t in (memory, text, target, valid))
        noise = torch.randn(target.shape, generator=draw).to(target)
        tau = torch.rand(len(target), generator=draw).to(target)
        x = torch.lerp(noise, target, tau[:, None, None])
        return masked_mean((self._chunk(x, tau, memory, text) - target).square(), valid)

    def act(self, memory: Tensor, text: Tensor, draw: torch.Generator) -> Tensor:
        x = torch.randn((len(memory), self.chunk, self.size), generator=draw).to(memory)
        for step in range(self.steps):
            x = self.step(x, step, memory, text)
        return x

    def step(self, x: Tensor, step: int, memory: Tensor, text: Tensor) -> Tensor:
        """Euler's step from x `(B, chunk, D)` at time step / steps; the last one lands on the guess itself."""
        tau = torch.full((len(memory),), step / self.steps, device=memory.device)
        return x + (self._chunk(x, tau, memory, text) - x) / (self.steps - step)


class ChunkTokenizer(Tokenizer, Protocol):
    """What the token head needs: its tokens are `0 … vocab_size - 1`, and it can be saved."""

    @property
    def vocab_size(self) -> int: ...
    def save(self, folder: Path) -> None: ...


class TokenHead(ActionHead):
    """Autoregressive action tokens: FAST (Pertsch et al. 2025) or 256 bins (RT-2), through the tokenizer's protocol.

    The tokenizer works on chunks in normalised target space. Token ids are the tokenizer's, then `end` and `begin`.
    `lengths` are the shortest and the longest chunk of the training data in tokens; decoding keeps within them.
    """

    def __init__(self, config: PolicyConfig, size: int, tokenizer: ChunkTokenizer, lengths: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.chunk, self.tokenizer = size, config.chunk, tokenizer
        self.shortest, self.longest = lengths
        self.end, self.begin = tokenizer.vocab_size, tokenizer.vocab_size + 1
        self.tokens = nn.Embedding(tokenizer.vocab_size + 2, config.width)
        self.place = nn.Parameter(0.02 * torch.randn(self.longest + 1, config.width))
        self.decoder = Decoder(config)
        self.out = nn.Linear(config.width, tokenizer.vocab_size + 1)

    def _logits(self, tokens: Tensor, memory: Tensor, text: Tensor) -> Tensor:
        queries = self.tokens(tokens) + self.place[: tokens.shape[1]]
        return self.out(self.decoder(queries, memory, text, causal=True)).float()

    def loss(self, memory: Tensor, text: Tensor, target: Tensor, valid: Tensor, draw: torch.Generator) -> Tensor:
        """Cross entropy over all tokens; a chunk past the episode's end holds its last action (see data.py)."""
        coded = self.tokenizer.encode(target.cpu().numpy())
        length = min(max(map(len, coded)), self.longest)
        ids = torch.full((len(coded), length + 2), -1, device=memory.device)  # begin, tokens, end, then -1
        for row, tokens in zip(ids, coded, strict=True):
            tokens = [self.begin, *tokens[: self.longest], self.end]
            row[: len(tokens)] = torch.tensor(tokens)
        logits = self._logits(ids[:, :-1].clamp(min=0), memory, text)
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=-1)

    def act(self, memory: Tensor, text: Tensor, draw: torch.Generator) -> Tensor:
        ids = torch.full((len(memory), 1), self.begin, device=memory.device)
        done = torch.zeros(len(memory), dtype=torch.bool, device=memory.device)
        for said in range(self.longest):
            best = self.next_logits(ids, said, memory, text).argmax(-1)
            done |= best == self.end
            ids = torch.cat([ids, torch.where(done, self.end, best)[:, None]], dim=1)
            if done.all():
                break
        return self.decode([[t for t in row if t != self.end] for row in ids[:, 1:].tolist()]).to(memory.device)

    def next_logits(self, ids: Tensor, said: int, memory: Tensor, text: Tensor) -> Tensor:
        """Logits of what follows ids `(B, 1 + said)`: of the tokens alone while the chunk may not end yet."""
        logits = self._logits(ids, memory, text)[:, -1]
        return logits[:, : self.end] if said < self.shortest else logits

    def decode(self, coded: list[list[int]]) -> Tensor:
        """Chunks `(B, chunk, D)` of tokens."""
        return torch.from_numpy(np.asarray(self.tokenizer.decode(coded), np.float32).reshape(-1, self.chunk, self.size))
