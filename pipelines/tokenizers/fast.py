"""FAST: action chunks as byte-pair-encoded cosine coefficients (Pertsch et al. 2025, arXiv 2501.09747).

Normalise by the 1-99 % quantiles, cosine transform over time (orthonormal DCT-II), multiply by `scale` and
round, write coefficients low frequency first across dimensions, and let byte-pair encoding shorten the string.
Written from the paper; a saved folder has the file names and keys of the published processors and no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataengine.errors import ConfigError, SourceError
from dataengine.guard import read_json
from pipelines.tokenizers.chunks import Bounds, check_finite

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Bpe

# Coefficients become characters from here up: clear of control characters and white space, far below surrogates.
FIRST_CHARACTER = 0x100
LAST_CHARACTER = 0xD7FF
LONGEST = 100_000  # steps of a chunk


@dataclass(frozen=True)
class Fast:
    """A fitted tokenizer. chunks are `(N, T, A)` in the actions' own units; T = `horizon`, A = `dimensions`."""

    bpe: Bpe
    bounds: Bounds
    scale: float
    min_token: int
    max_token: int
    horizon: int

    @property
    def dimensions(self) -> int:
        return len(self.bounds.low)

    @property
    def vocab_size(self) -> int:
        return self.bpe.get_vocab_size()

    @classmethod
    def fit(
        cls, chunks: np.ndarray, *, scale: float = 10, vocab_size: int = 1024, bounds: Bounds | None = None
    ) -> Fast:
        """Learn quantiles (unless given) and merges from chunks `(N, T, A)`.

        Raises `ConfigError` when the coefficients alone need more symbols than `vocab_size`.
        """
        from tokenizers import Tokenizer, decoders, models, trainers

        if chunks.ndim != 3 or not len(chunks):
            raise ConfigError(f"FAST is fitted on chunks (N, T, A) with N > 0, not {chunks.shape}")
        if not 0 < scale < float("inf"):
            raise ConfigError(f"scale={scale} must be a positive number")
        check_finite(chunks)
        bounds = bounds or Bounds.of(chunks.reshape(-1, chunks.shape[2]))
        codes = _coefficients(bounds.normalise(chunks), scale)
        low, high = int(codes.min()), int(codes.max())
        if (needed := high - low + 1) > vocab_size:
            raise ConfigError(f"{needed} different coefficients do not fit vocab_size {vocab_size}; lower the scale")
        alphabet = [chr(FIRST_CHARACTER + i) for i in range(needed)]
        bpe = Tokenizer(models.BPE())
        bpe.decoder = decoders.Fuse()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            initial_alphabet=alphabet,
            limit_alphabet=needed,
            show_progress=False,
        )
        bpe.train_from_iterator(_text(codes, low, high), trainer)
        return cls(bpe, bounds, scale, low, high, chunks.shape[1])

    def encode(self, chunks: np.ndarray) -> list[list[int]]:
        """Tokens of each chunk; a coefficient never seen in training is clipped to the nearest that was."""
        self._check(chunks)
        check_finite(chunks)
        codes = _coefficients(self.bounds.normalise(chunks), self.scale)
        return [encoding.ids for encoding in self.bpe.encode_batch(_text(codes, self.min_token, self.max_token))]

    def decode(self, tokens: Sequence[Sequence[int]]) -> np.ndarray:
        """Chunks `(N, T, A)` float64. A sequence that is too long is cut, too short is padded with zeros."""
        from scipy.fft import idct

        size = self.horizon * self.dimensions
        codes = np.zeros((len(tokens), size))
        pieces = {i: piece for piece, i in self.bpe.get_vocab().items()}
        for row, ids in zip(codes, tokens, strict=True):
            text = "".join(pieces.get(int(i), "") for i in ids)[:size]
            row[: len(text)] = np.fromiter(map(ord, text), np.float64, len(text)) - FIRST_CHARACTER + self.min_token
        coefficients = codes.reshape(-1, self.horizon, self.dimensions) / self.scale
        return self.bounds.restore(idct(coefficients, axis=1, norm="ortho"))

    def save(self, folder: Path) -> None:
        """`tokenizer.json` and `processor_config.json` with the published keys, `normalization.json` beside them."""
        folder.mkdir(parents=True, exist_ok=True)
        self.bpe.save(str(folder / "tokenizer.json"))
        _write(
            folder / "processor_config.json",
            {
                "processor_class": "UniversalActionProcessor",
                "action_dim": self.dimensions,
                "time_horizon": self.horizon,
                "min_token": self.min_token - FIRST_CHARACTER,
                "scale": self.scale,
                "vocab_size": self.vocab_size,
            },
        )
        _write(
            folder / "tokenizer_config.json",
            {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False},
        )
        _write(
            folder / "normalization.json",
            {
                "mode": "quantile",
                "q01": self.bounds.low.tolist(),
                "q99": self.bounds.high.tolist(),
                "max_token": self.max_token,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Fast:
        """Raises `SourceError` when a file is missing or not what `save` writes."""
        config, norm = read_json(folder / "processor_config.json"), read_json(folder / "normalization.json")
        try:
            bounds = Bounds.from_json(norm)
            low = int(config["min_token"]) + FIRST_CHARACTER
            bpe = _plain_bpe(read_json(folder / "tokenizer.json"))
            fast = cls(bpe, bounds, float(config["scale"]), low, int(norm["max_token"]), int(config["time_horizon"]))
            if len(bounds.low) != config["action_dim"]:
                raise ValueError(f"normalization.json has {len(bounds.low)} dimensions, not {config['action_dim']}")
            if not 0 < fast.scale < float("inf") or not 1 <= fast.horizon <= LONGEST or fast.max_token < low:
                raise ValueError("scale, horizon or tokens out of range")
        except Exception as error:  # the tokenizers library raises bare Exception
            raise SourceError(folder, f"is not a FAST tokenizer this engine saved ({error})") from error
        return fast

    def _check(self, chunks: np.ndarray) -> None:
        if chunks.shape[1:] != (self.horizon, self.dimensions):
            raise ConfigError(
                f"chunks are {chunks.shape[1:]}, the tokenizer was fitted on {(self.horizon, self.dimensions)}"
            )


def _plain_bpe(data: Mapping[str, Any]) -> Bpe:
    """Byte pairs and nothing else: a file from a stranger could bring a regular expression that never ends."""
    from tokenizers import Tokenizer

    extras = [part for part in ("normalizer", "pre_tokenizer", "post_processor", "truncation", "padding") if data[part]]
    vocabulary = data["model"]["vocab"]
    if extras or data["added_tokens"] or data["model"]["type"] != "BPE" or data["decoder"] != {"type": "Fuse"}:
        raise ValueError("tokenizer.json does more than join byte pairs")
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("tokenizer.json numbers its pieces with gaps")
    return Tokenizer.from_str(json.dumps(data))


def _coefficients(normalised: np.ndarray, scale: float) -> np.ndarray:
    """Rounded, scaled DCT-II coefficients `(N, T·A)` int64, frequency-major."""
    from scipy.fft import dct

    return np.rint(dct(normalised, axis=1, norm="ortho") * scale).astype(np.int64).reshape(len(normalised), -1)


def _text(codes: np.ndarray, low: int, high: int) -> list[str]:
    if high - low + FIRST_CHARACTER > LAST_CHARACTER:
        raise ConfigError(f"coefficients span {high - low}; lower the scale")
    return ["".join(map(chr, row)) for row in (np.clip(codes, low, high) - low + FIRST_CHARACTER).tolist()]


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
