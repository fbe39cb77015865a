"""Episodes to look at: a filmstrip of every camera, the movement, and what was said about it, along one time axis."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataengine.episode import Clip, Episode, Label
from dataengine.errors import DataEngineError
from dataengine.flow.report import charts
from dataengine.video import close_readers

_PICTURES, _HEIGHT, _GAP, _LANES = 8, 96, 3, 5


@dataclass(frozen=True)
class Track:
    """What a label says along the episode. pieces: lane, left and width in percent, text, colour number.

    whole: what it says of the episode from end to end. more: pieces without a lane.
    """

    name: str
    lanes: int
    pieces: Sequence[tuple[int, float, float, str, int]]
    whole: Sequence[str] = ()
    more: int = 0


@dataclass(frozen=True)
class Sample:
    """One episode as the page shows it. strips: camera, `data:` URI, problem. curves: feature and drawing."""

    place: int
    id: str
    seconds: float
    frames: int
    tasks: Sequence[str]
    facts: Mapping[str, str]
    strips: Sequence[tuple[str, str, str]]
    curves: Sequence[tuple[str, Any, str]]
    tracks: Sequence[Track]


def choose(count: int, wanted: int = 6) -> list[int]:
    """Positions spread evenly over the store, the first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int)).tolist() if count else []


def sample(store: Any, place: int, stats: Mapping[str, Mapping[str, np.ndarray]]) -> Sample:
    """One episode of the store; a camera that cannot be decoded is shown as such."""
    episode: Episode = store[place]
    meta = episode.meta
    facts = {"success": meta.success, "quality": meta.quality, "operator": meta.operator, "split": meta.split}
    curves = []
    for key, column in episode.frames.items():
        if (
            episode.features[key].role in ("state", "action", "environment")
            and column.dtype.kind == "f"
            and key in stats
        ):
            low, high = (np.ravel(stats[key][name]).astype(np.float64) for name in ("q01", "q99"))
            shown = min(episode.features[key].size, len(charts.SERIES))
            more = f"{shown} of {episode.features[key].size} dimensions" if shown < episode.features[key].size else ""
            curves.append((key, charts.lines(column, low, high), more))
    strips = [_strip(key, clip) for key, clip in episode.clips.items()]
    close_readers()  # every video is shown once
    return Sample(
        place=place,
        id=episode.id,
        seconds=episode.length / episode.fps,
        frames=episode.length,
        tasks=meta.tasks,
        facts={k: _said(v) for k, v in facts.items() if v is not None},
        strips=strips,
        curves=curves,
        tracks=[track for name, label in episode.labels.items() if (track := _track(name, label, episode.length))],
    )


def data_uri(jpeg: bytes, kind: str = "image/jpeg") -> str:
    return f"data:{kind};base64,{base64.b64encode(jpeg).decode()}"


def _strip(key: str, clip: Clip) -> tuple[str, str, str]:
    """Evenly spaced frames side by side as one JPEG."""
    from PIL import Image

    places = np.linspace(0, clip.length - 1, min(_PICTURES, clip.length)).round().astype(int)
    try:
        pictures = [_picture(clip.frame(int(place))) for place in places]
    except DataEngineError as error:
        return key, "", str(error)
    width = max(1, round(_HEIGHT * clip.width / clip.height))
    strip = Image.new("RGB", (len(pictures) * (width + _GAP) - _GAP, _HEIGHT), (24, 26, 30))
    for number, picture in enumerate(pictures):
        thumb = Image.fromarray(picture).resize((width, _HEIGHT), Image.Resampling.LANCZOS)
        strip.paste(thumb, (number * (width + _GAP), 0))
    sink = io.BytesIO()
    strip.save(sink, "JPEG", quality=78)
    return key, data_uri(sink.getvalue()), ""


def _picture(frame: np.ndarray) -> np.ndarray:
    """A frame as `(H, W, 3)` uint8; depth in grey, near is bright."""
    if frame.shape[2] == 3:
        return frame
    depth = frame[:, :, 0]
    valid = depth[np.isfinite(depth) & (depth > 0)]
    low, high = np.percentile(valid, (2, 98)) if len(valid) else (0.0, 1.0)
    near = 1.0 - np.clip((np.nan_to_num(depth) - low) / max(high - low, 1e-6), 0, 1)
    return np.repeat((255 * near).astype(np.uint8)[:, :, None], 3, 2)


def _track(name: str, label: Label, length: int) -> Track | None:
    """Spans and events as coloured pieces; the same text has the same colour, what overlaps has lanes of its own.

    What is said of the whole episode takes no lane from what has a place.
    """
    if label.kind not in ("span", "event") or label.table.num_rows == 0:
        return None
    places = {"start", "stop", "frame"}
    texts = [
        c for c in label.table.column_names if c not in places and str(label.table.schema.field(c).type) == "string"
    ]
    others = [c for c in label.table.column_names if c not in places]
    columns = (texts or others)[:2]
    colours: dict[str, int] = {}
    pieces: list[tuple[int, float, float, str, int]] = []
    ends: list[int] = []
    whole: list[str] = []
    more = max(0, label.table.num_rows - 200)
    rows = label.table.slice(0, 200).to_pylist()
    for row in sorted(rows, key=lambda r: r.get("start", r.get("frame"))):
        start = row["start"] if label.kind == "span" else row["frame"]
        stop = row["stop"] if label.kind == "span" else start + max(1, length // 150)
        text = " · ".join(str(row[column]) for column in columns if row[column] is not None)
        if start <= 0 and stop >= length:
            whole.append(text[:200])
            continue
        colour = colours.setdefault(text, len(colours) % len(charts.SERIES))
        lane = next((n for n, end in enumerate(ends) if end <= start), len(ends))
        if lane >= _LANES:
            more += 1
            continue
        ends[lane:] = [stop, *ends[lane + 1 :]]
        pieces.append((lane, 100 * start / length, 100 * max(stop - start, 1) / length, text[:200], colour))
    return Track(name, len(ends), pieces, whole, more)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
