"""HDF5 from strangers: a file is walked once, before anything is read, and refused if it reaches outside itself.

HDF5 can name other files (external links, external storage, virtual datasets), load code (filter plugins) and
declare terabytes in a kilobyte. None of this needs to be read to be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataengine.errors import MissingDependency, SourceError, UnsafeSource

if TYPE_CHECKING:
    import h5py

MIB = 1 << 20

# Filters that h5py itself carries; every other id makes the library search for a plugin to load.
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
MAX_CHUNK = 512 * MIB
MAX_OBJECTS = 2_000_000
# gzip reaches 1032 : 1 at best; below this size a dataset of zeros is no danger.
MAX_RATIO, RATIO_FROM = 1100, 64 * MIB

# What has been walked in this process, by path, inode, size and time of change.
_walked: set[tuple[str, int, int, int]] = set()


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """An HDF5 file, read-only, that has been found to be self-contained.

    Raises `SourceError` when it is not readable as HDF5 (also for damage met inside the block), `UnsafeSource`
    naming the object for external links and storage, virtual datasets, links to nowhere, filters that would load
    a plugin, chunks above 512 MiB, and datasets that declare more than their stored bytes can hold.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependency("h5py", extra="convert") from error

    try:
        status = Path(path).stat()
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise SourceError(path, f"is not a readable HDF5 file: {error.strerror or error}") from error
    key = (str(Path(path).absolute()), status.st_ino, status.st_size, status.st_mtime_ns)
    with file:
        if key not in _walked:
            _walk(file, path, status.st_size)
            _walked.add(key)
        try:
            yield file
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            # h5py reports damage by plain exceptions whose text begins like this.
            text = str(error.args[0]) if error.args else ""
            if not text.startswith(("Can't ", "Unable to ", "Error iterating ")):
                raise
            raise SourceError(path, f"is damaged or lacks something: {text}") from error


def _walk(file: h5py.File, path: str | Path, stored: int) -> None:
    """Look at every link and every dataset's creation properties once; shared objects once.

    With h5py's low-level calls, which cost half of the others: large files have a hundred thousand objects.
    """
    import h5py

    seen: set[tuple[int, int]] = set()
    pending: list[tuple[str, h5py.h5g.GroupID]] = [("", file.id)]
    declared = links = 0
    while pending:
        prefix, group = pending.pop()
        for name in _names(path, prefix, group):
            place = f"{prefix}/{name.decode('utf-8', 'backslashreplace')}"
            links += 1
            if links > MAX_OBJECTS:
                raise UnsafeSource(path, f"holds more than {MAX_OBJECTS:,} objects")
            try:
                found = _follow(path, place, group, name)
                about = h5py.h5o.get_info(found)
            except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
                raise SourceError(path, f"object {place!r} cannot be opened: {error}") from error
            if (about.fileno, about.addr) in seen:
                continue
            seen.add((about.fileno, about.addr))
            if isinstance(found, h5py.h5g.GroupID):
                pending.append((place, found))
            elif isinstance(found, h5py.h5d.DatasetID):
                declared += _check_dataset(path, place, found, stored)
    if declared > RATIO_FROM and declared > MAX_RATIO * stored:
        raise UnsafeSource(path, f"declares {declared:,} bytes in a file of {stored:,}")


def _names(path: str | Path, place: str, group: h5py.h5g.GroupID) -> list[bytes]:
    try:
        return list(group)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise SourceError(path, f"group {place or '/'!r} cannot be listed: {error}") from error


def _follow(path: str | Path, place: str, group: h5py.h5g.GroupID, name: bytes) -> Any:
    """The object a link leads to, if it leads to one of this file."""
    import h5py

    kind = group.links.get_info(name).type
    if kind == h5py.h5l.TYPE_EXTERNAL:
        other = group.links.get_val(name)[0].decode("utf-8", "backslashreplace")
        raise UnsafeSource(path, f"{place!r} is a link to another file ({other!r})")
    if kind == h5py.h5l.TYPE_SOFT:
        # Resolved step by step: an external link on the way must be seen before HDF5 follows it.
        _check_soft(path, place, h5py.Group(group), group.links.get_val(name).decode("utf-8", "replace"), hops=0)
    elif kind != h5py.h5l.TYPE_HARD:
        raise UnsafeSource(path, f"{place!r} is a link of a kind that only a plugin can follow")
    return h5py.h5o.open(group, name)


def _check_soft(path: str | Path, place: str, group: Any, target: str, hops: int) -> None:
    import h5py

    if hops > 16:
        raise UnsafeSource(path, f"{place!r} is a link in a circle")
    node = group.file if target.startswith("/") else group
    for part in [p for p in target.split("/") if p not in ("", ".")]:
        if not isinstance(node, h5py.Group):
            raise UnsafeSource(path, f"{place!r} links to {target!r}, which is not in the file")
        link = node.get(part, getlink=True, default=None)
        if link is None:
            raise UnsafeSource(path, f"{place!r} links to {target!r}, which is not in the file")
        if isinstance(link, h5py.ExternalLink):
            raise UnsafeSource(path, f"{place!r} is a link to another file ({link.filename!r})")
        if isinstance(link, h5py.SoftLink):
            _check_soft(path, place, node, link.path, hops + 1)
        node = node[part]


def _check_dataset(path: str | Path, place: str, dataset: h5py.h5d.DatasetID, stored: int) -> int:
    """Refuse a dataset that reaches outside or lies about its size; gives its declared bytes."""
    import h5py

    try:
        plan = dataset.get_create_plist()
        layout, filters = plan.get_layout(), [plan.get_filter(i) for i in range(plan.get_nfilters())]
        external, allocated = plan.get_external_count(), dataset.get_storage_size()
        itemsize, count = dataset.get_type().get_size(), dataset.get_space().get_simple_extent_npoints()
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise SourceError(path, f"dataset {place!r} cannot be opened: {error}") from error
    if external:
        raise UnsafeSource(path, f"dataset {place!r} keeps its data in another file")
    if layout == h5py.h5d.VIRTUAL:
        raise UnsafeSource(path, f"dataset {place!r} is virtual: it reads other files")
    for code, _flags, _values, name in filters:
        if code not in FILTERS:
            label = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
            raise UnsafeSource(
                path,
                f"dataset {place!r} needs the filter plugin {code} ({label or 'unnamed'})",
                hint=f"repack it with one of {', '.join(FILTERS.values())}",
            )
    if layout == h5py.h5d.CHUNKED and (chunk := itemsize * _product(plan.get_chunk())) > MAX_CHUNK:
        raise UnsafeSource(path, f"dataset {place!r} has chunks of {chunk:,} bytes, more than {MAX_CHUNK:,}")
    if allocated > stored:
        raise SourceError(
            path, f"dataset {place!r} claims {allocated:,} stored bytes of a file of {stored:,}: truncated"
        )
    declared = itemsize * count
    bound = (MAX_RATIO if filters else 1) * allocated
    # Chunks that were never written read as fill values: a file may be sparse, within reason.
    if declared > RATIO_FROM and declared > max(bound, 16 * allocated):
        raise UnsafeSource(path, f"dataset {place!r} declares {declared:,} bytes and stores {allocated:,}")
    return declared


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
