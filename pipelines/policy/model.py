"""The model: pictures, numbers and an instruction become memory tokens; a head turns them into an action chunk.

    pictures (B, C, S, S, 3) uint8 ──conv stem per camera, FiLM by the text──► (S/stride)² tokens ─┐
    state    (B, D) normalised     ──linear──────────────────────────────────► 1 token ──────────┼─ encoder ─► memory
    words    (B, L) int64          ──mean embedding, two layers──► text ─────► 1 token ──────────┘    (B, M, width)

What makes it read the instruction is the FiLM (Perez et al. 2017) after *every* convolution and on the action
queries, with its last layer at zero: the network starts as one that ignores the text and opens up where that pays.
Kaiming initialisation and the LayerNorm on the tokens are what lets pictures count at all in a few hundred steps.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dataengine.errors import ConfigError
from pipelines.policy.config import PolicyConfig


class FiLM(nn.Module):
    """Scale and shift of features by the text: `x · (1 + γ(text)) + β(text)`; starts as the identity."""

    def __init__(self, text_width: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(text_width, 2 * channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        """x: `(B, C, H, W)` or `(B, N, C)`. text: `(B, text_width)`."""
        gamma, beta = self.project(text).chunk(2, dim=-1)
        if x.ndim == 4:
            return x * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]
        return x * (1 + gamma[:, None]) + beta[:, None]


class Stem(nn.Module):
    """One camera: a 5×5 and then 3×3 convolutions, each followed by FiLM and ReLU."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        sizes, strides = pairwise((3, *config.channels)), config.strides or (2,) * len(config.channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, k, stride=stride, padding=(k - stride + 1) // 2)  # every pixel counts
            for (a, b), stride, k in zip(sizes, strides, (5, *(3,) * (len(strides) - 1)), strict=True)
        )
        self.films = nn.ModuleList(FiLM(config.width, b) for b in config.channels)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        side = config.image_size // config.stride
        self.project = nn.Linear(config.channels[-1], config.width)
        self.norm = nn.LayerNorm(config.width)
        self.place = nn.Parameter(0.02 * torch.randn(side * side, config.width))

    def forward(self, picture: Tensor, text: Tensor) -> Tensor:
        """picture: `(B, 3, S, S)` in [-1, 1] → tokens `(B, side², width)`."""
        x = picture
        for conv, film in zip(self.convs, self.films, strict=True):
            x = F.relu(film(conv(x), text))
        tokens = x.flatten(2).transpose(1, 2)
        return self.norm(self.project(tokens)) + self.place


class Attention(nn.Module):
    """Multi-head attention, written out: the fused kernel's bfloat16 backward is three times slower on a CPU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, causal: bool = False) -> Tensor:
        """x: `(B, N, width)` asks, memory: `(B, M, width)` answers."""
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N or M, width / heads)
            for t in (self.query(x), *self.key_value(memory).chunk(2, dim=-1))
        )
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        if causal:
            n, m = scores.shape[-2:]
            future = torch.ones(n, m, dtype=torch.bool, device=x.device).triu(1 + m - n)
            scores = scores.masked_fill(future, float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm transformer layer; with `cross` it also looks at a memory."""

    def __init__(self, config: PolicyConfig, *, cross: bool) -> None:
        super().__init__()
        width = config.width
        self.self_norm, self.self_attention = nn.LayerNorm(width), Attention(width, config.attention_heads)
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = Attention(width, config.attention_heads) if cross else None
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, memory: Tensor | None = None, causal: bool = False) -> Tensor:
        y = self.self_norm(x)
        x = x + self.self_attention(y, y, causal)
        if self.cross_norm is not None and self.cross_attention is not None and memory is not None:
            x = x + self.cross_attention(self.cross_norm(x), memory)
        return x + self.feed(self.feed_norm(x))


class Decoder(nn.Module):
    """Queries `(B, N, width)` that look at the memory; what the heads have in common."""

    def __init__(self, config: PolicyConfig, layers: int | None = None) -> None:
        super().__init__()
        self.film = FiLM(config.width, config.width)
        self.blocks = nn.ModuleList(Block(config, cross=True) for _ in range(layers or config.decoder_layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, queries: Tensor, memory: Tensor, text: Tensor, causal: bool = False) -> Tensor:
        x = self.film(queries, text)
        for block in self.blocks:
            x = block(x, memory, causal)
        return self.norm(x)


class Encoder(nn.Module):
    """Observation and instruction to memory tokens; the last of them, where the config asks for it, is the waypoint's.

    To tell where the motion will arrive is what teaches to find the thing that the words name: in the next few actions
    it hardly shows, and two things of one colour are then taken for one another.
    """

    def __init__(self, config: PolicyConfig, *, cameras: int, state_size: int, words: int) -> None:
        super().__init__()
        width = config.width
        self.words = nn.Embedding(words + 1, width, padding_idx=0)
        self.text = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.stems = nn.ModuleList(Stem(config) for _ in range(cameras))
        self.state = nn.Linear(state_size, width) if state_size else None
        self.norm = nn.LayerNorm(width)
        self.kind = nn.Parameter(0.02 * torch.randn(2 + cameras, width))  # what sort of token: text, state, camera i
        self.blocks = nn.ModuleList(Block(config, cross=False) for _ in range(config.encoder_layers))
        self.waypoint = Decoder(config, layers=1) if config.waypoint else None
        self.query = nn.Parameter(0.02 * torch.randn(1, width)) if config.waypoint else None

    def forward(self, pictures: Tensor, state: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """pictures `(B, C, S, S, 3)` uint8, state `(B, D)`, words `(B, L)` (0 pads) → memory, text `(B, width)`."""
        known = (words > 0).sum(1, keepdim=True).clamp(min=1)
        text = self.text(self.words(words).sum(1) / known)
        tokens = [text[:, None] + self.kind[0]]
        if self.state is not None:
            tokens.append(self.norm(self.state(state))[:, None] + self.kind[1])
        if len(self.stems):
            # uint8 NHWC memory is already what channels_last convolutions want: no copy is made here.
            x = pictures.permute(0, 1, 4, 2, 3).to(text.dtype) / 127.5 - 1
            tokens += [stem(x[:, i], text) + self.kind[2 + i] for i, stem in enumerate(self.stems)]
        memory = torch.cat(tokens, dim=1)
        for block in self.blocks:
            memory = block(memory)
        if self.waypoint is not None and self.query is not None:
            far = self.waypoint(self.query.expand(len(memory), -1, -1), memory, text)
            memory = torch.cat([memory, far], dim=1)
        return memory, text


class ActionHead(nn.Module, ABC):
    """What a head owes: a loss, and chunks `(B, chunk, D)` in normalised target space."""

    @abstractmethod
    def loss(self, memory: Tensor, text: Tensor, target: Tensor, valid: Tensor, draw: torch.Generator) -> Tensor: ...

    @abstractmethod
    def act(self, memory: Tensor, text: Tensor, draw: torch.Generator) -> Tensor: ...


class VLA(nn.Module):
    """Encoder and head. size: D, the numbers of one action in target space."""

    def __init__(self, encoder: Encoder, head: ActionHead, config: PolicyConfig, size: int) -> None:
        super().__init__()
        self.encoder, self.head, self.weight = encoder, head, config.waypoint
        self.waypoint = nn.Linear(config.width, size) if config.waypoint else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # a fifth faster, and the order pictures arrive in
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)

    def loss(
        self,
        pictures: Tensor,
        state: Tensor,
        words: Tensor,
        target: Tensor,
        valid: Tensor,
        far: Tensor,
        draw: torch.Generator,
    ) -> Tensor:
        """target `(B, chunk, D)` and far, the next waypoint, `(B, D)`, normalised; valid `(B, chunk)` bool; `draw` is
        the only randomness."""
        memory, text = self.encoder(pictures, state, words)
        loss = self.head.loss(memory, text, target, valid, draw)
        if self.waypoint is not None:
            loss = loss + self.weight * (self.waypoint(memory[:, -1]).float() - far).abs().mean()
        return loss

    @torch.inference_mode()
    def act(self, pictures: Tensor, state: Tensor, words: Tensor, draw: torch.Generator) -> Tensor:
        """Chunks `(B, chunk, D)` in normalised target space."""
        memory, text = self.encoder(pictures, state, words)
        return self.head.act(memory, text, draw)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())


def check_device(name: str) -> None:
    """Raises `ConfigError` when torch cannot compute there."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from error


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use this many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
