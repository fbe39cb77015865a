"""Uniform bins per action dimension, written as numbers in text (RT-1, RT-2: Brohan et al. 2023, arXiv 2307.15818)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataengine.errors import ConfigError, SourceError
from dataengine.guard import read_json
from pipelines.tokenizers.chunks import Bounds, check_finite

MOST = 2**16


@dataclass(frozen=True)
class Bins:
    """`bins` equal steps between the 1 % and 99 % quantile of every dimension; outside is clipped.

    A chunk `(T, A)` becomes T·A integers in [0, bins), step by step.
    """

    bounds: Bounds
    horizon: int = 1
    bins: int = 256

    @property
    def dimensions(self) -> int:
        return len(self.bounds.low)

    @property
    def vocab_size(self) -> int:
        return self.bins

    @classmethod
    def fit(cls, chunks: np.ndarray, *, bins: int = 256) -> Bins:
        if chunks.ndim != 3 or not len(chunks):
            raise ConfigError(f"bins are fitted on chunks (N, T, A) with N > 0, not {chunks.shape}")
        return cls(Bounds.of(chunks.reshape(-1, chunks.shape[2])), chunks.shape[1], bins)

    def __post_init__(self) -> None:
        if not 2 <= self.bins <= MOST or not 1 <= self.horizon <= MOST:
            raise ConfigError(f"bins={self.bins} is 2 to {MOST}")

    def encode(self, chunks: np.ndarray) -> list[list[int]]:
        check_finite(chunks)
        unit = (self.bounds.normalise(chunks) + 1) / 2
        return np.minimum(unit * self.bins, self.bins - 1).astype(np.int64).reshape(len(chunks), -1).tolist()

    def decode(self, tokens: Sequence[Sequence[int]]) -> np.ndarray:
        """Bin centres, `(N, T, A)` float64, so the error is at most half a bin inside the quantiles."""
        if {len(row) % self.dimensions for row in tokens} | {len({len(row) for row in tokens}) - 1} != {0}:
            raise ConfigError(f"every chunk is a number of whole steps of {self.dimensions} tokens, all as long")
        codes = np.clip(np.asarray(tokens, np.float64), 0, self.bins - 1).reshape(len(tokens), -1, self.dimensions)
        return self.bounds.restore((codes + 0.5) / self.bins * 2 - 1)

    @staticmethod
    def text(tokens: Sequence[int]) -> str:
        """One step as RT-2 writes it into a language model's target: numbers with spaces between."""
        return " ".join(map(str, tokens))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"bins": self.bins, "time_horizon": self.horizon}
        content |= {"q01": self.bounds.low.tolist(), "q99": self.bounds.high.tolist()}
        (folder / "bins.json").write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Bins:
        data = read_json(folder / "bins.json")
        try:
            return cls(Bounds.from_json(data), int(data["time_horizon"]), int(data["bins"]))
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise SourceError(folder / "bins.json", f"is not a set of bins this engine saved ({error})") from error
