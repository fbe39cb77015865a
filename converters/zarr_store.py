"""Opening a zarr group from a stranger: a folder or a zip, version 2 or 3, with codecs that decode numbers only.

Metadata is read and judged as JSON before zarr sees it; zarr would import any codec it names, pickles included,
and give zeros for whatever chunk is not there.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataengine.errors import MissingDependency, SourceError, UnsafeSource
from dataengine.guard import check_zip, parse_json, regular_files, safe_join

if TYPE_CHECKING:
    import zarr

# Codecs that turn bytes into numbers. Left out on purpose: pickle, json2, msgpack2, vlen-*, which make objects.
CODECS = frozenset((
    "blosc", "zlib", "gzip", "bz2", "lzma", "zstd", "lz4", "shuffle", "delta", "fixedscaleoffset", "quantize",
    "bitround", "astype", "packbits", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3",
    "bytes", "transpose", "sharding_indexed", "endian",
))  # fmt: skip
_PICTURE_CODECS = "imagecodecs_"
_MAX_CHUNK = 512 << 20
_META = (".zarray", "zarr.json")


@dataclass(frozen=True)
class ArrayHeader:
    """One array as its metadata says.

    lossy: the picture codec it is packed with. stored: bytes of all chunks. missing: places along the first axis
    of the chunk grid where a chunk is absent; damaged: where one is not what its own header says.
    """

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    lossy: str | None
    stored: int
    missing: tuple[int, ...]
    damaged: tuple[int, ...] = ()


def is_zarr(path: Path) -> bool:
    """Whether a folder or zip has a zarr group at its root. May raise what opening a zip raises."""
    if path.is_dir():
        return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    return ".zgroup" in names or "zarr.json" in names


def read_headers(path: Path) -> dict[str, ArrayHeader]:
    """Every array by its path in the group (`data/img`): its metadata and which of its chunks exist, without decoding.

    Raises `SourceError` for damaged metadata, `UnsafeSource` for codecs that are not numbers, objects, chunks
    above 512 MiB, and links or members that leave the store.
    """
    files = _members(path) if path.is_file() else _files(path)
    arrays = {}
    # By name: a folder lists its files in any order, and columns must not change places with it.
    for name, size in sorted(files.items()):
        folder, _, last = name.rpartition("/")
        if last not in _META or size > 4 << 20 or not folder:
            continue
        content = parse_json(_text(path, name), f"{path.name}/{name}", allow_nan=True)
        if not isinstance(content, dict):
            raise SourceError(path.name, f"{name} is no metadata of an array or group")
        if last == "zarr.json" and content.get("node_type") != "array":
            continue
        arrays[folder] = _header(path, folder, content, files)
    if not arrays:
        raise SourceError(path.name, "the zarr group holds no arrays")
    return arrays


def open_array(path: Path, name: str) -> zarr.Array:
    """An array for reading. Its store is kept open for the next caller, two at most in a process."""
    status = path.stat()
    group = _open(str(path.resolve()), status.st_size, status.st_mtime_ns)
    import zarr

    try:
        array = group[name]
    except Exception as error:  # zipfile, zarr and every codec have exceptions of their own
        raise SourceError(path.name, f"{name} cannot be opened: {error}") from error
    if not isinstance(array, zarr.Array):
        raise SourceError(path.name, f"{name} is a group, not an array")
    return array


@lru_cache(maxsize=2)
def _open(path: str, size: int, changed: int) -> zarr.Group:
    try:
        import zarr
        from zarr.storage import LocalStore, ZipStore
    except ImportError as error:
        raise MissingDependency("zarr", extra="convert") from error
    if any(_PICTURE_CODECS in _text(Path(path), name) for name in _metadata(Path(path))):
        _register_pictures()
    try:
        store = ZipStore(path, mode="r") if Path(path).is_file() else LocalStore(path, read_only=True)
        return zarr.open_group(store, mode="r")
    except Exception as error:  # as above
        raise SourceError(Path(path).name, f"cannot be opened as zarr: {error}") from error


def _metadata(path: Path) -> list[str]:
    """Names of metadata files of arrays down to two groups deep, without listing their chunks."""
    if path.is_file():
        return [name for name in _members(path) if name.rpartition("/")[2] in _META]
    found = [p for depth in ("*", "*/*", "*/*/*") for last in _META for p in path.glob(f"{depth}/{last}")]
    return [p.relative_to(path).as_posix() for p in found]


def _register_pictures() -> None:
    try:
        from imagecodecs.numcodecs import register_codecs
    except ImportError as error:
        raise MissingDependency("imagecodecs", extra="convert") from error
    register_codecs(verbose=False)


def _header(path: Path, name: str, content: Mapping[str, Any], files: Mapping[str, int]) -> ArrayHeader:
    where = f"{path.name}/{name}"
    v3 = content.get("zarr_format") == 3
    try:
        shape = tuple(int(n) for n in content["shape"])
        if v3:
            chunks = tuple(int(n) for n in content["chunk_grid"]["configuration"]["chunk_shape"])
            dtype = _dtype_v3(content["data_type"])
            codecs = [c if isinstance(c, str) else c["name"] for c in _flat(content["codecs"])]
        else:
            chunks = tuple(int(n) for n in content["chunks"])
            dtype = np.dtype(content["dtype"])
            codecs = [c["id"] for c in [*(content.get("filters") or []), content.get("compressor")] if c]
    except KeyError as error:
        raise SourceError(where, f"its metadata lacks {error}") from error
    except (TypeError, ValueError) as error:
        raise SourceError(where, f"its metadata cannot be read: {error}") from error
    if dtype.hasobject or dtype.kind not in "biufSUM":
        raise UnsafeSource(where, f"holds {dtype}, not numbers", hint="write it as numbers or fixed-width text")
    for codec in codecs:
        plain = str(codec).removeprefix("numcodecs.")
        if plain not in CODECS and not plain.startswith(_PICTURE_CODECS):
            raise UnsafeSource(
                where, f"is packed with {codec!r}", hint=f"known: {', '.join(sorted(CODECS))}, imagecodecs_*"
            )
    if len(shape) != len(chunks) or min(shape, default=0) < 0 or min(chunks, default=1) < 1:
        raise SourceError(where, f"shape {shape} and chunks {chunks} do not fit")
    nbytes = math.prod(chunks) * dtype.itemsize
    if nbytes > _MAX_CHUNK:
        raise UnsafeSource(where, f"has chunks of {nbytes:,} bytes, more than {_MAX_CHUNK:,}")
    lossy = next((c for c in codecs if str(c).removeprefix("numcodecs.").startswith(_PICTURE_CODECS)), None)
    present = _chunks(where, name, content, v3, shape, chunks, nbytes, files)
    rows, whole = -(-shape[0] // chunks[0]) if shape else 0, math.prod(_grid(shape, chunks)[1:])
    counts = Counter(row for row, _ in present)
    missing = tuple(row for row in range(rows) if counts[row] < whole)
    damaged: tuple[int, ...] = ()
    if codecs and str(codecs[-1]).removeprefix("numcodecs.") == "blosc":
        bare = {str(c).removeprefix("numcodecs.") for c in codecs} <= {"blosc", "bytes", "transpose"}
        damaged = _torn(path, present, files, nbytes if bare else None)
    return ArrayHeader(
        name, shape, chunks, str(dtype), lossy, sum(files[file] for _, file in present), missing, damaged
    )


def _torn(path: Path, present: list[tuple[int, str]], files: Mapping[str, int], nbytes: int | None) -> tuple[int, ...]:
    """Rows of chunks whose blosc header does not fit their size, or the bytes they unpack to where these are known.

    The library reads on behind the end of such a chunk, and leaves what it does not write as it was in memory.
    """
    with ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path)) if path.is_file() else None
        found = set()
        for row, name in present:
            try:
                with archive.open(name) if archive else (path / name).open("rb") as file:
                    head = file.read(16)
            except (OSError, zipfile.BadZipFile, NotImplementedError):
                head = b""
            unpacked, _, packed = struct.unpack("<III", head[4:].ljust(12, b"\0"))
            if packed != files[name] or nbytes not in (None, unpacked):
                found.add(row)
    return tuple(sorted(found))


def _grid(shape: tuple[int, ...], chunks: tuple[int, ...]) -> list[int]:
    return [-(-n // c) for n, c in zip(shape, chunks, strict=True)]


def _dtype_v3(declared: Any) -> np.dtype:
    """Numbers go by their name in zarr 3; text of a fixed width says how wide it is."""
    kind = {"fixed_length_utf32": ("U", 4), "null_terminated_bytes": ("S", 1)}.get(
        declared["name"] if isinstance(declared, dict) else ""
    )
    if kind is None:
        return np.dtype(declared)
    return np.dtype(f"{kind[0]}{int(declared['configuration']['length_bytes']) // kind[1]}")


def _chunks(
    where: str, name: str, content: Mapping[str, Any], v3: bool, shape: tuple[int, ...], chunks: tuple[int, ...],
    nbytes: int, files: Mapping[str, int],
) -> list[tuple[int, str]]:  # fmt: skip
    """The chunks that exist, each with its place along the first axis."""
    if v3:
        encoding = content.get("chunk_key_encoding") or {}
        if not isinstance(encoding, dict):
            raise SourceError(where, f"its metadata cannot be read: chunk_key_encoding is {encoding!r}")
        default = "." if encoding.get("name") == "v2" else "/"
        mark = (encoding.get("configuration") or {}).get("separator", default)
        prefix = f"{name}/" if encoding.get("name") == "v2" else f"{name}/c{mark}"
    else:
        mark, prefix = content.get("dimension_separator") or ".", f"{name}/"
    counts = _grid(shape, chunks)
    have = {file: size for file, size in files.items() if file.startswith(prefix)}
    # A chunk never written is no file: compare numbers before names, since a header may claim 10^12 chunks.
    present = []
    for file, size in have.items():
        place = file[len(prefix) :].split(mark)
        if len(place) == len(counts) and all(p.isdigit() and int(p) < n for p, n in zip(place, counts, strict=True)):
            if size > 2 * nbytes + (1 << 20):
                raise UnsafeSource(where, f"chunk {file} has {size:,} bytes for {nbytes:,} unpacked")
            present.append((int(place[0]) if place[0] else 0, file))
    if counts and counts[0] > 10_000_000:
        raise UnsafeSource(where, f"claims {counts[0]:,} chunks along its first axis")
    return present


def _flat(codecs: Any) -> list[Any]:
    """Codecs with those inside a shard."""
    found = []
    for codec in codecs:
        found.append(codec)
        inner = codec.get("configuration", {}) if isinstance(codec, dict) else {}
        found += _flat([*inner.get("codecs", []), *inner.get("index_codecs", [])]) if isinstance(inner, dict) else []
    return found


def _members(path: Path) -> dict[str, int]:
    check_zip(path)
    with zipfile.ZipFile(path) as archive:
        return {member.filename: member.file_size for member in archive.infolist() if not member.is_dir()}


def _files(root: Path) -> dict[str, int]:
    return {name: file.stat().st_size for name, file in regular_files(root)}


def _text(path: Path, name: str) -> str:
    try:
        if path.is_dir():
            return safe_join(path, name).read_text("utf-8")
        with zipfile.ZipFile(path) as archive:
            return archive.read(name).decode("utf-8")
    except (OSError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise SourceError(path.name, f"{name} cannot be read: {error}") from error
