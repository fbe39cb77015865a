"""The store: a LeRobotDataset v3.0 directory that stock LeRobot opens at every instant, plus what it lacks.

Durable appends, exact statistics, per-episode columns, label side tables, checksums, versions that swap in one
step. Outside stands what an episode means: converters make them, pipelines change them.
"""

from dataengine.store.edit import Edit
from dataengine.store.mixture import Mixture
from dataengine.store.problems import Problem, VerifyReport
from dataengine.store.reader import FrameReader
from dataengine.store.shard import Shard, seal
from dataengine.store.store import Store
from dataengine.store.stream import FrameStream
from dataengine.store.writer import Writer

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
