"""Quality as a stage: learn what the data set looks like, judge every episode, and act on it if asked.

Findings go into the label `quality`, the grade into `meta.quality`. Nothing is dropped or cut unless a parameter
says so. Without an artifact (a stage run outside a flow) the stage learns from the episodes it is given first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from annotators import quality
from annotators.quality import CHECKS, Check, Finding, Reference, Verdict, View
from annotators.quality.grade import NAME, RISK, grade, label, objective
from annotators.quality.risks import active_span
from dataengine.episode import Episode, Label
from dataengine.errors import ConfigError
from dataengine.plugins import Drop

# Stands in `drop_on` for every objective check.
OBJECTIVE = "objective"


@dataclass(frozen=True)
class Quality:
    """Grade episodes; drop or trim them on request.

    drop_below: drop episodes graded below this: 0.5 drops those that are untrustworthy as a whole (grade 0), 1.0 those
    with an objective finding anywhere (0.5) too. drop_on: drop episodes with a finding of one of these checks;
    "objective" means any objective check, and a risk can be named. trim: cut idle head and tail; the result is a new
    episode with this one as its parent. trim_keep: seconds of rest to leave at either end. thresholds: other
    thresholds, by check. artifact: what `fit` learned of the set.
    """

    drop_below: float | None = None
    drop_on: tuple[str, ...] = ()
    trim: bool = False
    trim_keep: float = 0.2
    thresholds: Mapping[str, float] | None = None
    artifact: Mapping[str, Any] | None = None

    name: ClassVar[str] = NAME
    version: ClassVar[str] = "2"
    reads: ClassVar[tuple[str, ...]] = ("observation.*", "action*", "next.*", "collect.*", "clips")

    def __post_init__(self) -> None:
        known = [check.name for check in CHECKS]
        for given in (*self.drop_on, *(self.thresholds or {})):
            if given not in known and not (given == OBJECTIVE and given in self.drop_on):
                raise ConfigError(f"quality: there is no check {given!r}. Known: {', '.join(known)}")
        if self.drop_below is not None and not 0 <= self.drop_below <= 1:
            raise ConfigError(f"quality.drop_below: {self.drop_below} is not between 0 and 1")
        if self.trim_keep < 0:
            raise ConfigError(f"quality.trim_keep: {self.trim_keep} s is negative")

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        wanted = self.thresholds or {}
        return tuple(replace(c, threshold=float(wanted[c.name])) if c.name in wanted else c for c in CHECKS)

    @cached_property
    def reference(self) -> Reference | None:
        return None if self.artifact is None else Reference.from_json(self.artifact)

    def observe(self, episode: Episode) -> dict[str, Any]:
        """What the set's reference needs of one episode; decodes every clip once."""
        return quality.measure(episode, self.checks)

    def fit(self, summaries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """The set's reference, JSON-able. The order of the summaries decides which of two duplicates stays."""
        return quality.learn(list(summaries), self.checks).to_json()

    def run(self, episodes: Iterator[Episode]) -> Iterator[Episode | Drop]:
        reference = self.reference
        if reference is None:
            held = list(episodes)
            reference = quality.learn([self.observe(e) for e in held], self.checks)
            episodes = iter(held)
        for episode in episodes:
            yield self._judge(episode, reference)

    def _judge(self, episode: Episode, reference: Reference) -> Episode | Drop:
        verdicts = quality.assess(episode, reference, self.checks)
        score = grade(verdicts, episode.length)
        if (reason := self._reason_to_drop(verdicts, score)) is not None:
            return Drop(episode.id, reason, {"quality": score, "findings": [_plain(f) for f in _all(verdicts)]})
        found = label(verdicts, episode.length)
        source = {
            "name": self.name,
            "version": self.version,
            "episodes": reference.episodes,
            "thresholds": {check.name: check.threshold for check in self.checks},
        }
        judged = episode.with_meta(quality=score).with_label(NAME, Label(found.kind, found.table, source))
        return self._trimmed(judged, reference) if self.trim else judged

    def _reason_to_drop(self, verdicts: Mapping[str, Verdict], score: float) -> str | None:
        wanted = [f for f in _all(verdicts) if f.check in self.drop_on or (f.objective and OBJECTIVE in self.drop_on)]
        if wanted:
            return _reason(wanted)
        if self.drop_below is not None and score < self.drop_below:
            return f"quality {score:g} is below {self.drop_below:g}: {_reason(objective(verdicts))}"
        return None

    def _trimmed(self, episode: Episode, reference: Reference) -> Episode:
        """Without idle head and tail; one that never moves stays whole, there is nothing to cut it to."""
        span = active_span(View(episode), reference)
        if span is None:
            return episode
        keep = round(self.trim_keep * episode.fps)
        start, stop = max(span[0] - keep, 0), min(span[1] + keep, episode.length)
        return episode.slice(start, stop) if (start, stop) != (0, episode.length) else episode


def _all(verdicts: Mapping[str, Verdict]) -> list[Finding]:
    return [finding for verdict in verdicts.values() for finding in verdict.findings]


def _reason(findings: Sequence[Finding]) -> str:
    """The worst of the findings in words, and which other checks found something."""
    first = max(findings, key=lambda f: (f.severity == "critical", f.value / max(f.threshold, 1e-9)))
    where = f" in {first.feature}" if first.feature else ""
    others = sorted({f.check for f in findings} - {first.check})
    more = f" (also {', '.join(others)})" if others else ""
    return f"{first.check}: {first.reason}{where}, frames {first.start} to {first.stop - 1}{more}"


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "class": finding.severity if finding.objective else RISK,
        "feature": finding.feature,
        "start": finding.start,
        "stop": finding.stop,
        "value": round(finding.value, 6),
        "reason": finding.reason,
    }
