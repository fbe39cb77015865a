"""What is done about faces in videos: nothing unless the user chooses a detector, and then what its model can.

The hands are tracked in the pictures as they were filmed; what is stored has the faces hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from collectors.egocentric import face_tracks
from collectors.egocentric.blur import Blurred
from collectors.egocentric.face_sample import measure
from collectors.egocentric.footage import Footage
from dataengine import plugins
from dataengine.episode import Clip, Label, hash_array
from dataengine.errors import ConfigError
from dataengine.faces import KEY, recall_told
from dataengine.plugins import FaceDetector
from dataengine.source import Assumption

LEFT_OUT = "sound and tags are left out"


@dataclass(frozen=True, kw_only=True)
class FaceSettings:
    """detector: by its name among the face detectors; there is no default. model: its file. params: more parameters of
    the detector. version: of it that must be there. blur: hide what it finds. margin: by which what is hidden is larger
    than a box on every side, of the box's sides. hold: how long before and after a face is seen its place is hidden too
    [s]; gaps of up to twice that are bridged. cells: patches along a side that are left of a face. sample: a folder of
    labelled pictures, as in `face_sample`. measured: what the detector finds in them, which a plan puts here.
    """

    detector: str
    model: Path | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None
    blur: bool = True
    margin: float = 0.3
    hold: float = 0.5
    cells: int = 3
    sample: Path | None = None
    measured: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 3 or not 0 <= self.hold <= 60 or not 1 <= self.cells <= 8:
            raise ConfigError(
                f"faces: margin={self.margin} is 0 to 3, hold={self.hold} s 0 to 60, cells={self.cells} 1 to 8"
            )
        if self.model is not None and "model" in self.params:
            raise ConfigError("faces: the detector's model is given twice, as model and in params")


class Looked(NamedTuple):
    """What became of a video. clip: to be stored. place: what sets its episode apart from one with other pictures."""

    clip: Clip
    about: dict[str, Any]
    labels: dict[str, Label]
    place: str


def settings_of(said: Mapping[str, Any]) -> FaceSettings:
    """Raises `ConfigError` for what no such settings are."""
    return plugins.build(FaceSettings, said, "what is said of faces", "faces")


def prepared(said: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The same, complete: with the detector's version and, where there is a sample, what it finds in that.

    Raises `ConfigError` and `SourceError` for a detector or sample that cannot be used.
    """
    if said is None:
        return None
    settings = settings_of(said)
    detector = _detector(settings)
    measured = None if settings.sample is None else measure(settings.sample, detector)
    return {**said, "version": detector.version, "measured": measured}


def look(footage: Footage, said: Mapping[str, Any] | None) -> Looked:
    """Find the faces of one video and hide them, as `prepared` settings say. Raises `ConfigError`, `SourceError`."""
    if said is None:
        return Looked(footage.clip, {KEY: {"detector": None}}, {}, "")
    settings, clip = settings_of(said), footage.clip
    detector = _detector(settings)
    found = face_tracks.faces(footage, detector)
    hold = round(settings.hold * clip.fps)
    tracks = face_tracks.follow(found, 2 * hold)
    seen = np.diff(found.first)
    about = {
        "detector": detector.version,
        "measured": settings.measured,
        "blurred": settings.blur,
        "video": {
            "frames": clip.length,
            "frames_with": int((seen > 0).sum()),
            "most_at_once": int(seen.max(initial=0)),
            "faces": len(tracks),
        },
    }
    spans = face_tracks.spans(tracks, clip.length, hold)
    table = pa.table({"start": spans[:, 0], "stop": spans[:, 1], "hidden": np.full(len(spans), settings.blur)})
    labels = {KEY: Label("span", table, {"name": settings.detector, "version": detector.version})}
    if not settings.blur or not tracks:
        return Looked(clip, {KEY: about}, labels, "")
    boxes = face_tracks.filled(tracks, clip.length, hold)
    hidden = Blurred(clip, boxes, settings.margin, settings.cells)
    place = f":faces:{hash_array(boxes.first)}:{hash_array(boxes.boxes)}:{settings.margin}:{settings.cells}"
    return Looked(hidden, {KEY: about}, labels, place)


def hides(said: Mapping[str, Any] | None) -> bool:
    """Whether pictures may be stored otherwise than they were filmed."""
    return said is not None and settings_of(said).blur


def assumption(said: Mapping[str, Any] | None) -> Assumption:
    """What a plan, a report and a card say of faces."""
    if said is None:
        return Assumption(KEY, "not assessed", f"pictures are as they were filmed; {LEFT_OUT}")
    settings = settings_of(said)
    done = "blurred where they are found" if settings.blur else "counted, not blurred"
    how = recall_told(settings.measured)
    if settings.measured is None:
        how += ": give faces.sample, a folder of labelled pictures"
    return Assumption(KEY, done, f"by {settings.version or settings.detector}, {how}; {LEFT_OUT}")


def _detector(settings: FaceSettings) -> FaceDetector:
    params = dict(settings.params)
    if settings.model is not None:
        params["model"] = settings.model
    detector = plugins.make("face_detectors", settings.detector, params)
    if settings.version not in (None, detector.version):
        raise ConfigError(f"the mapping wants the face detector {settings.version!r}; here it is {detector.version!r}")
    return detector
