"""Damage that knows nothing of a file's meaning, or only its outermost one: bytes, mp4 boxes, zip members, folders.

Every function changes what lies at a path on the disk, by a random generator that makes it repeatable.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

Rng = np.random.Generator
Change = Callable[[Path, Rng], None]
SECRET = "do not read me"


class NotHere(Exception):
    """The source has nothing that this change could change."""


def pick(rng: Rng, choices: list) -> object:
    if not choices:
        raise NotHere
    return choices[int(rng.integers(len(choices)))]


def files_of(root: Path, *suffixes: str) -> list[Path]:
    found = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    return [p for p in found if not suffixes or p.name.endswith(suffixes)]


def _flip(data: bytearray, at: int, size: int, rng: Rng) -> bytes:
    for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data)


def _flip_head(data: bytearray, at: int, size: int, rng: Rng) -> bytes:
    """Where headers and footers stand."""
    ends = [*range(min(len(data), 512)), *range(max(0, len(data) - 512), len(data))]
    for place in rng.choice(ends, 3):
        data[place] = int(rng.integers(256))
    return bytes(data)


BLIND: dict[str, Callable[[bytearray, int, int, Rng], bytes]] = {
    "flip": _flip,
    "flip_ends": _flip_head,
    "truncate": lambda data, at, size, rng: bytes(data[:at]),
    "zero": lambda data, at, size, rng: bytes(data[:at] + bytes(size) + data[at + size :]),
    "noise": lambda data, at, size, rng: bytes(data[:at] + rng.bytes(size) + data[at + size :]),
    "double": lambda data, at, size, rng: bytes(data[: at + size] + data[at:]),
    "drop": lambda data, at, size, rng: bytes(data[:at] + data[at + size :]),
    "splice": lambda data, at, size, rng: bytes(data[:at] + data[: len(data) - at]),
    "append": lambda data, at, size, rng: bytes(data) + rng.bytes(size),
    "maximum": lambda data, at, size, rng: bytes(data[:at] + b"\xff" * min(size, 8) + data[at + 8 :]),
}


def blind(kind: str) -> Change:
    """One of `BLIND` in any file of a source."""

    def change(root: Path, rng: Rng) -> None:
        path = pick(rng, [p for p in files_of(root) if p.stat().st_size])
        assert isinstance(path, Path)
        data = bytearray(path.read_bytes())
        at, size = int(rng.integers(len(data))), int(rng.integers(1, max(2, len(data) // 4)))
        path.write_bytes(BLIND[kind](data, at, size, rng))

    return change


# -- mp4 -------------------------------------------------------------------------------------------------------

_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta"}


def boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[int, int, bytes]]:
    """Place, size and kind of all boxes, inner ones after their parents."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if size < 8 or at + size > end:
            return
        yield at, size, kind
        if kind in _PARENTS:
            yield from boxes(data, at + 8, at + size)
        at += size


def mp4(root: Path, rng: Rng) -> None:
    """A box whose size, name or numbers are wrong."""
    path = pick(rng, files_of(root, ".mp4"))
    assert isinstance(path, Path)
    data = bytearray(path.read_bytes())
    at, size, _ = pick(rng, list(boxes(bytes(data))))  # type: ignore[misc]
    how = int(rng.integers(5))
    if how == 0:
        wrong = [0, 1, 7, 9, size - 1, size + 4, 2**31, 2**32 - 1]
        data[at : at + 4] = struct.pack(">I", int(rng.choice(wrong)))
    elif how == 1:
        data[at + 4 : at + 8] = bytes(pick(rng, [b"free", b"moov", b"trak", b"\0\0\0\0", b"stbl", b"mdat"]))  # type: ignore[call-overload]
    elif how == 2 or size < 24:
        data[at + 8 : at + size] = bytes(size - 8)
    else:  # a 32-bit number of the box: counts, sizes, offsets, times, sides of pictures
        place = at + 8 + 4 * int(rng.integers((size - 8) // 4))
        value = int(rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x40004000, 65535, 3]))
        data[place : place + 4] = struct.pack(">I", value)
    path.write_bytes(data)


def other_video(root: Path, rng: Rng) -> None:
    """A whole video that is another one: longer, shorter, of another size, rate, codec or colour; or no video."""
    import av
    from lerobot_folders import picture, write_mp4

    path = pick(rng, files_of(root, ".mp4"))
    assert isinstance(path, Path)
    frames = [picture(9, i) for i in range(int(rng.choice([1, 3, 5, 40])))]
    how = int(rng.integers(6))
    if how == 0:
        write_mp4(path, frames, float(rng.choice([5, 20, 29.97])))
    elif how == 1:
        write_mp4(path, [np.ascontiguousarray(f[:32, :32]) for f in frames], 20)
    elif how == 2:
        write_mp4(path, frames, 20, codec="mpeg4")
    elif how == 3:
        path.write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{root.parent}/secret\n")
    elif how == 4:
        path.write_bytes(b"")
    else:
        with av.open(str(path), "w") as container:
            sound = container.add_stream("aac", 16000)
            beep = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            beep.sample_rate = 16000
            container.mux(sound.encode(beep))
            container.mux(sound.encode(None))


# -- zip -------------------------------------------------------------------------------------------------------


def zip_member(root: Path, rng: Rng) -> None:
    """A member too many, which must be refused: out of the folder, a link, twice, a bomb."""
    path = pick(rng, files_of(root, ".zip"))
    assert isinstance(path, Path)
    link = zipfile.ZipInfo("data/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        how = int(rng.integers(5))
        if how == 0:
            archive.writestr(str(pick(rng, ["../out", "/etc/out", "a/../../out", "C:/out", "a\\..\\out"])), SECRET)
        elif how == 1:
            archive.writestr(link, "../../secret")
        elif how == 2:
            archive.writestr(archive.infolist()[0].filename, SECRET)
        elif how == 3:
            archive.writestr("data/zeros", bytes(64 << 20))
        else:
            archive.writestr("/".join("d" * 60), SECRET)


# -- folders ---------------------------------------------------------------------------------------------------


def _two(root: Path, rng: Rng) -> tuple[Path, Path]:
    """Two files of one kind."""
    first = pick(rng, files_of(root))
    assert isinstance(first, Path)
    second = pick(rng, [p for p in files_of(root, first.suffix) if p != first])
    assert isinstance(second, Path)
    return first, second


def _swap(root: Path, rng: Rng) -> None:
    first, second = _two(root, rng)
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def _replace(root: Path, rng: Rng) -> None:
    first, second = _two(root, rng)
    shutil.copyfile(first, second)


def _remove(root: Path, rng: Rng) -> None:
    path = pick(rng, files_of(root) if root.is_dir() else [])
    assert isinstance(path, Path)
    path.unlink()


def _folder_for_file(root: Path, rng: Rng) -> None:
    _remove_into(root, rng, lambda path: path.mkdir())


def _pipe(root: Path, rng: Rng) -> None:
    _remove_into(root, rng, os.mkfifo)


def _remove_into(root: Path, rng: Rng, make: Callable[[Path], None]) -> None:
    path = pick(rng, files_of(root) if root.is_dir() else [])
    assert isinstance(path, Path)
    path.unlink()
    make(path)


def _odd_name(root: Path, rng: Rng) -> None:
    """A copy beside a file under a name that differs in case, is odd text, or is left by a program."""
    path = pick(rng, files_of(root) if root.is_dir() else [])
    assert isinstance(path, Path)
    names = [
        path.name.upper(),
        f"é{path.name}",
        f"._{path.name}",
        f"{path.name}~",
        f"\u202e{path.name}",
        f" {path.name}",
    ]
    shutil.copyfile(path, path.with_name(str(pick(rng, [n for n in names if n != path.name]))))


def link_out(root: Path, rng: Rng) -> None:
    """A file becomes a link to one outside, with the same content: it must not be followed."""
    path = pick(
        rng, [p for p in files_of(root) if p.suffix in (".parquet", ".mp4", ".hdf5", "")] if root.is_dir() else []
    )
    assert isinstance(path, Path)
    outside = root.parent / f"outside{path.suffix}"
    shutil.move(path, outside)
    path.symlink_to(outside)


def _link_circle(root: Path, rng: Rng) -> None:
    _remove_into(root, rng, lambda path: path.symlink_to(path.name))


FOLDER: dict[str, Change] = {
    "swap": _swap,
    "replace": _replace,
    "remove": _remove,
    "folder_for_file": _folder_for_file,
    "pipe": _pipe,
    "odd_name": _odd_name,
    "link_circle": _link_circle,
}
