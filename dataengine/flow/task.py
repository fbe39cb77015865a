"""What travels between driver and workers: a `Task` out, an `Outcome` back. Both small, neither holds frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dataengine.flow.stages import StagePlan
from dataengine.source import Plan

MAX_TRIES = 3


@dataclass(frozen=True)
class Task:
    """One episode of one source, to be read, taken through the stages, and sealed (or observed).

    index: its place in source order. episode: `<file>:<name>`, for people. origin: which recording it is; source:
    what the episode as read depends on; key: what the result depends on. out: the store, an absolute path that
    every worker sees. observer: the stage that wants to see the episode after `stages`; None means seal.
    timeout: [s] after which a worker gives it up, and itself.
    """

    index: int
    episode: str
    origin: str
    source: str
    key: str
    converter: str
    plan: Plan
    stages: tuple[StagePlan, ...]
    observer: StagePlan | None
    out: str
    run: str
    codec: Mapping[str, Any]
    timeout: float | None = None

    @property
    def resources(self) -> dict[str, float]:
        """What a worker must have for all its stages: the largest demand for each kind."""
        wanted: dict[str, float] = {}
        for stage in (*self.stages, *([self.observer] if self.observer else [])):
            for kind, amount in stage.resources.items():
                wanted[kind] = max(wanted.get(kind, 0), amount)
        return wanted


@dataclass(frozen=True)
class Output:
    """One episode that came out. base: fingerprint of all but its labels, and the name of its sealed shard.

    features: name of the file that describes its columns. labels: content hash by name.
    """

    id: str
    base: str
    features: str
    frames: int
    fps: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dropped:
    """One episode a stage sorted out, and why."""

    stage: str
    episode_id: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a task ended. done: see outputs and drops. again: try once more. failed: to be quarantined.

    seconds, cpu: wall and processor time in [s] of "read", each stage and "seal". hits: results taken from
    the cache, by stage. cost: money by stage in USD, where labels say so (`source["cost_usd"]`).
    counts: episodes out of each stage.
    """

    key: str
    state: Literal["done", "again", "failed"]
    outputs: tuple[Output, ...] = ()
    drops: tuple[Dropped, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    cpu: Mapping[str, float] = field(default_factory=dict)
    hits: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    stage: str = ""
    reason: str = ""
    tries: int = 1
    reused: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        outputs = tuple(Output(**item) for item in known.pop("outputs", ()))
        drops = tuple(Dropped(**item) for item in known.pop("drops", ()))
        return cls(**known, outputs=outputs, drops=drops)
