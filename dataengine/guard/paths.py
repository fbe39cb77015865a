"""Names and paths that stay where they belong, and hashes of what they hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from pathlib import Path, PurePosixPath

from dataengine.errors import SourceError, UnsafeSource

MAX_NAME_BYTES = 200


def safe_name(name: str) -> str:
    """`name`, if it can be one path component on any system.

    Raises `UnsafeSource` for separators, `..`, a leading dot (LeRobot globs dot-files too), control characters,
    nothing, and more than 200 bytes of UTF-8.
    """
    if not isinstance(name, str) or not name.strip():
        raise UnsafeSource(repr(name), "is not a name", hint="a name has at least one visible character")
    if any(c in "/\\" or ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in name):
        raise UnsafeSource(repr(name), "holds a path separator or a control character", hint="use letters, '.' and '_'")
    if name.startswith(".") or ".." in name:
        raise UnsafeSource(repr(name), "starts with a dot or holds '..'", hint="use letters, single '.' and '_'")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise UnsafeSource(repr(name[:40] + "…"), f"is longer than {MAX_NAME_BYTES} bytes", hint="shorten it")
    return name


def safe_join(root: str | Path, relative: str | Path) -> Path:
    """The file `relative` below `root`, whether or not it exists.

    Raises `UnsafeSource` when it is absolute, climbs with `..`, or passes a symbolic link that leaves `root`.
    Links from a Hub cache's `snapshots/<revision>` into the `blobs` of the same repository stay inside.
    """
    root, text = Path(root), str(relative)
    if not text or "\0" in text or "\\" in text:
        raise UnsafeSource(repr(text), "is not a relative path with '/' between its parts")
    parts = PurePosixPath(text)
    if parts.is_absolute() or ".." in parts.parts or (parts.parts[:1] and parts.parts[0].endswith(":")):
        raise UnsafeSource(repr(text), f"leaves the folder {root.name!r}", hint="only paths below it are read")
    path = root / parts
    steps = accumulate(parts.parts, "{}/{}".format, initial=str(root))  # many thousand times for a large store
    if not any(map(os.path.islink, islice(steps, 1, None))):
        return path  # nothing below the root leads elsewhere
    try:
        real, allowed = path.resolve(), [root.resolve()]
    except (OSError, RuntimeError) as error:
        raise UnsafeSource(path, f"cannot be resolved: {error}") from error
    if root.absolute().parent.name == "snapshots":
        allowed.append((root.absolute().parent.parent / "blobs").resolve())
    if not any(real.is_relative_to(folder) for folder in allowed):
        raise UnsafeSource(path, f"is a link that leaves {root.name!r}", hint="copy the linked file into the folder")
    return path


def regular_files(root: str | Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder with its name there, in no order.

    Raises `UnsafeSource` for a link that leaves `root`, `SourceError` for a pipe, socket or device, which whoever opens
    it would wait for. A link to nothing is passed over: what it stood for is missing.
    """
    root = Path(root)
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            safe_join(root, name)
        if path.is_file():
            yield name, path
        elif path.exists() and not path.is_dir():
            raise SourceError(path, "is no file but a pipe, socket or device", hint="take it out of the folder")


def sha256_file(path: str | Path) -> str:
    """sha256 of a file's bytes, in hex. Raises `SourceError` when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error


def tree_sha256(root: str | Path, patterns: Iterable[str] = ("**/*",)) -> str:
    """sha256 over names and contents of the files below `root` that match one of `patterns`, in order of name.

    For a single file: the hash of its bytes. Raises `UnsafeSource` for a link that leaves `root`.
    """
    root = Path(root)
    if root.is_file():
        return sha256_file(root)
    if not root.is_dir():
        raise SourceError(root, "is not there")
    digest = hashlib.sha256()
    names = {path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    for name in sorted(names):
        digest.update(f"{name}\0{sha256_file(safe_join(root, name))}\n".encode())
    return digest.hexdigest()
