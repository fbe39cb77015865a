"""Action tokenizers against scipy and the published processors' own arithmetic."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct, idct

from dataengine.episode import Episode, Feature, Meta
from dataengine.errors import ConfigError, SourceError
from dataengine.store import Store
from pipelines.tokenizers.bins import Bins
from pipelines.tokenizers.chunks import Bounds, actions_of, windows
from pipelines.tokenizers.fast import Fast
from pipelines.tokenizers.jobs import FitBins, FitFast


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


HOSTILE = [
    ("processor_config.json", ("scale",), 0),
    ("processor_config.json", ("time_horizon",), 10**12),  # memory for it would be asked for when decoding
    ("processor_config.json", ("time_horizon",), 0),
    ("normalization.json", ("q01",), [5, 5, 5, 5]),  # above q99
    ("normalization.json", ("q99",), [[1]]),
    ("tokenizer.json", ("pre_tokenizer",), {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}),
    ("tokenizer.json", ("normalizer",), {"type": "Lowercase"}),
    ("tokenizer.json", ("added_tokens",), [{"id": 0, "content": "x"}]),
    ("tokenizer.json", ("model", "type"), "Unigram"),
    ("tokenizer.json", ("model", "vocab"), {"\u0100": 10**9}),  # an embedding of that size would follow
    ("tokenizer.json", ("model", "merges"), [["no", "piece"]]),
]


@pytest.mark.parametrize(("name", "place", "value"), HOSTILE, ids=str)
def test_a_tokenizer_from_a_stranger_joins_byte_pairs_and_nothing_else(
    fast: Fast, tmp_path, name: str, place: tuple[str, ...], value: object
) -> None:
    fast.save(tmp_path)
    data = json.loads((tmp_path / name).read_text())
    at = data
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    (tmp_path / name).write_text(json.dumps(data))
    with pytest.raises(SourceError, match="is not a FAST tokenizer"):
        Fast.load(tmp_path)


@pytest.mark.parametrize("bins", [{"bins": 0}, {"bins": 10**9}, {"time_horizon": 0}, {"q01": [9.0]}, {"q99": "x"}])
def test_bins_from_a_stranger_are_bins(tmp_path, bins: dict[str, object]) -> None:
    Bins.fit(np.linspace(0, 1, 10)[:, None, None]).save(tmp_path)
    saved = json.loads((tmp_path / "bins.json").read_text())
    (tmp_path / "bins.json").write_text(json.dumps(saved | bins))
    with pytest.raises(SourceError, match=r"bins\.json"):
        Bins.load(tmp_path)


def test_transformers_reads_the_saved_tokenizer(fast: Fast, tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    fast.save(tmp_path)
    other = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert len(other) == fast.vocab_size
    tokens = fast.encode(smooth_chunks(20, seed=5))
    pieces = {i: piece for piece, i in fast.bpe.get_vocab().items()}
    for ids in tokens:
        text = "".join(pieces[i] for i in ids)
        assert len(text) == 16 * 4 and other(text)["input_ids"] == ids and other.decode(ids) == text


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
    with pytest.raises(ConfigError, match="N > 0"):
        Fast.fit(np.zeros((0, 8, 2)))
    with pytest.raises(ConfigError, match="scale=0"):
        Fast.fit(smooth_chunks(), scale=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_number_gives_no_token(fast: Fast, bad: float) -> None:
    chunks = smooth_chunks(4)
    chunks[2, 3, 1] = bad
    for attempt in (fast.encode, Fast.fit, Bins.fit, Bins.fit(smooth_chunks(4)).encode):
        with pytest.raises(ConfigError, match="NaN or Inf"):
            attempt(chunks)


@pytest.mark.parametrize("kind", [Fast, Bins])
def test_a_flag_that_is_set_once_an_episode_is_not_lost(kind) -> None:
    """Its 1 % and 99 % quantiles coincide, as those of Open-X's `terminate` do."""
    chunks = smooth_chunks(400)
    chunks[:, :, 3] = 0
    chunks[::40, -1, 3] = 1
    fitted = kind.fit(chunks)
    found = fitted.decode(fitted.encode(chunks))[..., 3]
    np.testing.assert_allclose(found, chunks[..., 3], atol=0.3)
    assert ((found > 0.5) == (chunks[..., 3] > 0.5)).all()


def test_bins_equal_numpys_digitize() -> None:
    chunks = np.random.default_rng(0).normal(size=(200, 4, 3)) * [0.1, 1, 50]
    flat = chunks.reshape(-1, 3)
    low, high = np.percentile(flat, 1, axis=0), np.percentile(flat, 99, axis=0)
    want = [
        np.clip(np.digitize(column, np.linspace(a, b, 257)) - 1, 0, 255)
        for column, a, b in zip(flat.T, low, high, strict=True)
    ]
    np.testing.assert_array_equal(np.reshape(Bins.fit(chunks).encode(chunks), (-1, 3)), np.stack(want, axis=1))


def test_bins_decode_what_a_model_says() -> None:
    bins = Bins.fit(np.random.default_rng(0).uniform(-1, 1, (1000, 1, 2)))
    np.testing.assert_allclose(bins.decode([[999, -7]])[0, 0], bins.decode([[255, 0]])[0, 0])
    for ragged in ([[1]], [[1, 2], [1, 2, 3, 4]]):
        with pytest.raises(ConfigError, match="whole steps"):
            bins.decode(ragged)


@pytest.mark.parametrize(
    ("job", "change", "says"),
    [
        (FitFast, {"seconds": 0}, "seconds=0"),
        (FitFast, {"share": 1.0}, "share=1.0"),
        (FitFast, {"most": 0}, "most=0"),
        (FitBins, {"share": -0.1}, "share=-0.1"),
    ],
)
def test_jobs_that_cannot_be(job, change: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        job(**change)


def test_an_episode_with_nan_has_no_tokens_and_spoils_none(tmp_path, monkeypatch) -> None:
    """Such a store is another writer's: ours takes no NaN."""
    features = {"action": Feature("float32", (2,), ("x", "y"), "action", ("m", "m"))}
    store = Store.create(tmp_path / "store", fps=10, features=features)
    with store.writer() as writer:
        for seed in range(4):
            values = np.random.default_rng(seed).normal(size=(30, 2)).cumsum(0).astype(np.float32)
            writer.append(Episode(f"e{seed}", 10.0, features, {"action": values}, meta=Meta(tasks=("go",))))

    def with_nan(store: Store, key: str) -> Iterator[tuple[Episode, np.ndarray]]:
        for episode, actions in actions_of(store, key):
            yield episode, actions * (np.nan if episode.id == "e2" else 1)

    monkeypatch.setattr("pipelines.tokenizers.jobs.actions_of", with_nan)
    for job, name in ((FitFast(label=True), "fast_tokens"), (FitBins(), "action_tokens")):
        report = job.run(store.root, tmp_path / name)
        assert all(np.isfinite(e["mean"]) and np.isfinite(e["p99"]) for e in report["error"])
        assert set(Store.open(store.root).labels(name)) == {"e0", "e1", "e3"}


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
