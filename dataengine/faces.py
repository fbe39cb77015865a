"""What is said of faces in the pictures of a dataset: by every episode, and of all of them together.

`Meta.extra["faces"]` of an episode whose pictures show people: `detector`, its version, None where nobody looked;
`measured`, how many faces it finds in a labelled sample, None where there was none; `blurred`; and of the whole video
that the episode was cut from, `video`: `frames`, `frames_with` a face, `most_at_once`, and `faces`, counted anew when
one comes back. The label `faces` has a span for each of them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from dataengine.episode import Meta

KEY = "faces"


def told(metas: Iterable[Meta]) -> str:
    """What was done about faces, for people; empty where no episode says anything of them."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for number, meta in enumerate(metas):
        said = meta.extra.get(KEY)
        if isinstance(said, Mapping):
            kind = json.dumps([said.get(k) for k in ("detector", "measured", "blurred")], sort_keys=True, default=str)
            groups[kind][str(meta.source.get("sha256", number))] = said
    return "; ".join(_group(list(videos.values())) for videos in groups.values())


def recall_told(measured: Any) -> str:
    """How sure a detector is, as `face_sample` in `collectors.egocentric` measures it."""
    try:
        said = f"recall {_between(measured['recall'], measured['recall_95'])}"
        if measured["precision"] is not None:
            said += f" and precision {_between(measured['precision'], measured['precision_95'])}"
        return f"{said} on {_number(int(measured['faces']), 'labelled face')}"
    except (TypeError, KeyError, ValueError):  # nothing measured, or a stranger's dataset
        return "recall not known"


def _between(share: float, ends: tuple[float, float]) -> str:
    low, high = ends
    return f"{share:.2f} [{low:.2f}, {high:.2f}]"


def _group(videos: list[Mapping[str, Any]]) -> str:
    """Videos that were treated alike."""
    said = videos[0]
    if not said.get("detector"):
        return f"not assessed in {_number(len(videos), 'video')}"
    counts = [_count(video.get("video")) for video in videos]
    done = "blurred" if said.get("blurred") is True else "not blurred"
    where = f"{_number(sum(counts), 'face')} in {sum(map(bool, counts))} of {_number(len(videos), 'video')}"
    return f"{said['detector']}, {recall_told(said.get('measured'))}; {where}; {done}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _count(video: Any) -> int:
    found = video.get("faces") if isinstance(video, Mapping) else None
    return found if isinstance(found, int) else 0
