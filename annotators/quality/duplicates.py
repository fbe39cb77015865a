"""Episodes that stand in the set twice: the same numbers under another id, whole or in part, or rounded.

Two recordings of one task are alike but never share numbers; scripted demonstrations correlate at 0.995 to 0.99997
with each other. So what is compared is not likeness but identity: exact values, or sums that agree to a ten-thousandth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotators.quality.base import Check, Verdict
from annotators.quality.reference import Reference
from annotators.quality.view import View

PROBES = 32
BINS = 128
# Episodes are compared when they agree in any of so many bins.
INDEXED = 16
FEWEST = 64
EMPTY = 2**32 - 1


@dataclass(frozen=True)
class Duplicate(Check):
    """The same numbers as an earlier episode of the set; the first one stays. Value: share of numbers in common.

    The share is the Jaccard similarity of the sets of pairs of numbers (`_signature`), in float32, estimated by
    one-permutation min-hashing (Li, Owen & Zhang, 2012, "One Permutation Hashing"). It bears that the duplicate
    was cut or damaged elsewhere. Rounded copies share no exact value: they are told by 32 random
    weighted sums over the episode that agree to `near` of each dimension's own deviation, and count as 1.
    """

    name = "duplicate"
    severity = "critical"
    threshold: float = 0.45
    near: float = 1e-4

    def measure(self, view: View) -> dict[str, Any] | None:
        if not view.signals:
            return None
        return {"frames": len(view), "probe": _probe(view).round(9).tolist(), "bins": _signature(view).tolist()}

    def fit(self, measures: Mapping[str, Any]) -> dict[str, list[Any]]:
        """For every duplicate the earlier episode that it shares most with, and how much."""
        given = {name: m for name, m in measures.items() if m is not None}
        order = {name: place for place, name in enumerate(given)}
        found: dict[str, list[Any]] = {}
        for one, other, value in (*self._rounded(given), *_sharing(given)):
            elder, younger = sorted((one, other), key=order.__getitem__)
            if value >= 0.5 * self.threshold and value > found.get(younger, [None, 0.0])[1]:
                found[younger] = [elder, value]
        return found

    def _rounded(self, given: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
        """Pairs whose probes agree, by sorting on the first probe."""
        ordered = sorted((m["probe"], m["frames"], name) for name, m in given.items())
        for at, (probe, frames, name) in enumerate(ordered):
            for other, length, twin in ordered[at + 1 :]:
                if other[0] - probe[0] > self.near:
                    break
                if length == frames and np.abs(np.subtract(probe, other)).max() <= self.near:
                    yield name, twin, 1.0

    def assess(self, view: View, reference: Reference) -> Verdict:
        if reference.episodes < 2:
            return Verdict(unknown="there is no other episode")
        if not view.signals:
            return Verdict(unknown="there is neither state nor action to compare")
        elder, value = (reference.part(self.name) or {}).get(view.episode.id, ("", 0.0))
        if value < self.threshold:
            return Verdict(worst=value)
        reason = f"{'equals' if value == 1 else f'shares {value:.0%} of its numbers with'} episode {elder}"
        return Verdict((self.finding(0, len(view), value, reason),), worst=value)


def _sharing(given: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Pairs that agree in an indexed bin, with the share of all filled bins in which they agree."""
    shelves: dict[tuple[int, int], list[str]] = defaultdict(list)
    bins = {name: np.array(m["bins"], np.int64) for name, m in given.items()}
    seen: set[tuple[str, str]] = set()
    for name, own in bins.items():
        for shelf in ((b, int(own[b])) for b in range(INDEXED) if own[b] != EMPTY):
            for other in shelves[shelf]:
                if (other, name) in seen:
                    continue
                seen.add((other, name))
                filled = (own != EMPTY) | (bins[other] != EMPTY)
                yield other, name, float((own == bins[other])[filled].mean())
            shelves[shelf].append(name)


def _signature(view: View) -> np.ndarray:
    """`(BINS,)` int64: the smallest 32-bit hash of each bin over the set of all moving pairs; EMPTY if none.

    A pair is what two dimensions show in one frame: scripts may move one dimension alike in every episode, hardly
    two that have nothing to do with each other. Each living dimension stands in four pairs, so that one that died
    takes few with it.
    """
    columns = np.concatenate([view.signals[key].values for key in sorted(view.signals)], axis=1)
    bits = columns.astype(np.float32).view(np.uint32).astype(np.uint64)
    bits = bits[:, (bits != bits[:1]).any(axis=0)]
    dims = bits.shape[1]
    smallest = np.full(BINS, EMPTY, np.int64)
    if len(bits) * dims < FEWEST:
        return smallest
    changed = np.zeros(bits.shape, bool)
    changed[1:] = bits[1:] != bits[:-1]
    for apart in (1, 2):
        partner = np.roll(bits, -apart, axis=1)
        hashes = _mix(_mix(bits + np.uint64(apart)) ^ partner)[changed & np.roll(changed, -apart, axis=1)]
        np.minimum.at(smallest, (hashes % BINS).astype(np.int64), (hashes >> np.uint64(32)).astype(np.int64))
    return smallest


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: every bit of the input changes half of the output's."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _probe(view: View) -> np.ndarray:
    """`(PROBES,)` weighted sums over frames and dimensions, each dimension in units of its own deviation.

    The weights depend on frame and dimension numbers alone, so equal motion gives equal probes anywhere.
    """
    random = np.random.default_rng(20240501)
    total = np.zeros(PROBES)
    for key in sorted(view.signals):
        values = view.signals[key].values.astype(np.float32).astype(np.float64)
        centre, spread = values.mean(axis=0), values.std(axis=0)
        unit = np.divide(values - centre, spread, out=np.zeros_like(values), where=spread > 1e-9)
        weights = random.standard_normal((PROBES, len(values) + values.shape[1]))
        total += np.einsum("pt,td,pd->p", weights[:, : len(values)], unit, weights[:, len(values) :])
        # Where a dimension stands counts too: two episodes of equal shape at another place are two episodes.
        total += weights[:, len(values) :] @ centre
    return total / np.sqrt(max(len(view), 1))
