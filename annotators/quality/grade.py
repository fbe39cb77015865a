"""Verdicts as a grade and as a label.

The grade is 1 for an episode without objective findings. Any objective finding halves it at once, and what is
left shrinks with the share of frames that are touched; a critical finding touches all of them. So a further
fault never raises a grade: frames that were faulty stay faulty, whichever fault is named for them. Risks and
unknowns do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from annotators.quality.base import Finding, Verdict
from dataengine.episode import Label

NAME = "quality"
RISK = "risk"
NOT_ASSESSED = "not assessed"

SCHEMA = pa.schema(
    [
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("check", pa.string()),
        ("class", pa.string()),
        ("feature", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("reason", pa.string()),
    ]
)


def objective(verdicts: Mapping[str, Verdict]) -> list[Finding]:
    return [f for verdict in verdicts.values() for f in verdict.findings if f.objective]


def grade(verdicts: Mapping[str, Verdict], frames: int) -> float:
    """0 to 1; see the module's text."""
    found = objective(verdicts)
    if not found:
        return 1.0
    touched = np.zeros(frames, bool)
    for finding in found:
        if finding.severity == "critical":
            touched[:] = True
        touched[max(finding.start, 0) : finding.stop] = True
    return 0.5 * float(1 - touched.mean())


def label(verdicts: Mapping[str, Verdict], frames: int) -> Label:
    """One row per finding, and one row of class "not assessed" per thing that could not be known.

    class: "critical" and "major" (objective), "risk", "not assessed". feature and value may be null.
    """
    rows: list[tuple[Any, ...]] = []
    for check, verdict in verdicts.items():
        for f in verdict.findings:
            kind = f.severity if f.objective else RISK
            rows.append((f.start, min(f.stop, frames), check, kind, f.feature, f.value, f.threshold, f.reason))
        if verdict.unknown:
            rows.append((0, frames, check, NOT_ASSESSED, None, None, None, verdict.unknown))
    rows.sort(key=lambda row: (row[0], row[2]))
    table = pa.table({name: [row[at] for row in rows] for at, name in enumerate(SCHEMA.names)}, schema=SCHEMA)
    return Label("span", table)
