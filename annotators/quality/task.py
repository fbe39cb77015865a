"""Episodes without an instruction, in a set whose others have one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotators.quality.base import Check, Verdict
from annotators.quality.reference import Reference
from annotators.quality.view import View

# What recording programs write when nobody typed anything.
PLACEHOLDERS = frozenset({"", "-", ".", "n/a", "na", "nan", "none", "null", "task", "test", "todo", "tbd", "unknown"})


@dataclass(frozen=True)
class EmptyTask(Check):
    """No task, or a placeholder. Value: 1 if empty. A set in which no episode has a task says nothing by it."""

    name = "empty_task"
    severity = "critical"
    threshold: float = 1.0

    def measure(self, view: View) -> bool:
        return _empty(view)

    def fit(self, measures: Mapping[str, Any]) -> int:
        return sum(not empty for empty in measures.values())

    def assess(self, view: View, reference: Reference) -> Verdict:
        if not _empty(view):
            return Verdict(worst=0.0)
        if not reference.part(self.name):
            return Verdict(unknown="no episode of the set has a task text")
        given = [task for task in view.episode.meta.tasks if task.strip()]
        reason = f"the task is only {given[0]!r}" if given else "there is no task text, the other episodes have one"
        return Verdict((self.finding(0, len(view), 1.0, reason),), worst=1.0)


def _empty(view: View) -> bool:
    return all(task.strip().casefold() in PLACEHOLDERS for task in view.episode.meta.tasks)
