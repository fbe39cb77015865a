"""Telling from a policy's features, while it acts, that an attempt is going wrong (SAFE, Gu et al. 2025).

A score is fitted on rollouts of both outcomes: the running mean of a logistic regression over `policy.features`, which
rises as the attempt goes on looking like those that failed. How high it may rise is a functional conformal band
(Diquigiovanni et al. 2022, one-sided): over successful rollouts kept apart, the band is mean_t + h · spread_t, where h
is the ⌈(n+1)(1-α)⌉-th smallest of max_t (score_t - mean_t) / spread_t. A new successful rollout, exchangeable with
those, crosses it anywhere with probability α at most.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from dataengine.episode import Label
from dataengine.errors import ConfigError
from dataengine.store import Store

LABEL = "failure_score"
ROUNDS = 50  # of Newton's method; it converges in ten
PARTS = ("fit", "shape", "calibrate", "test", "calibrate")
LEAST_SPREAD = 1e-3  # of a score, 0 to 1


class Score(NamedTuple):
    """Logistic regression on standardised features: weight `(F,)`, bias; mean and std `(F,)` of the features."""

    mean: np.ndarray
    std: np.ndarray
    weight: np.ndarray
    bias: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """`(T, F)` → `(T,)`: the mean, up to each frame, of the probability of failure."""
        logits = (features - self.mean) / self.std @ self.weight + self.bias
        each = 0.5 * (1 + np.tanh(0.5 * logits))
        return np.cumsum(each) / np.arange(1, len(each) + 1)


class Band(NamedTuple):
    """One-sided conformal band: centre and spread `(T,)`, and how many spreads above the centre it lies."""

    centre: np.ndarray
    spread: np.ndarray
    height: float

    def threshold(self, frames: int) -> np.ndarray:
        """`(frames,)`; past its end the band goes on as it ended."""
        place = np.minimum(np.arange(frames), len(self.centre) - 1)
        return (self.centre + self.height * self.spread)[place]


def fit_score(episodes: Sequence[np.ndarray], failed: Sequence[bool] | np.ndarray, ridge: float) -> Score:
    """episodes: features `(T, F)` each. Every episode counts the same, and both outcomes do. ridge: of the weights."""
    outcome = np.asarray(failed, bool)
    share = np.array([(outcome == one).sum() for one in outcome])
    lengths = [len(each) for each in episodes]
    weights = np.repeat(1.0 / share / np.array(lengths), lengths) * len(lengths) / 2
    target = np.repeat(outcome.astype(float), lengths)
    features = np.concatenate(episodes).astype(np.float64)
    mean, std = features.mean(0), features.std(0)
    std = np.where(std > 1e-9 * (1 + np.abs(mean)), std, 1.0)
    x = np.column_stack([(features - mean) / std, np.ones(len(features))])
    penalty = np.diag([ridge] * features.shape[1] + [0.0])
    beta = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        p = 0.5 * (1 + np.tanh(0.5 * (x @ beta)))
        slope = x.T @ (weights * (p - target)) + penalty @ beta
        curve = (x * (weights * p * (1 - p) + 1e-9)[:, None]).T @ x + penalty
        step = np.linalg.solve(curve, slope)
        beta -= step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return Score(mean, std, beta[:-1], float(beta[-1]))


def fit_band(scores: Sequence[np.ndarray], shaping: Sequence[np.ndarray], alpha: float) -> Band:
    """scores: of the successful rollouts that calibrate. shaping: of other successful ones, which give the band its
    shape. Raises `ConfigError` where there are too few for alpha."""
    rank = math.ceil((len(scores) + 1) * (1 - alpha))
    if rank > len(scores):
        need = math.ceil(1 / alpha) - 1
        raise ConfigError(
            f"alpha={alpha} takes {need} successful rollouts to calibrate on, and there are {len(scores)}"
        )
    longest = max(map(len, (*scores, *shaping)))
    shape = np.stack([_extended(each, longest) for each in shaping])
    centre, spread = shape.mean(0), np.maximum(shape.std(0), LEAST_SPREAD)
    highest = [float(((_extended(each, longest) - centre) / spread).max()) for each in scores]
    return Band(centre, spread, sorted(highest)[rank - 1])


def _extended(score: np.ndarray, frames: int) -> np.ndarray:
    """A finished attempt keeps its last score."""
    return np.append(score, np.full(frames - len(score), score[-1]))


@dataclass(frozen=True)
class FitFailureDetector:
    """Fit a failure score and its conformal band on a store of rollouts; label every frame with `failure_score`.

    alpha: how often a successful attempt may raise an alarm. ridge: of the regression. seed: of the split into fifths:
    one fits the score, one shapes the band, two calibrate it, one tells how well it does. key: the features.
    """

    alpha: float = 0.1
    ridge: float = 1.0
    seed: int = 0
    key: str = "policy.features"

    name: ClassVar[str] = "failure_detector"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not self.ridge > 0:
            raise ConfigError(f"alpha={self.alpha} lies between 0 and 1, and ridge={self.ridge} above 0")

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        """Writes `detector.json` and the label; the report tells how often and how early it warns."""
        opened = Store.open(store)
        if self.key not in opened.features:
            raise ConfigError(f"{opened.root.name} has no {self.key!r}; `dataengine collect rollout` writes it")
        known = [
            (e.id, e.frames[self.key], e.meta.success is False) for e in opened.episodes() if e.meta.success is not None
        ]
        features = [np.asarray(each, np.float64).reshape(len(each), -1) for _, each, _ in known]
        failed = np.array([one for *_, one in known], bool)
        part = self._parts(failed)
        fitting = [i for i in range(len(known)) if part[i] == "fit"]
        score = fit_score([features[i] for i in fitting], failed[fitting], self.ridge)
        scores = [score(each) for each in features]
        shaping, calibrating = (
            [scores[i] for i in np.flatnonzero((part == p) & ~failed)] for p in ("shape", "calibrate")
        )
        band = fit_band(calibrating, shaping, self.alpha)
        alarms = [each > band.threshold(len(each)) for each in scores]
        source = {"name": self.name, "version": self.version, "alpha": self.alpha, "key": self.key, "seed": self.seed}
        tables = zip(known, scores, alarms, strict=True)
        opened.write_labels(LABEL, {k[0]: Label("frame", _table(s, band, a), source) for k, s, a in tables})
        onsets = opened.labels("failure_onset") if "failure_onset" in opened.label_names() else {}
        report = self._report([k[0] for k in known], failed, part, alarms, onsets)
        out.mkdir(parents=True, exist_ok=True)
        fitted = {"key": self.key, "alpha": self.alpha, "score": score._asdict(), "band": band._asdict()}
        (out / "detector.json").write_text(json.dumps(fitted, default=np.ndarray.tolist) + "\n")
        (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        return report

    def _parts(self, failed: np.ndarray) -> np.ndarray:
        """For every episode whether it fits, shapes or calibrates; each outcome is dealt out on its own."""
        rng, part = np.random.default_rng(self.seed), np.empty(len(failed), object)
        for outcome in (False, True):
            places = rng.permutation(np.flatnonzero(failed == outcome))
            if len(places) < len(PARTS):
                what = "failed" if outcome else "successful"
                raise ConfigError(f"a failure detector needs {len(PARTS)} {what} rollouts, and there are {len(places)}")
            part[places] = np.resize(np.array(PARTS, object), len(places))
        return part

    def _report(
        self,
        ids: Sequence[str],
        failed: np.ndarray,
        part: np.ndarray,
        alarms: Sequence[np.ndarray],
        onsets: Mapping[str, Label],
    ) -> dict[str, Any]:
        """Of episodes kept apart for this. early: share of the alarms in failed ones that came by their onset."""
        raised = np.array([alarm.any() for alarm in alarms])
        apart = part == "test"
        first = [int(np.argmax(alarm)) if alarm.any() else -1 for alarm in alarms]
        onset = [onsets[one].table.column("frame").to_pylist() if one in onsets else [] for one in ids]
        caught = [i for i in np.flatnonzero(failed & apart & raised) if onset[i]]
        return {
            "alpha": self.alpha,
            "episodes": len(failed),
            "calibrated_on": int(((part == "calibrate") & ~failed).sum()),
            "false_alarms": round(float(raised[~failed & apart].mean()), 4),
            "detected": round(float(raised[failed & apart].mean()), 4),
            "early": round(float(np.mean([first[i] <= onset[i][0] for i in caught])), 4) if caught else None,
        }


def _table(score: np.ndarray, band: Band, alarm: np.ndarray) -> pa.Table:
    return pa.table({"score": score, "threshold": band.threshold(len(score)), "alarm": alarm})
