"""What the next version of a store has otherwise than the present one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from dataengine.episode import Feature


@dataclass(frozen=True)
class Change:
    """Episodes are meant by their position in the store that is read; what is not named stays.

    order: which episodes, in which order; None: all. episodes: values of the episodes table. texts: of an episode,
    the new instruction by the old one. rename, drop: features. features: columns added or replaced;
    `columns(position)` gives them for an episode: arrays of numbers by feature key, Arrow arrays by language column.
    languages: language columns of the new table. materialized: as in the commit record. pack: write data files anew.
    join_videos: pack mp4s as well. spoiled: files that are not what was written, so none of them is shared. anew: no
    statistics that stand in the store are used. recount: statistics of cameras are those of every picture. edits: the
    log of the new version, `build` completes its last entry; None: as it is, and the old version is not kept.
    """

    order: Sequence[int] | None = None
    episodes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    texts: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    features: Mapping[str, Feature] = field(default_factory=dict)
    columns: Callable[[int], Mapping[str, np.ndarray | pa.Array]] | None = None
    languages: tuple[str, ...] | None = None
    materialized: Mapping[str, list[str]] | None = None
    pack: bool = False
    join_videos: bool = False
    spoiled: frozenset[str] = frozenset()
    anew: bool = False
    recount: bool = False
    edits: tuple[Mapping[str, Any], ...] | None = None
