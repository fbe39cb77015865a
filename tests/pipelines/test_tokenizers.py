"""Action tokenizers against scipy and the published processors' own arithmetic."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct, idct

from dataengine.errors import ConfigError, SourceError
from pipelines.tokenizers.bins import Bins
from pipelines.tokenizers.chunks import Bounds, windows
from pipelines.tokenizers.fast import Fast


def smooth_chunks(n: int = 400, length: int = 16, seed: int = 0) -> np.ndarray:
    """Reaching motions in three dimensions of very different size, one of which never moves."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, length)[None, :, None]
    a, b = rng.normal(size=(2, n, 1, 3))
    chunks = (a * t + b * np.sin(2 * t)) * np.array([0.1, 3.0, 200.0])
    return np.concatenate([chunks, np.full((n, length, 1), 0.5)], axis=2)


@pytest.fixture(scope="module")
def fast() -> Fast:
    return Fast.fit(smooth_chunks())


def test_a_chunk_survives_within_the_rounding_of_its_coefficients(fast: Fast) -> None:
    chunks = smooth_chunks(seed=1)
    inside = np.clip(chunks, fast.bounds.low, fast.bounds.high)
    error = np.abs(fast.bounds.normalise(fast.decode(fast.encode(chunks))) - fast.bounds.normalise(inside))
    # Rounding moves each of 16 orthonormal coefficients by at most 0.05, so no value by more than 0.05 * sqrt(16).
    assert error.max() <= 0.05 * 4 + 1e-9
    assert error.mean() < 0.04


def test_decoding_equals_the_cosine_transform_done_by_scipy(fast: Fast) -> None:
    chunks = smooth_chunks(50)
    codes = np.clip(
        np.rint(dct(fast.bounds.normalise(chunks), axis=1, norm="ortho") * 10), fast.min_token, fast.max_token
    )
    np.testing.assert_allclose(
        fast.decode(fast.encode(chunks)), fast.bounds.restore(idct(codes / 10, axis=1, norm="ortho"))
    )


def test_smooth_motion_takes_far_fewer_tokens_than_numbers(fast: Fast) -> None:
    tokens = fast.encode(smooth_chunks(seed=2))
    assert np.mean([len(t) for t in tokens]) < 16 * 4 / 4
    assert max(max(t) for t in tokens) < fast.vocab_size <= 1024


def test_a_saved_tokenizer_is_read_by_the_published_arithmetic(fast: Fast, tmp_path) -> None:
    """What a processor of the published kind does with the folder: ord(character) + min_token, then idct."""
    from tokenizers import Tokenizer

    fast.save(tmp_path)
    config = json.loads((tmp_path / "processor_config.json").read_text())
    assert {"processor_class", "action_dim", "time_horizon", "min_token", "scale", "vocab_size"} <= set(config)
    chunks = smooth_chunks(20, seed=3)
    bpe = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    normalised = fast.bounds.normalise(chunks)
    for chunk, want in zip(normalised, fast.encode(chunks), strict=True):
        codes = np.around(dct(chunk, axis=0, norm="ortho") * config["scale"]).flatten()
        ids = bpe.encode("".join(map(chr, (codes - config["min_token"]).astype(int)))).ids
        if (codes.min(), codes.max()) >= (fast.min_token, fast.max_token):
            continue
        assert ids == want
        decoded = np.array([ord(c) for c in bpe.decode(ids)]) + config["min_token"]
        np.testing.assert_array_equal(decoded, codes)


def test_save_and_load_give_the_same_tokens(fast: Fast, tmp_path) -> None:
    fast.save(tmp_path)
    again = Fast.load(tmp_path)
    chunks = smooth_chunks(30, seed=4)
    assert again.encode(chunks) == fast.encode(chunks)
    np.testing.assert_array_equal(again.decode(again.encode(chunks)), fast.decode(fast.encode(chunks)))


@pytest.mark.parametrize("damage", ["{}", "[1]", '{"q01": [0], "q99": [1], "max_token": "x"}'])
def test_a_damaged_folder_is_named(fast: Fast, tmp_path, damage: str) -> None:
    fast.save(tmp_path)
    (tmp_path / "normalization.json").write_text(damage)
    with pytest.raises(SourceError):
        Fast.load(tmp_path)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(-5, 3000), max_size=100), min_size=1, max_size=4))
def test_any_sequence_decodes_to_a_finite_chunk(fast: Fast, tokens: list[list[int]]) -> None:
    chunk = fast.decode(tokens)
    assert chunk.shape == (len(tokens), 16, 4) and np.isfinite(chunk).all()


def test_what_does_not_fit_is_refused(fast: Fast) -> None:
    with pytest.raises(ConfigError, match="lower the scale"):
        Fast.fit(smooth_chunks(), scale=1000, vocab_size=64)
    with pytest.raises(ConfigError, match="fitted on"):
        fast.encode(np.zeros((1, 16, 5)))
    with pytest.raises(ConfigError):
        Fast.fit(np.zeros((0, 8, 2)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(2, 300), st.integers(0, 1000))
def test_bins_err_by_at_most_half_a_bin(dimensions: int, bins: int, seed: int) -> None:
    chunks = np.random.default_rng(seed).normal(size=(50, 3, dimensions)) * 7
    fitted = Bins.fit(chunks, bins=bins)
    inside = np.clip(chunks, fitted.bounds.low, fitted.bounds.high)
    half = (fitted.bounds.high - fitted.bounds.low) / bins / 2
    tokens = fitted.encode(chunks)
    assert (np.abs(fitted.decode(tokens) - inside) <= half + 1e-9).all()
    assert np.min(tokens) >= 0 and np.max(tokens) <= bins - 1


def test_bins_use_every_bin_of_a_uniform_dimension() -> None:
    chunks = np.linspace(-1, 1, 100_000)[:, None, None]
    counts = np.bincount(np.ravel(Bins.fit(chunks).encode(chunks)), minlength=256)
    assert counts[1:-1].std() < 2 and (counts > 0).all()


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_windows_never_leave_the_episode_and_repeat_its_last_action(steps: int, length: int, stride: int) -> None:
    actions = np.arange(steps * 2, dtype=float).reshape(steps, 2)
    chunks = windows(actions, length, stride)
    assert chunks.shape[1:] == (length, 2)
    for i, chunk in enumerate(chunks):
        np.testing.assert_array_equal(chunk, [actions[min(i * stride + k, steps - 1)] for k in range(length)])


def test_bounds_are_numpys_quantiles() -> None:
    values = np.random.default_rng(0).gamma(2, size=(5000, 3))
    bounds = Bounds.of(values)
    np.testing.assert_allclose(bounds.low, np.percentile(values, 1, axis=0))
    np.testing.assert_allclose(bounds.high, np.percentile(values, 99, axis=0))
