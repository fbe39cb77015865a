"""How a source of episodes is described before anything is read from it: a `Plan` of `EpisodeRef`s.

A plan is small, picklable and made without decoding; workers read single episodes by reference. Whatever a
source leaves open and somebody has to assume is an `Assumption`, shown by `--dry-run` and kept in the lineage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dataengine.episode import Feature


@dataclass(frozen=True)
class EpisodeRef:
    """One episode of a source: its name or offset there, and what is known without reading it.

    problem: why it cannot be used, if that is already plain; it will be quarantined, not read.
    """

    name: str
    length: int
    bytes: int = 0
    tasks: tuple[str, ...] = ()
    problem: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Assumption:
    """Something the source does not say. `key` is the place in the mapping file that settles it."""

    key: str
    value: Any
    why: str

    def __str__(self) -> str:
        return f"{self.key} = {self.value!r}: {self.why}"


@dataclass(frozen=True)
class Plan:
    """What reading a source would give. `mapping` is complete: it can be written, edited and given back.

    unused: what stands in the source and no feature takes. notes: oddities worth knowing.
    """

    path: str
    format: str
    fps: float
    features: Mapping[str, Feature]
    episodes: tuple[EpisodeRef, ...]
    mapping: Mapping[str, Any]
    assumptions: tuple[Assumption, ...] = ()
    embodiment: str | None = None
    licence: str | None = None
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def frames(self) -> int:
        return sum(ref.length for ref in self.episodes if ref.problem is None)
