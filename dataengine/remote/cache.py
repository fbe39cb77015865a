"""Blocks of files on disk, bounded in bytes, shared by processes; those not read for longest go first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from dataengine.errors import MachineError

BLOCK = 256 << 10  # bytes of a file fetched, kept and dropped as one
_CHECK = 4  # bytes of CRC-32 after each block: what a dead machine left half written is told from the whole
_KEEP = 0.9  # of the bound is left when blocks have to go


class Blocks:
    """Blocks by key in `folder`, which together with their checksums never take more than `limit` bytes.

    A block gets its name when all of it is written. Space is counted in `folder/used` before it is taken, under a
    lock: a process that dies has counted too much, never too little, and the next one that drops blocks counts anew.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit

    def get(self, key: str, size: int) -> bytes | None:
        """The block of this key, `size` bytes; None when it is not here, or not whole."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                data = file.read(size + _CHECK + 1)
                os.utime(file.fileno())  # read last
        except OSError:
            return None
        block, check = data[:size], data[size:]
        if len(check) == _CHECK and zlib.crc32(block) == int.from_bytes(check):
            return block
        path.unlink(missing_ok=True)
        return None

    def has(self, key: str) -> bool:
        return self._path(key).exists()

    def put(self, key: str, block: bytes) -> None:
        """Keep a block. Raises `MachineError` where the folder cannot be written."""
        path, size = self._path(key), len(block) + _CHECK
        if size > self.limit:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._counted() as counter:
                used = int.from_bytes(os.pread(counter, 8, 0)) if os.fstat(counter).st_size else self._drop(self.limit)
                if used + size > self.limit:
                    used = self._drop(int(_KEEP * self.limit) - size)
                os.pwrite(counter, (used + size).to_bytes(8), 0)
                temporary = path.with_suffix(".tmp")
                temporary.write_bytes(block + zlib.crc32(block).to_bytes(_CHECK))
                temporary.replace(path)
        except OSError as error:
            raise MachineError(f"the cache {self.folder} cannot be written: {error.strerror or error}") from error

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key

    @contextlib.contextmanager
    def _counted(self) -> Iterator[int]:
        counter = os.open(self.folder / "used", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(counter, fcntl.LOCK_EX)
            yield counter
        finally:
            os.close(counter)

    def _drop(self, room: int) -> int:
        """Remove the blocks read longest ago until `room` bytes are left at most; gives what is left."""
        found: list[tuple[int, int, str]] = []
        for folder in self.folder.iterdir():
            for entry in os.scandir(folder) if folder.is_dir() else ():
                if entry.name.endswith(".tmp"):  # whoever wrote it is dead: it would hold the lock
                    Path(entry.path).unlink(missing_ok=True)
                    continue
                with contextlib.suppress(FileNotFoundError):  # torn, and dropped by its reader
                    status = entry.stat()
                    found.append((status.st_mtime_ns, status.st_size, entry.path))
        used = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if used <= max(room, 0):
                break
            Path(path).unlink(missing_ok=True)
            used -= size
        return used
