"""Loaded by local workers as they start: Ctrl-C is for the driver, which stops them in order."""

from __future__ import annotations

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Dask calls this in each worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
