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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer

from collectors.recording.topics import Topic
from dataengine.errors import MachineError
from dataengine.store import files

CHUNK_BYTES = 1 << 16
FLUSH_SECONDS = 0.2
SYNC_SECONDS = 1.0
MOST_WAITING = 64 << 20  # bytes of messages that a disk which stands still makes wait

ENDING, BEGUN = ".mcap", ".begun"
HEAD, KEPT, LABEL = "take.json", "kept.json", "label/"  # attachments


class Journal:
    """One file, open for writing. head: what salvaging needs to know, as JSON. plain: the same for people.

    written: bytes in the file. free: bytes on the disk, a second ago. flush_seconds, sync_seconds: what the last of
    both took. failure: what ended it; nothing is written any more then.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], plain: Mapping[str, str], topics: Sequence[Topic]) -> None:
        files.make_folder(path.parent)
        self.path = path
        self.failure: BaseException | None = None
        self.flush_seconds = self.sync_seconds = 0.0
        self.free = shutil.disk_usage(path.parent).free
        begun = path.with_suffix(BEGUN)  # its name comes with its head, so that every journal can be salvaged
        self._file = begun.open("wb", buffering=CHUNK_BYTES)
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.NONE)
        self._writer.start(library="vla-dataengine")
        self._attach(HEAD, "application/json", json.dumps(head, default=str).encode())
        self._writer.add_metadata("take", dict(plain))
        self._channels = {topic.name: self._register(topic) for topic in topics}
        self._writer.flush()
        self.written = self._file.tell()
        begun.rename(path)
        files.sync_folder(path.parent)
        self._change = threading.Condition()
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._bytes = 0
        self._since = self._syncing = 0.0  # when the oldest that waits came, when the system was asked; 0: none, not
        self._turn = self._wanted = 0  # of the writing thread
        self._ended = False
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("journal", self._write), ("journal to disk", self._sync))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def lag(self) -> float:
        """[s] for how long something has waited for the system, or the system for the disk."""
        now = time.monotonic()
        return max((now - since for since in (self._since, self._syncing) if since), default=0.0)

    def put(self, topic: Topic, number: int, at: tuple[float, float], pack: Callable[[], bytes], size: int) -> None:
        """Message `number` of a topic, which the writing thread packs. at: [s] of the row, and when it was captured.

        size: about how many bytes wait with it. A disk that stands still until memory is full is a failure.
        """
        log, publish = (_nanoseconds(seconds) for seconds in at)
        channel = self._channels[topic.name]
        self._give(lambda: self._writer.add_message(channel, log, pack(), publish, number), size)

    def attach(self, name: str, kind: str, data: bytes) -> None:
        """Something that is no message; see the constants above."""
        self._give(lambda: self._attach(name, kind, data), len(data))

    def flush(self, seconds: float = 30.0) -> None:
        """Wait until the system has what was given. Raises what ended the journal, or `MachineError`."""
        with self._change:
            self._wanted = turn = self._turn + 2  # the turn in progress may have begun before
            self._change.notify_all()
            done = self._change.wait_for(lambda: self._turn >= turn or self.failure is not None, seconds)
        if self.failure is not None:
            raise self.failure
        if not done:
            raise MachineError(f"the disk has taken nothing of {self.path.name} for {seconds:.0f} s")

    def close(self, *, whole: bool = True) -> None:
        """Write what waits. whole: end the file as MCAP ends, so that readers find their way by its index."""
        with self._change:
            self._ended = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()
        if self._file.closed:
            return
        try:
            if whole and self.failure is None:
                self._writer.finish()
            self._file.close()
        except OSError as failure:
            self.failure = self.failure or failure

    def remove(self) -> None:
        """The take is in the store, or nobody wants it."""
        self.close(whole=False)
        self.path.unlink(missing_ok=True)
        files.sync_folder(self.path.parent)

    def _register(self, topic: Topic) -> int:
        return self._writer.register_channel(
            topic.name, topic.encoding, self._writer.register_schema(*topic.schema), {"feature": topic.key}
        )

    def _attach(self, name: str, kind: str, data: bytes) -> None:
        now = time.time_ns()
        self._writer.add_attachment(now, now, name, kind, data)

    def _give(self, write: Callable[[], None], size: int) -> None:
        with self._change:
            self._since = self._since or time.monotonic()
            self._bytes += size
            self._waiting.append((size, write))
            if self._bytes > MOST_WAITING and self.failure is None:
                self.failure = MachineError(f"the disk has taken nothing for {self.lag:.0f} s")

    def _write(self) -> None:
        ended = False
        while not ended:
            with self._change:
                self._change.wait_for(lambda: self._ended or self._wanted > self._turn, FLUSH_SECONDS)
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
        begin, synced = time.monotonic(), 0
        while not self._ended:
            with self._change:
                self._change.wait_for(lambda: self._ended, max(begin + SYNC_SECONDS - time.monotonic(), 0))
            if self._ended:
                return
            begin = self._syncing = time.monotonic()
            try:
                self.free = shutil.disk_usage(self.path.parent).free
                if self.written != synced:
                    synced = self.written
                    os.fsync(self._file.fileno())
            except BaseException as failure:
                self.failure = self.failure or failure
            self.sync_seconds, self._syncing = time.monotonic() - begin, 0.0


def _nanoseconds(seconds: float) -> int:
    return min(max(round(seconds * 1e9), 0), 2**63 - 1)
