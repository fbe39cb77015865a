"""A path below a folder that stands for a remote data set, opened as a file that fetches what is read of it.

`<cache>/@remote/<key>/remote.json` says where the files are; beside it the folder of the data set holds metadata as
it is and an empty file for everything else. All is on disk, so that any process can read from a path alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dataengine.errors import SourceError, StoreError
from dataengine.guard import read_json
from dataengine.remote.cache import BLOCK, Blocks
from dataengine.remote.http import NoRanges, Origin, Version

MARK = "@remote"
_INFIX = f"/{MARK}/"
_MOST_AHEAD = 32  # blocks asked for at once where a file is read from front to back
_RECENT = 2  # blocks an open file keeps in memory
_MOST_BYTES = 1 << 36  # of one file: a server may say any number


def is_remote(path: str | Path) -> bool:
    return _INFIX in os.fspath(path)


def openable(path: str | Path) -> Any:
    """What a library that reads files is given: the path itself, or a `RemoteFile` for one of a remote data set."""
    text = os.fspath(path)
    if _INFIX not in text or not Path(path).exists() or Path(path).stat().st_size:
        return path
    above, _, below = text.rpartition(_INFIX)
    key, _, relative = below.split("/", 2)
    return mount_of(f"{above}{_INFIX}{key}").open(relative)


@dataclass(frozen=True)
class Mount:
    """What `remote.json` says. address: as the user gives it, but pinned. base: where files are. scope: what names a
    file's content together with its path, size and mark. hub: `base` gets the user's token. files: size and mark by
    path where a listing is known, else None: then a file's version is what it is when it is first opened. begun:
    versions of metadata that must hold still until then. opened: stands for marks where the server gives none.
    """

    folder: str
    address: str
    base: str
    scope: str
    hub: bool
    cache_bytes: int
    files: Mapping[str, tuple[int, str]] | None = None
    begun: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    opened: str = ""

    @property
    def blocks(self) -> Blocks:
        return Blocks(Path(self.folder).parents[1] / "blocks", self.cache_bytes)

    @cached_property
    def origin(self) -> Origin:
        if not self.hub:
            return Origin(self.base)
        from huggingface_hub.utils import build_hf_headers

        return Origin(self.base, build_hf_headers())

    def open(self, path: str) -> RemoteFile:
        """Raises `StoreError` naming address and reason."""
        if self.files is not None:
            if path not in self.files:
                raise StoreError(f"{self.address} lists no file {path!r}")
            size, mark = self.files[path]
            return RemoteFile(self, path, Version(size, ""), _name(self.scope, path, mark, size))
        version = self._pinned(path)
        return RemoteFile(self, path, version, _name(self.scope, path, version.mark or self.opened, version.size))

    def _pinned(self, path: str) -> Version:
        """The version that all processes read; the first to open a file decides."""
        pin = Path(self.folder, "pins", _name(path))
        with suppress(SourceError):
            return Version(*read_json(pin))
        origin = self.origin
        version = origin.version(path)
        for name, then in self.begun.items():
            if origin.version(name) != Version(*then):
                raise StoreError(f"{self.address} has changed since it was opened; open the store again")
        temporary = pin.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        with suppress(OSError):  # another was first; or has opened the store anew, which removes all pins
            pin.parent.mkdir(exist_ok=True)
            temporary.write_text(json.dumps([version.size, version.mark]))
            os.link(temporary, pin)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        with suppress(SourceError):
            return Version(*read_json(pin))
        return version


@lru_cache(maxsize=64)
def mount_of(folder: str) -> Mount:
    """Raises `StoreError` when the folder has been removed."""
    path = Path(folder, "remote.json")
    if not path.exists():
        raise StoreError(f"{folder} is gone from the cache; open the store again")
    return Mount(folder=folder, **read_json(path, limit=1 << 30))


def forget_mounts() -> None:
    """What is open stays as it is."""
    mount_of.cache_clear()


def _name(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:40]


# Threads of a process that miss the same block wait for the one that fetches it.
_fetching = [threading.Lock() for _ in range(256)]
_fetching_whole = threading.Lock()


class RemoteFile(io.RawIOBase):
    """A file read in blocks, each from the cache or the server. For one thread at a time; holds nothing open.

    hollow: spans of bytes that are given as zeros and never fetched (what is not needed to find one's way in a file).
    """

    def __init__(self, mount: Mount, path: str, version: Version, identity: str) -> None:
        super().__init__()
        if version.size > _MOST_BYTES:
            raise StoreError(f"{mount.origin.url(path)}: is said to have {version.size:,} bytes")
        self.hollow: list[tuple[int, int]] = []
        self._mount, self._path, self._version, self._identity = mount, path, version, identity
        self._blocks, self._at = mount.blocks, 0
        self._recent: OrderedDict[int, bytes] = OrderedDict()
        self._ahead, self._expected = 1, -1  # blocks to fetch at once, and the block that would go on from the last

    @property
    def url(self) -> str:
        return self._mount.origin.url(self._path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def size(self) -> int:
        return self._version.size

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._version.size}[whence]
        if place < 0:
            raise ValueError(f"there is no byte {place}")
        self._at = place
        return place

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(memoryview(buffer).cast("B")))
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """As much as is asked for, but at the end of the file. Raises `StoreError` naming address and reason."""
        left = max(self._version.size - self._at, 0)
        stop = self._at + (left if size is None or size < 0 else min(size, left))
        parts: list[bytes] = []
        while self._at < stop:
            end = next((high for low, high in self.hollow if low <= self._at < high), None)
            if end is not None:
                part = bytes(min(end, stop) - self._at)
            else:
                solid = min((low for low, _ in self.hollow if low > self._at), default=stop)
                number, begin = divmod(self._at, BLOCK)
                part = self._block(number)[begin : begin + min(stop, solid) - self._at]
            parts.append(part)
            self._at += len(part)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number not in self._recent:
            key = self._key(number)
            with _fetching[int(key[:2], 16)]:
                block = self._blocks.get(key, self._size(number))
                self._recent[number] = self._fetch(number) if block is None else block
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return self._recent[number]

    def _fetch(self, number: int) -> bytes:
        """Ask for a block and, where reading goes on from the last time, for twice as many as then."""
        self._ahead = min(2 * self._ahead, _MOST_AHEAD) if number == self._expected else 1
        end = -(-self._version.size // BLOCK)
        missing = (n for n in range(number + 1, min(number + self._ahead, end)) if self._blocks.has(self._key(n)))
        stop = next(missing, min(number + self._ahead, end))
        self._expected = stop
        try:
            span = number * BLOCK, min(stop * BLOCK, self._version.size)
            data = self._mount.origin.part(self._path, *span, self._version)
        except NoRanges as error:
            return self._whole(number, error)
        for n in range(number, stop):
            self._blocks.put(self._key(n), data[(n - number) * BLOCK : (n - number + 1) * BLOCK])
        return data[:BLOCK]

    def _whole(self, number: int, error: NoRanges) -> bytes:
        """All blocks of a file that its server does not give in parts, where the cache has room for it."""
        size, most = self._version.size, self._mount.cache_bytes // 2
        if size > most:
            raise StoreError(f"{error}, and a file of {size:,} bytes is more than half of the cache") from error
        with _fetching_whole:
            if (found := self._blocks.get(self._key(number), self._size(number))) is not None:
                return found  # another thread was here
            with TemporaryDirectory(dir=self._mount.folder) as folder:
                target = Path(folder) / "file"
                self._mount.origin.save(self._path, target, size, self._version)
                with target.open("rb") as file:
                    for n in range(-(-size // BLOCK)):
                        self._blocks.put(self._key(n), file.read(BLOCK))
                    file.seek(number * BLOCK)
                    return file.read(BLOCK)

    def _size(self, number: int) -> int:
        return min(BLOCK, self._version.size - number * BLOCK)

    def _key(self, number: int) -> str:
        return _name(self._identity, number)


def _forget() -> None:
    global _fetching, _fetching_whole
    _fetching, _fetching_whole = [threading.Lock() for _ in range(256)], threading.Lock()


os.register_at_fork(after_in_child=_forget)
