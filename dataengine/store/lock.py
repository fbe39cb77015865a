"""Who may change a store: one writer at a time, and beside it label writers, one after the other.

Locks are `flock`s, so the system frees them when their holder dies, however it dies. The files are shared
by hard link between the versions of a store, so that whoever waited on one holds the other too.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from dataengine.errors import StoreError, StoreLocked
from dataengine.remote import is_remote
from dataengine.store import layout

LABEL_LOCK = f"{layout.PRIVATE}/labels.lock"
SHARED = (layout.LOCK, LABEL_LOCK)


class WriterLock:
    """The one writer's lock. `StoreLocked` names the process that has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._descriptor: int | None = None

    def acquire(self) -> None:
        descriptor = _open(self.root / layout.LOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise StoreLocked(f"{self.root} is being written by {holder}; wait for it or stop it") from None
        me = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "program": Path(sys.argv[0]).name or "python",
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(me).encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


@contextlib.contextmanager
def label_lock(root: Path) -> Iterator[None]:
    """Wait for, and hold, the right to add, replace or remove label files, or to swap the folder they are in."""
    descriptor = _open(root / LABEL_LOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    if is_remote(path):
        raise StoreError(f"{path.parent.parent.name} is a remote store and read only; download it to change it")
    try:
        path.parent.mkdir(exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"{path.parent.parent} cannot be written: {error.strerror}") from error


def _holder(descriptor: int) -> str:
    try:
        data = json.loads(os.pread(descriptor, 4096, 0))
        return f"{data['program']} (process {data['pid']} on {data['host']}, since {data['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
