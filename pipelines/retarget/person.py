"""What a person's pinch goes between, learnt from a whole video and kept beside every piece that is cut out of it.

A piece in which nobody pinches shows no closed gripper; the video it is of may.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from dataengine import hands
from dataengine.episode import Episode, Label
from dataengine.errors import EpisodeError
from pipelines.retarget.gripper import Extremes, extremes, pinch
from pipelines.retarget.hand import size_of

PINCH = "pinch"
SCHEMA = pa.schema([("side", pa.string()), ("least", pa.float64()), ("most", pa.float64()), ("frames", pa.int64())])


def with_pinch(episode: Episode, source: Mapping[str, str]) -> Episode:
    """The episode with the label `pinch`: of each hand that it shows, over all of its frames."""
    rows = []
    for side in hands.SIDES:
        columns = [episode.frames.get(hands.column(side, part)) for part in ("landmarks", "tracked")]
        if columns[0] is None or columns[1] is None:
            continue
        landmarks, seen = np.asarray(columns[0], np.float64), np.asarray(columns[1]) == hands.SEEN
        if seen.any():
            found = extremes(pinch(landmarks), seen, size_of(landmarks, seen))
            rows.append({"side": side, **found._asdict(), "frames": int(seen.sum())})
    return episode.with_label(PINCH, Label("episode", pa.Table.from_pylist(rows, SCHEMA), dict(source)))


def known_pinch(episode: Episode, side: str) -> Extremes | None:
    """Of the video that the episode is a piece of; None where nobody says it. Raises `EpisodeError` for a label `pinch`
    that is none."""
    if PINCH not in episode.labels:
        return None
    try:
        rows = [
            row for row in episode.labels[PINCH].table.slice(0, len(hands.SIDES)).to_pylist() if row["side"] == side
        ]
        found = [Extremes(float(row["least"]), float(row["most"])) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise EpisodeError(episode.id, f"the label {PINCH} holds no side, least and most") from error
    if not all(0 <= one.least <= one.most < 10 for one in found):
        raise EpisodeError(episode.id, f"the label {PINCH} holds {found[0].least} to {found[0].most} hand lengths")
    return found[0] if found else None
