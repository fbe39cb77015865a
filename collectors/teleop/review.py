"""What the quality checks say of an episode under review. They live in another room and are asked for by name."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from collectors.teleop.messages import Finding, Verdict
from dataengine import plugins
from dataengine.episode import Episode

STAGE = "quality"
NOT_ASSESSED, RISK = "not assessed", "risk"
MOST = 30  # findings that are shown
LONG = 10.0  # [s] of an episode whose pictures may take longer than people like to wait


def judge(episode: Episode) -> Verdict:
    """The verdict of the stage `quality`; without it, a verdict that says so."""
    begin = time.perf_counter()
    if STAGE not in plugins.parts("stages"):
        return Verdict(None, unknown={STAGE: "no quality checks are installed"})
    judged = next(iter(plugins.make("stages", STAGE).run(iter([episode]))), None)
    seconds = time.perf_counter() - begin
    if not isinstance(judged, Episode):
        return Verdict(0.0, unknown={STAGE: getattr(judged, "reason", "gave no verdict")}, seconds=seconds)
    rows = judged.labels[STAGE].table.to_pylist() if STAGE in judged.labels else []
    unknown = {row["check"]: row["reason"] for row in rows if row["class"] == NOT_ASSESSED}
    found = [_finding(row, episode.fps) for row in rows if row["class"] != NOT_ASSESSED]
    found.sort(key=lambda finding: (not finding.objective, finding.start))
    return Verdict(judged.meta.quality, tuple(found[:MOST]), unknown, seconds)


def judge_table(episode: Episode) -> Verdict:
    """The verdict on everything but pictures, which are still being looked at."""
    table = [key for key, feature in episode.features.items() if not feature.is_camera]
    found = judge(episode.select(table))
    return replace(found, unknown={**found.unknown, "cameras": "the pictures are still being looked at"})


def _finding(row: dict[str, Any], fps: float) -> Finding:
    where = f" in {row['feature']}" if row["feature"] else ""
    place = row["start"] / fps, row["stop"] / fps
    return Finding(row["check"], *place, f"{row['reason']}{where}", row["class"] != RISK)
