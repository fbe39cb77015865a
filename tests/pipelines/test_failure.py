"""Failure scores and their conformal band, against made rollouts and against the formula worked out again."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dataengine.episode import Episode, Feature, Meta
from dataengine.errors import ConfigError
from dataengine.store import Store
from pipelines.failure import Band, FitFailureDetector, fit_band, fit_score

FEATURES = {
    "observation.state": Feature("float32", (1,), ("x",), "state", "m"),
    "action": Feature("float32", (1,), ("x",), "action", "m"),
    "policy.features": Feature("float32", (4,), None, "other", "1"),
}


def rollout(rng: np.random.Generator, failed: bool, frames: int | None = None) -> np.ndarray:
    """Features `(T, 4)`: the first rises once the attempt is lost."""
    frames = frames or int(rng.integers(20, 40))
    features = rng.normal(size=(frames, 4))
    if failed:
        features[frames // 3 :, 0] += 3.0
    return features.astype(np.float32)


def test_the_score_tells_them_apart_and_only_looks_back() -> None:
    rng = np.random.default_rng(0)
    failed = [bool(k % 2) for k in range(40)]
    score = fit_score([rollout(rng, one) for one in failed], failed, ridge=1.0)
    fresh = rollout(rng, True)
    assert score(fresh)[-1] > score(rollout(rng, False))[-1] + 0.2
    np.testing.assert_array_equal(score(fresh)[:10], score(fresh[:10]))
    assert abs(score.weight[0]) > 5 * np.abs(score.weight[1:]).max()


def test_the_band_is_the_conformal_one() -> None:
    rng = np.random.default_rng(1)
    scores, shaping = [rng.random(25) for _ in range(19)], [rng.random(30) for _ in range(8)]
    band = fit_band(scores, shaping, alpha=0.1)
    padded = np.stack([np.append(each, [each[-1]] * (30 - len(each))) for each in scores])
    centre, spread = np.stack(shaping).mean(0), np.stack(shaping).std(0)
    heights = np.sort(((padded - centre) / spread).max(1))
    assert band.height == pytest.approx(heights[math.ceil(20 * 0.9) - 1])
    np.testing.assert_allclose(band.threshold(30), centre + band.height * spread)
    assert band.threshold(35)[-1] == band.threshold(30)[-1]


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_a_successful_rollout_crosses_it_as_seldom_as_alpha_says(alpha: float) -> None:
    """Over many calibrations, each judged by new rollouts: the guarantee is on average, and must not be given away."""
    rng = np.random.default_rng(2)

    def draw(count: int) -> list[np.ndarray]:
        return [np.cumsum(rng.normal(size=15)) / np.arange(1, 16) for _ in range(count)]

    crossed = []
    for _ in range(150):
        band = fit_band(draw(29), draw(20), alpha)
        crossed += [bool((each > band.threshold(15)).any()) for each in draw(20)]
    assert alpha - 0.04 < np.mean(crossed) < alpha + 0.02


def test_too_few_to_calibrate_on_is_said_with_how_many_it_takes() -> None:
    with pytest.raises(ConfigError, match="takes 9"):
        fit_band([np.ones(3)] * 8, [np.ones(3)] * 3, alpha=0.1)
    assert isinstance(fit_band([np.ones(3)] * 9, [np.ones(3)] * 3, alpha=0.1), Band)
    for wrong in ({"alpha": 0.0}, {"alpha": 1.0}, {"ridge": 0.0}):
        with pytest.raises(ConfigError):
            FitFailureDetector(**wrong)


def store_of(root: Path, failed: list[bool], features: dict[str, Feature] = FEATURES) -> Path:
    store, rng = Store.create(root, fps=10.0, features=features), np.random.default_rng(3)
    with store.writer() as writer:
        for number, one in enumerate(failed):
            seen = rollout(rng, one)
            columns = {"observation.state": seen[:, 0], "action": seen[:, 1], "policy.features": seen}
            frames = {key: columns[key] for key in features}
            writer.append(Episode(f"e{number}", 10.0, features, frames, meta=Meta(tasks=("try",), success=not one)))
    return root


def test_every_frame_is_labelled_and_the_report_is_of_rollouts_kept_apart(tmp_path: Path) -> None:
    root = store_of(tmp_path / "store", [bool(k % 2) for k in range(100)])
    report = FitFailureDetector(alpha=0.2).run(root, tmp_path / "out")
    assert report["detected"] > 0.8 and report["false_alarms"] <= 0.4 and report["calibrated_on"] == 20
    fitted = json.loads((tmp_path / "out" / "detector.json").read_text())
    band = Band(np.array(fitted["band"]["centre"]), np.array(fitted["band"]["spread"]), fitted["band"]["height"])
    for identity, label in Store.open(root).labels("failure_score").items():
        table = {name: label.table.column(name).to_numpy(zero_copy_only=False) for name in label.table.column_names}
        length = len(Store.open(root).get(identity))
        np.testing.assert_allclose(table["threshold"], band.threshold(length))
        np.testing.assert_array_equal(table["alarm"], table["score"] > table["threshold"])
    again = FitFailureDetector(alpha=0.2).run(root, tmp_path / "again")
    assert again == report


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="failed rollouts"):
        FitFailureDetector().run(store_of(tmp_path / "good", [False] * 10), tmp_path / "out")
    without = {key: FEATURES[key] for key in ("observation.state", "action")}
    with pytest.raises(ConfigError, match="collect rollout"):
        FitFailureDetector().run(store_of(tmp_path / "plain", [True], without), tmp_path / "out")
