"""Work done in a process forked for it, which may crash, hang or eat memory, and is measured while it does."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataengine.guard import process


@dataclass(frozen=True)
class Done:
    """A process that ended. code: negative for a signal. text: all it said. mib: its peak beyond what it began with."""

    code: int
    text: str
    seconds: float
    mib: float
    late: bool


def forked(work: Callable[[], Any], log: Path, seconds: float) -> Done:
    """Do `work` in a forked process, its output in a file; end it and what it started after `seconds`."""
    begin, before = time.monotonic(), _resident()
    child = os.fork()
    if child == 0:
        _carry_out(work, log)
    late = False
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - begin > seconds and not late:
            late = True
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.005)
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    mib = max(0.0, usage.ru_maxrss / 1024 - before)
    return Done(os.waitstatus_to_exitcode(status), text, time.monotonic() - begin, mib, late)


def _carry_out(work: Callable[[], Any], log: Path) -> None:
    """The forked process's whole life: nothing of the one it came from is cleaned up by it."""
    os.setpgid(0, 0)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    code = 0
    try:
        work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    process._stop()  # the guarded process, which a conversion leaves to the end of its own
    os._exit(code)


def _resident() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
