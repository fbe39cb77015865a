"""Fit a tokenizer on a finished store, measure it on episodes it has not seen, and label frames with tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature, Label
from dataengine.errors import ConfigError
from dataengine.store import Store
from pipelines.tokenizers.bins import Bins
from pipelines.tokenizers.chunks import Bounds, actions_of, held_out, windows
from pipelines.tokenizers.fast import Fast


class _Fitted(Protocol):
    @property
    def horizon(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    def encode(self, chunks: np.ndarray) -> list[list[int]]: ...
    def decode(self, tokens: list[list[int]]) -> np.ndarray: ...
    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class FitFast:
    """Train a FAST tokenizer on a store's actions.

    seconds: length of a chunk. share: part of the episodes kept for measuring. label: also write the tokens of
    the chunk that starts at each frame as the frame label `fast_tokens`. most: chunks used to learn merges.
    """

    seconds: float = 1.0
    scale: float = 10.0
    vocab_size: int = 1024
    key: str = "action"
    share: float = 0.1
    label: bool = False
    most: int = 50_000

    name = "fast_tokenizer"
    version = "1"

    def __post_init__(self) -> None:
        _check_share(self.share)
        if not 0 < self.seconds <= 3600 or self.most < 1:
            raise ConfigError(f"seconds={self.seconds} is more than 0 and most={self.most} at least 1")

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        opened = Store.open(store)
        horizon = max(2, round(self.seconds * opened.fps))
        train, test, bounds = _split(opened, self.key, horizon, self.share, self.most)
        fast = Fast.fit(train, scale=self.scale, vocab_size=self.vocab_size, bounds=bounds)
        report = _measure(fast, test, opened.features[self.key]) | {"training_chunks": len(train)}
        _write(fast, out, report)
        if self.label:
            _label(opened, fast, self.key, "fast_tokens", {"name": self.name, "version": self.version})
        return report


@dataclass(frozen=True)
class FitBins:
    """RT-2's action bins: fit on a store, and write the text of every frame's action as the label `action_tokens`."""

    bins: int = 256
    key: str = "action"
    share: float = 0.1
    label: bool = True

    name = "action_bins"
    version = "1"

    def __post_init__(self) -> None:
        _check_share(self.share)

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        opened = Store.open(store)
        train, test, bounds = _split(opened, self.key, 1, self.share, most=1_000_000)
        bins = Bins(bounds, 1, self.bins)
        report = _measure(bins, test, opened.features[self.key]) | {"training_chunks": len(train)}
        _write(bins, out, report)
        if self.label:
            _label(opened, bins, self.key, "action_tokens", {"name": self.name, "version": self.version})
        return report


def _check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise ConfigError(f"share={share} of the episodes kept for measuring must lie in [0, 1)")


def _split(store: Store, key: str, horizon: int, share: float, most: int) -> tuple[np.ndarray, np.ndarray, Bounds]:
    """Training chunks, held-out chunks, and the quantiles of the training actions.

    With too few episodes to keep one apart, the measured chunks are the training ones. Episodes with NaN have none.
    """
    train: list[np.ndarray] = []
    test: list[np.ndarray] = []
    steps: list[np.ndarray] = []
    for episode, actions in actions_of(store, key):
        if not np.isfinite(actions).all():
            continue
        kept = held_out(episode.id, share)
        (test if kept else train).append(windows(actions, horizon, stride=max(1, horizon // 4)))
        if not kept:
            steps.append(actions)
    if not train:
        train, steps = test, [chunk.reshape(-1, chunk.shape[2]) for chunk in test]
    if not train:
        raise ConfigError(f"the store has no episode with finite {key!r} to fit a tokenizer on")
    chunks = np.concatenate(train)
    if len(chunks) > most:
        chunks = chunks[np.linspace(0, len(chunks) - 1, most).astype(int)]
    return chunks, np.concatenate(test) if test else chunks, Bounds.of(np.concatenate(steps))


def _measure(tokenizer: _Fitted, chunks: np.ndarray, feature: Feature) -> dict[str, Any]:
    """Tokens per chunk and reconstruction error in the actions' own units."""
    tokens = tokenizer.encode(chunks)
    error = np.abs(tokenizer.decode(tokens) - chunks).reshape(-1, chunks.shape[2])
    lengths = np.array([len(t) for t in tokens])
    names = feature.names or tuple(str(i) for i in range(chunks.shape[2]))
    units = feature.unit if isinstance(feature.unit, tuple) else (feature.unit,) * chunks.shape[2]
    return {
        "chunk": list(chunks.shape[1:]),
        "chunks_measured": len(chunks),
        "vocabulary": tokenizer.vocab_size,
        "numbers_per_chunk": int(np.prod(chunks.shape[1:])),
        "tokens_per_chunk": {
            "mean": round(float(lengths.mean()), 2),
            "p50": int(np.median(lengths)),
            "max": int(lengths.max()),
        },
        "compression": round(float(np.prod(chunks.shape[1:]) / lengths.mean()), 2),
        "error": [
            {"name": name, "unit": unit, "mean": float(e.mean()), "p99": float(np.quantile(e, 0.99))}
            for name, unit, e in zip(names, units, error.T, strict=True)
        ],
    }


def _write(tokenizer: _Fitted, out: Path, report: dict[str, Any]) -> None:
    tokenizer.save(out)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")


def _label(store: Store, tokenizer: _Fitted, key: str, name: str, source: Mapping[str, Any]) -> None:
    labels: dict[str, Label] = {}
    for episode, actions in actions_of(store, key):
        if not np.isfinite(actions).all():
            continue
        tokens = tokenizer.encode(windows(actions, tokenizer.horizon, 1))
        columns: dict[str, pa.Array] = {"tokens": pa.array(tokens, pa.list_(pa.int32()))}
        if isinstance(tokenizer, Bins):
            columns["text"] = pa.array([Bins.text(t) for t in tokens])
        labels[episode.id] = Label("frame", pa.table(columns), source)
    store.write_labels(name, labels)
