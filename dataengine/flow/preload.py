"""Loaded by local workers as they start: Ctrl-C is for the driver, which stops them in order and without a word.

What goes wrong with an episode comes back as an outcome; Dask's own log would only tell how a worker was closed.
"""

from __future__ import annotations

import logging
import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Dask calls this in each worker process."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
