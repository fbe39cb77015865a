"""Zip archives from strangers, checked by their directory before a member is opened."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path, PurePosixPath

from dataengine.errors import SourceError, UnsafeSource

MIB = 1 << 20

# A small member may be one long run of zeros; the ratio says something from here on.
_RATIO_FROM = 16 * MIB


def check_zip(
    path: str | Path,
    max_ratio: float = 200.0,
    max_bytes: int = 256 << 30,
    max_members: int = 5_000_000,
    max_depth: int = 32,
) -> None:
    """Read the directory of a zip file and raise unless all its members can be opened safely.

    max_ratio: declared size over stored size, of any large member and of the whole. max_bytes: declared size of
    all members. Python's zipfile never gives more bytes of a member than the directory declares.

    Raises `SourceError` when it is not a zip file; `UnsafeSource`, naming the member, for names that leave the
    folder or stand twice, links and devices, encryption, overlapping members and bombs.
    """
    try:
        stored_size = Path(path).stat().st_size
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise SourceError(path, f"is not a readable zip file: {error}") from error
    if len(members) > max_members:
        raise UnsafeSource(path, f"holds {len(members):,} members, more than {max_members:,}")

    names: set[str] = set()
    packed = unpacked = 0
    for member in members:
        _check_member(path, member, max_depth)
        if member.filename in names:
            raise UnsafeSource(path, f"member {member.filename!r} stands in it twice")
        names.add(member.filename)
        packed += member.compress_size
        unpacked += member.file_size
        _check_ratio(path, f"member {member.filename!r}", member.file_size, member.compress_size, max_ratio)
    if unpacked > max_bytes:
        raise UnsafeSource(path, f"declares {unpacked:,} bytes unpacked, more than {max_bytes:,}")
    if packed > stored_size:
        raise UnsafeSource(path, f"members overlap: they claim {packed:,} bytes of a file of {stored_size:,}")
    _check_ratio(path, "the archive", unpacked, stored_size, max_ratio)


def _check_member(path: str | Path, member: zipfile.ZipInfo, max_depth: int) -> None:
    name = PurePosixPath(member.filename)
    # zipfile cuts a name at NUL and keeps the rest in orig_filename.
    bad = "\\" in member.filename or "\0" in member.orig_filename or not name.parts or name.parts[0].endswith(":")
    if bad or name.is_absolute() or ".." in name.parts:
        raise UnsafeSource(path, f"member {member.orig_filename!r} leaves the folder it would be unpacked to")
    if len(name.parts) > max_depth:
        raise UnsafeSource(path, f"member {member.filename[:80]!r}… is nested {len(name.parts)} deep")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafeSource(path, f"member {member.filename!r} is a link or a device, not a file")
    if member.flag_bits & 1:
        raise UnsafeSource(path, f"member {member.filename!r} is encrypted", hint="unpack it with its password first")


def _check_ratio(path: str | Path, what: str, unpacked: int, packed: int, max_ratio: float) -> None:
    if unpacked > _RATIO_FROM and unpacked > max_ratio * max(packed, 1):
        raise UnsafeSource(path, f"{what} declares {unpacked:,} bytes from {packed:,}, more than {max_ratio:g} : 1")
