"""Calls that may crash, hang or eat memory, made in a process of their own.

A decoder fed with damaged bytes can take the whole interpreter with it. `run_guarded` keeps one worker per
process (starting one costs about half a second) and replaces it when it dies. `subprocess`, not
`multiprocessing`: Dask's workers are daemons, which may not start children of that kind, and a script without
an `if __name__ == "__main__"` must not run twice.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from dataengine.errors import DataEngineError, SourceError

_START_SECONDS = 60.0  # a cold machine may take this long to import numpy and av


def run_guarded(function: Callable[..., Any], *args: Any, seconds: float = 60.0, memory: int = 2 << 30) -> Any:
    """`function(*args)` in the guarded process, at most `seconds` of time and `memory` bytes beyond its own.

    `function` is importable by name; arguments and result are picklable. Errors of ours come back as they are.
    Raises `SourceError` when it crashes, hangs, runs out of memory or fails in another way; the first argument
    that is a path names the source.
    """
    with _lock:
        worker = _Worker.current()
        try:
            return worker.call(function, args, seconds, memory)
        except BaseException as error:
            if not isinstance(error, DataEngineError) or worker.process.poll() is not None:
                worker.stop()
            raise


class _Worker:
    """The other process. It belongs to the process that started it: a fork gets its own."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.pipe, theirs = Pipe()
        start = (
            f"import sys; sys.path[:] = {sys.path!r}; from dataengine.guard.process import serve; "
            f"serve({theirs.fileno()})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", start],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        if not self._is_ready():
            self.stop()
            raise SourceError("the guarded process", "does not start", hint="is the package importable?")

    def _is_ready(self) -> bool:
        try:
            return self.pipe.poll(_START_SECONDS) and self.pipe.recv() == "ready"
        except EOFError:  # it has died
            return False

    @classmethod
    def current(cls) -> _Worker:
        global _worker
        if _worker is None or _worker.owner != os.getpid() or _worker.process.poll() is not None:
            _worker = cls()
        return _worker

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], seconds: float, memory: int) -> Any:
        source = next((str(a) for a in args if isinstance(a, (str, Path))), getattr(function, "__name__", "call"))
        try:
            self.pipe.send((function, args, seconds, memory))
            if not self.pipe.poll(seconds):
                self.stop()
                raise SourceError(source, f"reading it took more than {seconds:g} s")
            error, result = self.pipe.recv()
        except (EOFError, ConnectionError) as death:
            reason = _death(self.process.wait(), seconds, memory)
            raise SourceError(source, f"reading it {reason}") from death
        if error is None:
            return result
        if isinstance(error, str):
            raise SourceError(source, error)
        raise error

    def stop(self) -> None:
        global _worker
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
            self.pipe.close()
        if _worker is self:
            _worker = None


_lock = threading.Lock()
_worker: _Worker | None = None


@atexit.register
def _stop() -> None:
    if _worker is not None and _worker.owner == os.getpid():
        _worker.stop()


def _death(code: int, seconds: float, memory: int) -> str:
    if code == -signal.SIGALRM:
        return f"took more than {seconds:g} s"
    if code in (-signal.SIGKILL, -signal.SIGABRT):
        return f"was stopped; it probably needs more than {memory >> 20} MiB"
    return f"crashed the decoder ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def serve(channel: int) -> None:
    """The worker's loop: calls until the other end closes. Every call runs under an alarm that ends the process."""
    pipe: Connection = Connection(channel)
    import av  # noqa: F401  what nearly every call needs; imported before the first one is timed

    pipe.send("ready")
    while True:
        try:
            function, args, seconds, memory = pipe.recv()
        except EOFError:
            return
        except Exception as error:
            pipe.send((f"cannot be called in another process: {error}", None))
            continue
        # The default action of SIGALRM ends the process inside C code too, even when nobody waits any more.
        signal.setitimer(signal.ITIMER_REAL, seconds + 1.0)
        reply = _answer(function, args, memory)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        try:
            pipe.send(reply)
        except Exception as error:
            pipe.send((f"gave something that cannot be sent: {error}", None))


def _answer(function: Callable[..., Any], args: tuple[Any, ...], memory: int) -> tuple[BaseException | str | None, Any]:
    try:
        _limit_memory(memory)
        return None, function(*args)
    except DataEngineError as error:
        return error, None
    except MemoryError:
        return f"reading it needs more than {memory >> 20} MiB", None
    except Exception as error:
        return f"{type(error).__name__}: {error}", None
    finally:
        _limit_memory(None)


def _limit_memory(extra: int | None) -> None:
    """Let the address space grow by `extra` bytes from what it is now; None lifts the limit. Linux only."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = hard if extra is None else pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
