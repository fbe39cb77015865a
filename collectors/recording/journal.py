"""A take written down as it happens: an MCAP file that loses at most its last second, whatever ends the process.

Whoever gives a message waits for nothing: a thread packs and writes what has come five times a second, as chunks of at
most 64 KiB that carry a checksum, and hands them to the system; another asks the system once a second to put them onto
the disk. What a killed process leaves is whole up to the last of these. Everything that salvaging needs stands in the
file: what was set up at its start, what a person has said of the take at its end.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from dataengine.errors import MachineError
from dataengine.store import files

CHUNK_BYTES = 1 << 16
FLUSH_SECONDS = 0.2
SYNC_SECONDS = 1.0
MOST_WAITING = 64 << 20  # bytes of messages that a disk which stands still makes wait

BEGUN = ".begun"
HEAD, KEPT, LABEL = "take.json", "kept.json", "label/"  # attachments


@dataclass(frozen=True)
class Topic:
    """A channel of the journal. feature: what it carries, for whoever reads it back."""

    name: str
    feature: str
    encoding: str
    schema: str
    schema_encoding: str
    schema_data: bytes


class Journal:
    """One file, open for writing. head: what salvaging needs to know, as JSON. plain: the same for people.

    failure: what ended it; nothing is written any more then.
    """

    def __init__(
        self, path: Path, head: Mapping[str, Any], plain: Mapping[str, str], topics: Mapping[str, Topic]
    ) -> None:
        files.make_folder(path.parent)
        self.path = path
        self.failure: BaseException | None = None
        self.written = 0  # bytes in the file
        self.flush_seconds = self.sync_seconds = 0.0  # what the last took
        begun = path.with_suffix(BEGUN)  # its name comes with its head, so that every journal can be salvaged
        self._file = begun.open("wb", buffering=CHUNK_BYTES)
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.NONE)
        self._writer.start(library="vla-dataengine")
        self._attach(HEAD, "application/json", json.dumps(head).encode())
        self._writer.add_metadata("take", dict(plain))
        self._channels: dict[str, int] = {}
        for key, topic in topics.items():
            schema = self._writer.register_schema(topic.schema, topic.schema_encoding, topic.schema_data)
            about = {"feature": topic.feature}
            self._channels[key] = self._writer.register_channel(topic.name, topic.encoding, schema, about)
        self._writer.flush()
        begun.rename(path)
        files.sync_folder(path.parent)
        self.free = shutil.disk_usage(path.parent).free  # bytes, looked up once a second
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._bytes = 0
        self._since = 0.0  # when the oldest of what is not yet with the system came; 0: all is
        self._change = threading.Condition()
        self._ended = False
        self._turn = 0  # of the writing thread; for `flush`
        self._syncing_since = 0.0
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("journal", self._write), ("journal to disk", self._sync))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def lag(self) -> float:
        """[s] for how long the oldest message has not been handed to the system."""
        since = self._since
        return time.monotonic() - since if since else 0.0

    @property
    def sync_lag(self) -> float:
        """[s] for how long the system has been putting things onto the disk."""
        since = self._syncing_since
        return time.monotonic() - since if since else 0.0

    def put(self, topic: str, sequence: int, log: float, publish: float, pack: Callable[[], bytes], size: int) -> None:
        """A message, packed by the writing thread. log, publish: [s]. size: about how many bytes wait with it.

        Raises `MachineError` when the disk has stood still for so long that memory is full.
        """
        if self._bytes > MOST_WAITING and self.failure is None:
            self.failure = MachineError(f"the disk of {self.path.name} has taken nothing for {self.lag:.0f} s")
        channel = self._channels[topic]

        def write() -> None:
            self._writer.add_message(channel, _nanoseconds(log), pack(), _nanoseconds(publish), sequence)

        self._give(write, size)

    def attach(self, name: str, kind: str, data: bytes) -> None:
        """Something that is no message; see the constants above."""
        self._give(lambda: self._attach(name, kind, data), len(data))

    def flush(self, seconds: float = 30.0) -> None:
        """Wait until the system has what was given. Raises what ended the journal, or `MachineError`."""
        with self._change:
            turn = self._turn + 2  # the turn in progress may have begun before
            self._change.notify_all()
            done = self._change.wait_for(lambda: self._turn >= turn or self.failure is not None, seconds)
        if self.failure is not None:
            raise self.failure
        if not done:
            raise MachineError(f"the disk has taken nothing of {self.path.name} for {seconds:.0f} s")

    def close(self) -> None:
        """Write what waits and end the file, so that any reader of MCAP opens it by its index."""
        with self._change:
            self._ended = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()
        try:
            if self.failure is None and not self._file.closed:
                self._writer.finish()
        except OSError as failure:
            self.failure = failure
        finally:
            try:
                self._file.close()
            except OSError as failure:
                self.failure = failure

    def remove(self) -> None:
        """The take is in the store, or nobody wants it."""
        self.close()
        self.path.unlink(missing_ok=True)
        files.sync_folder(self.path.parent)

    def _attach(self, name: str, kind: str, data: bytes) -> None:
        now = time.time_ns()
        self._writer.add_attachment(now, now, name, kind, data)

    def _give(self, write: Callable[[], None], size: int) -> None:
        now = time.monotonic()
        with self._change:
            self._since = self._since or now
            self._bytes += size
            self._waiting.append((size, write))

    def _write(self) -> None:
        ended = False
        while not ended:
            with self._change:
                self._change.wait(FLUSH_SECONDS if not self._ended else 0)
                ended, begin = self._ended, time.monotonic()
                given, self._waiting = self._waiting, deque()
            try:
                if self.failure is None:
                    for _, write in given:
                        write()
                    self._writer.flush()
                    self.written = self._file.tell()
            except BaseException as failure:
                self.failure = failure
            with self._change:
                self._bytes -= sum(size for size, _ in given)
                self._since = begin if self._waiting else 0.0
                self._turn += 1
                self.flush_seconds = time.monotonic() - begin
                self._change.notify_all()

    def _sync(self) -> None:
        last, synced = time.monotonic(), -1
        while not self._ended:
            with self._change:
                self._change.wait_for(lambda: self._ended, max(SYNC_SECONDS - (time.monotonic() - last), 0))
            last = self._syncing_since = time.monotonic()
            try:
                self.free = shutil.disk_usage(self.path.parent).free
                if self.written != synced and self.failure is None:
                    synced = self.written
                    os.fsync(self._file.fileno())
            except BaseException as failure:
                self.failure = self.failure or failure
            self.sync_seconds, self._syncing_since = time.monotonic() - last, 0.0


def _nanoseconds(seconds: float) -> int:
    return min(max(round(seconds * 1e9), 0), 2**63 - 1)
