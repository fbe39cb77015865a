"""What a converter supplies: the columns and cameras a source has, under the source's own names.

Nothing here is renamed, rescaled or turned yet; `mapping.py` says what shall become of it and `assemble.py`
does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dataengine.episode import Clip, Label
from dataengine.source import Assumption, EpisodeRef


@dataclass(frozen=True)
class Column:
    """A table column as it lies in the source: one value of `shape` per frame (`()` for a scalar).

    dtype: numpy name, or "string". names and unit: only what the source itself says.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None = None
    unit: str | tuple[str, ...] | None = None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Camera:
    """A camera as it lies in the source: pictures of `height` by `width` pixels.

    turn: by how many degrees clockwise the source asks players to turn what they show.
    """

    name: str
    height: int
    width: int
    kind: Literal["rgb", "depth"] = "rgb"
    turn: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True)
class Survey:
    """What a source holds, found without decoding it.

    episodes: `extra["file"]` is the file inside the source that holds the episode ("" when the source is
    that file or folder), `extra["place"]` its name there; identity comes from these two, so the same file
    gives the same ids wherever it lies. mapping: the proposal, complete, as `SourceMapping.from_dict` reads
    it. unused: what no proposal could take (columns and cameras that no feature takes are added by themselves).
    """

    episodes: tuple[EpisodeRef, ...]
    columns: Mapping[str, Column]
    cameras: Mapping[str, Camera]
    mapping: Mapping[str, Any]
    assumptions: tuple[Assumption, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawEpisode:
    """One episode under the source's own names.

    columns: `(T, *shape)` arrays in the source's dtype. clips: pictures as the source holds them: colour
    `(H, W, 3)` uint8 unless the mapping's camera says otherwise (float, planar, grey). frame_tasks: `(T,)`
    positions in `tasks`. remarks: what was left out or assumed in this episode beyond the plan's assumptions.
    extra: JSON-able facts about the episode, free of absolute paths.
    """

    columns: Mapping[str, np.ndarray]
    clips: Mapping[str, Clip] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    frame_tasks: np.ndarray | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    success: bool | None = None
    operator: str | None = None
    embodiment: str | None = None
    split: str | None = None
    remarks: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
