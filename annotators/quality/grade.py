"""Verdicts as a grade and as a label.

The grade has three steps: 1 without objective findings, 0.5 when only some frames are touched ("major"), 0 when the
whole episode cannot be trusted ("critical", or a fifth of the frames touched or lost). It is coarse on purpose: a
finer one, by frames or by findings, rises when a further fault hides a first one, and no fault may ever raise a grade.
What and how much is wrong stands in the label. Risks and unknowns do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from annotators.quality.base import Finding, Verdict
from dataengine.episode import Label

NAME = "quality"
UNTRUSTWORTHY = 0.2
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
    """1, 0.5 or 0; see the module's text."""
    found = objective(verdicts)
    touched = np.zeros(frames, bool)
    for finding in found:
        touched[finding.start : finding.stop] = True
    lost = sum(finding.lost for finding in found)
    if any(finding.severity == "critical" for finding in found):
        return 0.0
    if touched.sum() + lost >= UNTRUSTWORTHY * (frames + lost):
        return 0.0
    return 0.5 if found else 1.0


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
