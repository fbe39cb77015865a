"""The store: a LeRobotDataset v3.0 directory that stock LeRobot opens at every instant, plus what it lacks.

Durable appends, exact statistics, per-episode columns, label side tables, checksums, versions that swap in one
step. Outside stands what an episode means: converters make them, pipelines change them.

Names are imported when they are asked for: a reader starts without what writes, edits and mixes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataengine.store.edit import Edit
    from dataengine.store.mixture import Mixture
    from dataengine.store.problems import Problem, VerifyReport
    from dataengine.store.reader import FrameReader
    from dataengine.store.shard import Shard, seal
    from dataengine.store.store import Store
    from dataengine.store.stream import FrameStream
    from dataengine.store.writer import Writer

_MODULES = {
    "Edit": "edit",
    "FrameReader": "reader",
    "FrameStream": "stream",
    "Mixture": "mixture",
    "Problem": "problems",
    "Shard": "shard",
    "Store": "store",
    "VerifyReport": "problems",
    "Writer": "writer",
    "seal": "shard",
}

__all__ = [
    "Edit",
    "FrameReader",
    "FrameStream",
    "Mixture",
    "Problem",
    "Shard",
    "Store",
    "VerifyReport",
    "Writer",
    "seal",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
