"""Arrays from strangers: never a pickle, never more memory than their file can account for."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard.archive import check_zip

GIB = 1 << 30
# What numpy and zipfile raise at damage; a header may declare more than any machine has.
_DAMAGE = (
    ValueError,
    TypeError,
    OSError,
    EOFError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,  # of a header, which numpy reads as Python
)


def check_allocation(path: str | Path, name: str, nbytes: int, limit: int = 16 * GIB) -> None:
    """Raise `UnsafeSource` when reading the array `name` in one piece would take more than `limit` bytes."""
    if nbytes > limit:
        raise UnsafeSource(path, f"array {name!r} declares {nbytes:,} bytes, more than {limit:,}")


def reject_objects(path: str | Path, name: str, dtype: np.dtype) -> None:
    """Raise `UnsafeSource` for a dtype that holds Python objects: reading it would run a pickle."""
    if dtype.hasobject:
        raise UnsafeSource(path, f"array {name!r} holds pickled Python objects", hint="save it as numbers or text")


def load_npz(
    path: str | Path, max_bytes: int = 16 * GIB, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Every array of an `.npz`, or those of these names, none of them pickled.

    Raises `SourceError`, or `UnsafeSource` for pickles and bombs.
    """
    check_zip(path, max_bytes=max_bytes)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if names is None or name in names}
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise UnsafeSource(path, "holds pickled Python objects", hint="save it as numbers or text") from error
        raise SourceError(path, f"is not a readable npz file: {error}") from error
