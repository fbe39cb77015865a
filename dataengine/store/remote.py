"""Stores behind an address: metadata fetched whole into a folder that stands for the store, the rest read by range."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from dataengine.errors import ConfigError, SourceError, StoreError
from dataengine.remote import MARK
from dataengine.store import layout
from dataengine.store.remote_hub import HubStore
from dataengine.store.remote_web import WebStore
from dataengine.store.store import Store

CACHE_BYTES = 10_000_000_000
_LEAST = 16 << 20
_KEPT_SECONDS = 30 * 86400  # metadata of a store that nobody has opened for so long goes


def address_of(root: str | Path) -> str | None:
    """The address that is meant, also by a `Path` (which leaves out a slash); None for a folder."""
    scheme, colon, rest = str(root).partition(":/")
    return f"{scheme}://{rest.lstrip('/')}" if colon and scheme in ("hf", "http", "https") else None


def cache_folder() -> Path:
    """`DATAENGINE_CACHE`, else `dataengine` where this system keeps caches."""
    own = os.environ.get("DATAENGINE_CACHE")
    return Path(own or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "dataengine")).expanduser().absolute()


def mount(address: str, cache_bytes: int | None = None) -> Path:
    """The folder that stands for the store at `address`, its metadata read now.

    cache_bytes: bounds what is kept of data and videos, by default 10 GB. Raises `StoreError` naming address and
    reason, `ConfigError` for an address or bound that cannot be.
    """
    limit = CACHE_BYTES if cache_bytes is None else cache_bytes
    if limit < _LEAST:
        raise ConfigError(f"cache_bytes is {limit:,}; a cache needs {_LEAST:,} at least")
    cache = cache_folder() / MARK
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    _forget_old(cache)
    making = HubStore(address, limit, cache) if address.startswith("hf://") else WebStore(address, limit, cache)
    try:
        return making.mounted()
    except (SourceError, ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{address}: {error}") from error


def again(root: Path, address: str, cache_bytes: int) -> Store:
    """A store that comes from another process. Raises `StoreError` where the same state cannot be had any more."""
    if (root / layout.INFO).exists():
        return Store(root)
    opened = Store.open(address, cache_bytes=cache_bytes)
    if opened.root.parent.name != root.parent.name:
        raise StoreError(f"{address} has changed since it was opened; open the store again")
    return opened


def _forget_old(cache: Path) -> None:
    for folder in cache.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
