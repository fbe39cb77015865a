"""Counting what happens to episodes: what the status shows while it runs and the report tells afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataengine.flow.quarantine import Quarantined
from dataengine.flow.task import Dropped, Outcome, Output

# Examples kept of each reason; the rest is counted.
_EXAMPLES = 12


@dataclass
class StageTally:
    """Figures of one stage. seconds, cpu: of results made in this run; reused: results found ready."""

    into: int = 0
    out: int = 0
    dropped: int = 0
    quarantined: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    reused: int = 0
    cost: float = 0.0


@dataclass
class Tally:
    """Figures of a run over `stages`. Memory does not grow with the number of episodes."""

    stages: tuple[str, ...]
    done: int = 0
    reused: int = 0
    kept: int = 0
    frames: int = 0
    duration: float = 0.0
    dropped: int = 0
    quarantined: int = 0
    left: int = 0
    by_stage: dict[str, StageTally] = field(default_factory=dict)
    reasons: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.by_stage = {name: StageTally() for name in ("read", *self.stages, "seal")}

    def finished(self, outcome: Outcome, taken: list[Output], left: list[tuple[Output, str]], episode: str) -> None:
        """One task that ended well."""
        self.done += 1
        self.reused += outcome.reused
        self.kept += len(taken)
        self.frames += sum(output.frames for output in taken)
        self.duration += sum(output.frames / output.fps for output in taken)
        self._times(outcome)
        count = 1
        self.by_stage["read"].into += 1
        self.by_stage["read"].out += 1
        for name in self.stages:
            stage = self.by_stage[name]
            stage.into += count
            count = outcome.counts.get(name, 0)
            stage.out += count
        self.by_stage["seal"].into += count
        self.by_stage["seal"].out += len(taken)
        for drop in outcome.drops:
            self.by_stage[drop.stage].dropped += 1
            self._because(drop, episode)
        for output, reason in left:
            self.left += 1
            self._because(Dropped("commit", output.id, reason), episode)

    def failed(self, entry: Quarantined, outcome: Outcome | None = None) -> None:
        """One episode that is in quarantine now, or still."""
        self.done += 1
        self.quarantined += 1
        if outcome is not None:
            self._times(outcome)
        if entry.stage in self.by_stage:
            self.by_stage[entry.stage].quarantined += 1

    def observed(self, outcome: Outcome) -> None:
        """One episode that a stage looked at in a first pass; only its time counts."""
        self._times(outcome)

    def figures(self) -> dict[str, int]:
        """The part of a status that comes from here."""
        return {
            "done": self.done,
            "reused": self.reused,
            "kept": self.kept,
            "dropped": self.dropped,
            "quarantined": self.quarantined,
            "frames": self.frames,
        }

    def to_json(self) -> dict[str, Any]:
        reasons = sorted(self.reasons.values(), key=lambda r: (-r["count"], r["stage"], r["reason"]))
        return {
            **self.figures(),
            "duration": self.duration,
            "left": self.left,
            "stages": [{"name": name, **vars(figures)} for name, figures in self.by_stage.items()],
            "drops": reasons,
        }

    def _times(self, outcome: Outcome) -> None:
        for name, hits in outcome.hits.items():
            if name in self.by_stage:
                self.by_stage[name].reused += hits
        if outcome.reused:
            for name in outcome.counts:
                if name in self.by_stage:
                    self.by_stage[name].reused += 1 - min(1, outcome.hits.get(name, 0))
            return
        _add(self.by_stage, "seconds", outcome.seconds)
        _add(self.by_stage, "cpu", outcome.cpu)
        _add(self.by_stage, "cost", outcome.cost)

    def _because(self, drop: Dropped, episode: str) -> None:
        self.dropped += 1
        entry = self.reasons.setdefault(
            (drop.stage, drop.reason), {"stage": drop.stage, "reason": drop.reason, "count": 0, "examples": []}
        )
        entry["count"] += 1
        if len(entry["examples"]) < _EXAMPLES:
            found = {"episode": episode, "id": drop.episode_id, "evidence": dict(drop.evidence)}
            entry["examples"].append(found)


def _add(stages: Mapping[str, StageTally], what: str, amounts: Mapping[str, float]) -> None:
    for name, amount in amounts.items():
        if name in stages:
            setattr(stages[name], what, getattr(stages[name], what) + amount)
