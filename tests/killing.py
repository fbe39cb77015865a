"""Dying by SIGKILL before the n-th of some calls, in a process made for it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

# How a store changes the disk, but for writing files under names of their own.
DISK: tuple[tuple[Any, str], ...] = (
    (os, "link"),
    (shutil, "rmtree"),
    *((Path, n) for n in ("replace", "rename", "unlink")),
)


def die_before(n: int, *places: tuple[Any, str]) -> None:
    """Replace functions by ones that count their calls together; the call number n, from 0, is not made any more."""
    steps = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            if steps == n:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1
            return function(*args, **kwargs)

        return step

    for owner, name in places:
        setattr(owner, name, counted(getattr(owner, name)))
