"""The folder that stands for a remote store: made under another name until everything is there."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataengine.errors import SourceError, StoreError
from dataengine.guard import read_json, safe_join, safe_name
from dataengine.remote import Origin, Version, forget_mounts
from dataengine.store import files


@dataclass
class Making:
    """One opening of `address`. limit: bytes of the cache. cache: where such folders are. said: for `remote.json`.
    name: the folder's. What is to be had where differs: `mounted` is the subclass's.
    """

    address: str
    limit: int
    cache: Path
    said: dict[str, Any] = field(default_factory=dict)
    name: str = "store"

    def mounted(self) -> Path:
        raise NotImplementedError

    def made(self, key: str, fetch: Callable[[Path], None]) -> Path:
        """`cache/<key>/<name>`, filled by `fetch` if it is not there; others may make it at the same time."""
        folder = self.cache / key
        if not (folder / "remote.json").exists():
            work = self.cache / f"{key}.{uuid.uuid4().hex[:8]}"
            try:
                (work / self.name).mkdir(parents=True)
                fetch(work / self.name)
                files.write_json(work / "remote.json", {**self.said, "cache_bytes": self.limit}, durable=False)
                try:
                    work.rename(folder)
                except OSError:
                    if not (folder / "remote.json").exists():
                        raise
            except OSError as error:
                raise StoreError(f"the cache {self.cache} cannot be written: {error}") from error
            finally:
                shutil.rmtree(work, ignore_errors=True)
        return folder / self.name

    def opened(self, root: Path) -> Path:
        """From now on with this bound, and not to be forgotten soon."""
        os.utime(root.parent)
        record = read_json(root.parent / "remote.json", limit=1 << 30)
        if record["cache_bytes"] != self.limit:
            files.write_json(root.parent / "remote.json", {**record, "cache_bytes": self.limit}, durable=False)
        forget_mounts()
        return root


def save(origin: Origin, root: Path, path: str, most: int, expected: Version | None = None) -> int:
    """A whole file; gives its bytes."""
    target = safe_join(root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return origin.save(path, target, most, expected).size


def stand_in(root: Path, paths: Iterable[str]) -> None:
    """Empty files for those that are not here."""
    for path in paths:
        target = safe_join(root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(exist_ok=True)


def key_of(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def is_name(name: str) -> bool:
    """Whether it can be a file or folder of ours."""
    try:
        return bool(safe_name(name))
    except SourceError:
        return False
