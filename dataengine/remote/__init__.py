"""Files that lie behind HTTP, read by range: a folder that stands for them, and a bounded cache of what was read.

`store.remote` makes such a folder of a data set; `openable` is the one place where a path in it becomes bytes.
Outside stands which files a data set has. Everything that a server says is untrusted.
"""

from dataengine.remote.cache import Blocks
from dataengine.remote.file import MARK, Mount, RemoteFile, forget_mounts, is_remote, mount_of, openable
from dataengine.remote.http import Missing, Origin, Version

__all__ = [
    "MARK",
    "Blocks",
    "Missing",
    "Mount",
    "Origin",
    "RemoteFile",
    "Version",
    "forget_mounts",
    "is_remote",
    "mount_of",
    "openable",
]
