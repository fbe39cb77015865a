"""What a quality check is: a pure judgement of one episode, given what the rest of its data set looks like.

A check owes three methods. `measure` says what the data set has to know about this episode, `fit` turns those
measures into the set's own normality, `assess` compares. Nothing is compared with a fixed notion of a robot:
a jump is a jump because no other episode of the same set has one like it.

Every check has one `threshold` on one `value`: larger is worse, and its unit stands in the class's docstring.
An objective check finds defects of the recording; a risk describes behaviour (idling, saturation) and never
moves the grade.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from annotators.quality.reference import Reference
    from annotators.quality.view import View

Severity = Literal["major", "critical"]

# A check names at most this many places; the worst ones stay.
PLACES = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where. Frames `start` to `stop` (exclusive); feature None means the whole episode.

    severity: "critical" makes the whole episode untrustworthy, "major" only these frames. objective: False for risks.
    value and threshold are in the check's own unit. lost: frames that should stand here and do not.
    """

    check: str
    start: int
    stop: int
    value: float
    threshold: float
    reason: str
    feature: str | None = None
    severity: Severity = "major"
    objective: bool = True
    lost: int = 0


@dataclass(frozen=True)
class Verdict:
    """What one check says of one episode.

    worst: the largest value seen, found wanting or not, so that thresholds can be set on data. unknown: why the
    check, or a part of it, could not be made; an unknown is no defect and no clean bill.
    """

    findings: tuple[Finding, ...] = ()
    worst: float | None = None
    unknown: str | None = None


@dataclass(frozen=True)
class Check(ABC):
    """One kind of defect. Subclasses are frozen dataclasses whose fields are thresholds."""

    name: ClassVar[str]
    objective: ClassVar[bool] = True
    severity: ClassVar[Severity] = "major"

    threshold: float = 1.0

    def measure(self, view: View) -> Any:
        """What `fit` needs of this episode: small and JSON-able."""
        return None

    def fit(self, measures: Mapping[str, Any]) -> Any:
        """The set's own normality from every episode's measure, by episode id in the order of the set; JSON-able."""
        return None

    @abstractmethod
    def assess(self, view: View, reference: Reference) -> Verdict:
        """Judge one episode. `reference.part(self.name)` is what `fit` gave."""

    def finding(self, start: int, stop: int, value: float, reason: str, feature: str | None = None) -> Finding:
        """A finding of this check; `start` to `stop` (exclusive) are frames."""
        place = int(start), int(stop), float(value), self.threshold
        return Finding(self.name, *place, reason, feature, self.severity, self.objective)


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """The `PLACES` worst findings, in order of time; a second one of the same frames yields to other frames."""
    seen: Counter[tuple[int, int]] = Counter()
    ranked: list[tuple[int, int, Finding]] = []
    for finding in sorted(findings, key=lambda f: -f.value):
        place = finding.start, finding.stop
        ranked.append((seen[place], len(ranked), finding))
        seen[place] += 1
    kept = [finding for *_, finding in sorted(ranked, key=lambda r: r[:2])[:PLACES]]
    return tuple(sorted(kept, key=lambda f: (f.start, f.feature or "")))
