"""Memory of processes that see many episodes: kept from picture to picture, given back from episode to episode."""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any

# Dask starts workers with MALLOC_TRIM_THRESHOLD_=64 KiB: every picture's memory then goes back to the system and
# comes again page by page, which is 40 % of the time of sealing 640×480 pictures.
ENVIRON = {"MALLOC_TRIM_THRESHOLD_": 32 << 20, "MALLOC_MMAP_THRESHOLD_": 16 << 20}


def give_back() -> None:
    """Return what Arrow and the C library hold and nobody uses; else pieces add up over dozens of episodes."""
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()
    if (trim := _malloc_trim()) is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Any:
    """glibc's function; None where there is none (macOS, musl)."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
