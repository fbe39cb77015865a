"""What a head draws for one decision, and the exact log-probability of it.

l1    gives a chunk; with exploration σ every number gets Gaussian noise: log N(z; chunk, σ²) of each action.
flow  starts from noise x₀ and takes K Euler steps. Without exploration nothing more is drawn and no density is given.
      With it, every step is Gaussian around Euler's, as in the flow-noise of pi-RL (Chen et al. 2025) with a fixed σ
      in place of their learned one: log p = log N(x₀; 0, 1) + Σₖ log N(xₖ₊₁; xₖ + v(xₖ)/K, σ²), exact for the chain.
tokens are drawn from the softmax at temperature σ, or are the likeliest at σ = 0, told at temperature 1. Where the
      head may not end yet, the distribution is that of the other tokens.

All in the normalised target space, natural logarithms, in float64.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipelines.policy.heads import FlowHead, L1Head, TokenHead
from pipelines.policy.model import ActionHead


class Said(NamedTuple):
    """chunk: `(1, chunk, D)`. parts: `(k,)` float64. noise: `(chunk, D)`. path: `(K, chunk, D)`."""

    chunk: Tensor
    parts: Tensor | None = None
    noise: Tensor | None = None
    path: Tensor | None = None
    tokens: tuple[int, ...] | None = None


@singledispatch
def explain(head: ActionHead, memory: Tensor, text: Tensor, draw: torch.Generator, sigma: float) -> Said:
    """One decision from memory `(1, M, width)` and text `(1, width)`; sigma: how much to explore."""
    raise TypeError(f"{type(head).__name__} cannot explain itself")


@explain.register
def _l1(head: L1Head, memory: Tensor, text: Tensor, draw: torch.Generator, sigma: float) -> Said:
    chunk = head.act(memory, text, draw)
    if not sigma:
        return Said(chunk)
    noise = torch.randn(chunk.shape, generator=draw).to(chunk)
    moved = chunk + sigma * noise
    return Said(moved, _density(moved, chunk, sigma)[0].sum(-1), noise[0])


@explain.register
def _flow(head: FlowHead, memory: Tensor, text: Tensor, draw: torch.Generator, sigma: float) -> Said:
    x = noise = torch.randn((1, head.chunk, head.size), generator=draw).to(memory)
    parts = [_density(x, torch.zeros_like(x), 1.0).sum()]
    path = []
    for step in range(head.steps):
        euler = head.step(x, step, memory, text)
        x = euler + sigma * torch.randn(x.shape, generator=draw).to(x) if sigma else euler
        path.append(x[0])
        if sigma:
            parts.append(_density(x, euler, sigma).sum())
    return Said(x, torch.stack(parts) if sigma else None, noise[0], torch.stack(path))


@explain.register
def _tokens(head: TokenHead, memory: Tensor, text: Tensor, draw: torch.Generator, sigma: float) -> Said:
    ids, parts = [head.begin], []
    for said in range(head.longest):
        logits = head.next_logits(torch.tensor([ids], device=memory.device), said, memory, text)[0]
        log_probs = (logits.double() / (sigma or 1.0)).log_softmax(-1)
        best = int(torch.multinomial(log_probs.exp(), 1, generator=draw)) if sigma else int(log_probs.argmax())
        parts.append(log_probs[best])
        if best == head.end:
            break
        ids.append(best)
    tokens = ids[1:]
    return Said(head.decode([tokens]).to(memory.device), torch.stack(parts), tokens=tuple(tokens))


def _density(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """log N(x; mean, σ²) of every number, float64."""
    return -0.5 * ((x.double() - mean.double()) / sigma).square() - math.log(sigma) - 0.5 * math.log(2 * math.pi)


def as_array(tensor: Tensor | None, dtype: type = np.float32) -> np.ndarray | None:
    return None if tensor is None else tensor.cpu().numpy().astype(dtype)
