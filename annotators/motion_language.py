"""Motion and subtasks in words, from proprioception alone: labels `motion` and `subtask`.

Both are span labels with a column `text`, which `materialize` writes into LeRobot's `language_persistent` in the
styles of the same names. Directions are those of the frame of reference that the state's feature states; where it
states none they are axes ("move along +x"). What the columns do not say – no names, no gripper – stands under
`unknown` in the label's source, and the label has no rows then. Labels of these names that somebody else made stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from annotators.motion.body import DIRECTIONS, Arm, Body, read_body
from annotators.motion.primitives import Segment, motion_segments
from annotators.motion.subtasks import PHRASES, subtask_segments
from dataengine.episode import Episode, Label
from dataengine.errors import ConfigError

SCHEMA = pa.schema(
    [("start", pa.int64()), ("stop", pa.int64()), ("text", pa.string()), ("name", pa.string()), ("arm", pa.string())]
)


@dataclass(frozen=True)
class MotionLanguage:
    """Name what each arm does.

    horizon: seconds around a frame over which its direction is taken. shortest: seconds below which a stretch of
    motion is given to its neighbours. frame: what tool positions refer to, where the data set does not say it:
    "base" (x forward, y left, z up), "world" (z up), "image" (x right, y down) or "axes" (name the axes only).
    """

    horizon: float = 0.4
    shortest: float = 0.3
    frame: Literal["base", "world", "image", "axes"] | None = None

    name: ClassVar[str] = "motion_language"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("observation.*", "label:motion", "label:subtask")

    def __post_init__(self) -> None:
        if not 0 < self.horizon <= 5 or not 0 <= self.shortest <= 5:
            raise ConfigError("motion_language: horizon is above 0 and at most 5 s, shortest 0 to 5 s")

    def annotate(self, episode: Episode) -> Mapping[str, Label]:
        body = read_body(episode, self.frame)
        source = self._source(body)
        motion = [
            (arm, segment, segment.text)
            for arm in body.arms
            for segment in motion_segments(arm, body.frame, episode.fps, self.horizon, self.shortest)
        ]
        subtasks: list[tuple[Arm, Segment, str]] = []
        unknown = list(body.unknown)
        for arm in body.arms:
            found = subtask_segments(arm, episode.fps, self.horizon, up=body.frame in ("base", "world"))
            if isinstance(found, str):
                unknown.append(f"{arm.side} arm: {found}" if arm.side else found)
            else:
                subtasks += [(arm, segment, _phrase(segment.text, arm.side)) for segment in found]
        labels = {
            "motion": Label("span", _table(motion), {**source, "unknown": list(body.unknown)}),
            "subtask": Label("span", _table(subtasks), {**source, "unknown": sorted(set(unknown))}),
        }
        return {name: label for name, label in labels.items() if not self._from_others(episode, name)}

    def _from_others(self, episode: Episode, name: str) -> bool:
        """Whether a person or another program has said it already; that stays."""
        return name in episode.labels and episode.labels[name].source.get("name") != self.name

    def _source(self, body: Body) -> dict[str, Any]:
        """Frame, directions and units, as they were used."""
        directions = {
            axis: list(words) for axis, words in zip("xyz", DIRECTIONS[body.frame], strict=False) if body.arms
        }
        units = sorted({arm.unit or "unknown" for arm in body.arms if arm.position is not None})
        return {
            "name": self.name,
            "version": self.version,
            "frame": body.frame,
            "directions": directions,
            "unit": units,
        }


def _phrase(name: str, side: str) -> str:
    text = PHRASES[name]
    return f"{side} arm: {text}" if side else text


def _table(rows: list[tuple[Arm, Segment, str]]) -> pa.Table:
    rows = sorted(rows, key=lambda row: (row[1].start, row[0].side))
    columns = {
        "start": [s.start for _, s, _ in rows],
        "stop": [s.stop for _, s, _ in rows],
        "text": [text for _, _, text in rows],
        "name": [s.text for _, s, _ in rows],
        "arm": [arm.side for arm, _, _ in rows],
    }
    return pa.table(columns, schema=SCHEMA)
