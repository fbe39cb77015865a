"""Uploads that are not whole yet: a folder per offer, a file per blob, whose length says how much has come.

It lies beside the store (`.NAME.incoming`), where nobody takes it for a part of it, and on the same disk, so that
what is taken over costs no copy. It survives the service; what nobody went on with for long is removed.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from collectors.fleet.offer import SHA256, Limits, Offer, read_offer
from dataengine.errors import DataEngineError
from dataengine.guard import read_json
from dataengine.store import files
from dataengine.store.lock import WriterLock

_OFFER, _WORK = "offer.json", "work-"
_IDLE = 600.0  # seconds after which an upload may make room for another


class Misplaced(DataEngineError):
    """A piece that does not begin where the last one ended. offset: where the next one begins."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the next piece begins at byte {offset}")
        self.offset = offset


class Unknown(DataEngineError):
    """There is no such offer, or no such file in it."""


class Crowded(DataEngineError):
    """No room for one more upload now; there will be."""


class Inbox:
    """`with Inbox(folder, limits) as inbox:` holds the folder for this process alone."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self._lock = threading.RLock()
        self._owner = WriterLock(folder)
        self._busy: set[str] = set()

    @classmethod
    def beside(cls, store: Path, limits: Limits) -> Inbox:
        real = store.resolve()
        return cls(real.with_name(f".{real.name}.incoming"), limits)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._owner.acquire()
        for work in self.folder.glob(f"{_WORK}*"):
            files.remove(work)
        self.sweep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner.release()

    def work(self) -> Path:
        """A name for a folder of the caller's, which goes when the service starts anew."""
        return self.folder / f"{_WORK}{uuid.uuid4().hex}"

    def open(self, offer: Offer) -> str:
        """Make room for an offer, or find the one that was begun; its key. Raises `Crowded`."""
        key = offer.key
        with self._lock:
            if not (self._place(key) / _OFFER).exists():
                self.sweep()
                self._make_room(offer.size)
                files.write_json(self._place(key) / _OFFER, offer.to_json(), durable=False)
        return key

    def offer(self, key: str) -> Offer | None:
        """The offer of this key, if it is known and whole."""
        try:
            return read_offer(read_json(self._place(key) / _OFFER), self.limits)
        except DataEngineError:
            return None

    def file(self, key: str, sha256: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise Unknown(f"{sha256[:80]!r} is not a sha256")
        return self._place(key) / sha256

    def missing(self, key: str, offer: Offer) -> dict[str, int]:
        """Where to go on, in bytes, of every file that is not there in full."""
        have = {sha256: self._length(key, sha256) for sha256 in offer.blobs}
        return {sha256: have[sha256] for sha256, size in offer.blobs.items() if have[sha256] < size}

    def append(self, key: str, sha256: str, start: int, data: bytes) -> int:
        """Add a piece; where the next one begins. Raises `Misplaced`; a piece that cannot be written leaves nothing."""
        path = self.file(key, sha256)
        with self._lock:
            if not path.parent.is_dir():
                raise Unknown("there is no such offer")
            if (length := self._length(key, sha256)) != start:
                raise Misplaced(length)
            try:
                with path.open("ab", buffering=0) as file:
                    left = memoryview(data)
                    while left:
                        left = left[file.write(left) :]
            except OSError:
                if path.exists():
                    os.truncate(path, start)
                raise
        return start + len(data)

    def hold(self, key: str, busy: bool) -> None:
        """While it is held, an offer is not swept away."""
        (self._busy.add if busy else self._busy.discard)(key)

    def forget(self, key: str, sha256: str) -> None:
        """What came of one file is not what was offered: it comes again from its first byte."""
        with self._lock:
            files.remove(self.file(key, sha256))

    def remove(self, key: str) -> None:
        with self._lock:
            files.remove(self._place(key))

    def sweep(self, gone: Callable[[Offer], bool] = lambda offer: False) -> None:
        """Remove what has waited for too long, what is unreadable, and what `gone` says is not needed."""
        with self._lock:
            for path in self._offers():
                offer = self.offer(path.name)
                old = time.time() - _touched(path) > self.limits.waiting_seconds
                if path.name not in self._busy and (offer is None or old or gone(offer)):
                    files.remove(path)

    def _make_room(self, size: int) -> None:
        waiting = {path: self._declared(path) for path in self._offers()}
        for path in sorted(waiting, key=_touched):
            if not self._too_much(waiting, size):
                return
            if path.name not in self._busy and time.time() - _touched(path) > _IDLE:
                files.remove(path)
                del waiting[path]
        if self._too_much(waiting, size):
            raise Crowded(f"{len(waiting)} uploads of {sum(waiting.values()):,} bytes are under way; try again later")

    def _too_much(self, waiting: dict[Path, int], size: int) -> bool:
        count, total = len(waiting) + 1, sum(waiting.values()) + size
        return count > self.limits.waiting_offers or (len(waiting) > 0 and total > self.limits.waiting_bytes)

    def _declared(self, path: Path) -> int:
        offer = self.offer(path.name)
        return offer.size if offer else 0

    def _offers(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if SHA256.fullmatch(path.name)]

    def _place(self, key: str) -> Path:
        if not SHA256.fullmatch(key):
            raise Unknown(f"{key[:80]!r} is not the key of an offer")
        return self.folder / key

    def _length(self, key: str, sha256: str) -> int:
        path = self.file(key, sha256)
        return path.stat().st_size if path.exists() else 0


def _touched(path: Path) -> float:
    """When something last came for an offer."""
    return max((file.stat().st_mtime for file in (path, *path.iterdir()) if file.exists()), default=0.0)
