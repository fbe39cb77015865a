"""Zip archives: none leaves its folder, none unpacks without end."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from conftest import shared_data
from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import (
    check_zip,
)


def zip_with(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], compress: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_honest_zip(tmp_path: Path) -> None:
    check_zip(zip_with(tmp_path / "x.zip", ("data/0.0", os.urandom(5000)), ("data/.zarray", b"{}")))
    check_zip(shared_data("umi_zarr") / "dataset.zarr.zip")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\x", "C:/x", "a/" * 40 + "x"])
def test_zip_slip(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeSource, match="member"):
        check_zip(zip_with(tmp_path / "x.zip", (name, b"")))


def test_zip_link(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UnsafeSource, match="'link'"):
        check_zip(zip_with(tmp_path / "x.zip", (link, b"/etc/passwd")))


def test_zip_bombs(tmp_path: Path) -> None:
    with pytest.raises(UnsafeSource, match="'zeros'"):
        check_zip(zip_with(tmp_path / "x.zip", ("zeros", bytes(32 << 20))))
    path = zip_with(tmp_path / "y.zip", ("a", os.urandom(4000)))
    with pytest.raises(UnsafeSource, match="declares"):
        check_zip(path, max_bytes=1000)
    with pytest.raises(UnsafeSource, match="members"):
        check_zip(path, max_members=0)
    with pytest.raises(UnsafeSource, match="twice"), pytest.warns(UserWarning):
        check_zip(zip_with(tmp_path / "z.zip", ("a", b""), ("a", b"")))


def test_zip_overlap(tmp_path: Path) -> None:
    """A thousand directory entries that all point to the same stored bytes (Fifield's bomb)."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a", os.urandom(100_000))
        archive.filelist += [_again(archive.filelist[0], f"b{n}") for n in range(1000)]
        archive._didModify = True
    (tmp_path / "x.zip").write_bytes(data.getvalue())
    with pytest.raises(UnsafeSource, match="overlap"):
        check_zip(tmp_path / "x.zip", max_ratio=1e9)


def _again(member: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    other = zipfile.ZipInfo(name)
    for field in ("header_offset", "compress_size", "file_size", "CRC", "compress_type"):
        setattr(other, field, getattr(member, field))
    return other


def test_zip_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(SourceError):
        check_zip(tmp_path / "x.zip")
    with pytest.raises(SourceError):
        check_zip(tmp_path / "none.zip")
