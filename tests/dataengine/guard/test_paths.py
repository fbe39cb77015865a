"""Names, paths and hashes: nothing leaves its folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import (
    regular_files,
    safe_join,
    safe_name,
    sha256_file,
    tree_sha256,
)


@pytest.mark.parametrize("name", ["observation.images.top", "Pick up the bottle", "käse", "a" * 200])
def test_ordinary_names_pass(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../x", "a/b", "a\\b", "a\0b", "a\nb", "a\x85b", ".x", "a" * 201, "\ud800"]
)
def test_names_that_are_no_path_component(name: str) -> None:
    with pytest.raises(UnsafeSource):
        safe_name(name)


@given(st.text())
def test_a_name_that_passes_stays_one_component(name: str) -> None:
    try:
        safe_name(name)
    except UnsafeSource:
        return
    assert (Path("/base") / name).resolve().parent == Path("/base")


@pytest.mark.parametrize("relative", ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x", "a\0", "C:/x"])
def test_paths_that_leave(tmp_path: Path, relative: str) -> None:
    with pytest.raises(UnsafeSource):
        safe_join(tmp_path, relative)


def test_links_may_not_leave(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret").write_text("x")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "in").symlink_to(root / "file")
    (root / "loop").symlink_to(root / "loop")
    assert safe_join(root, "in") == root / "in"
    for name in ("out", "loop"):
        with pytest.raises(UnsafeSource):
            safe_join(root, name)


def test_hub_cache_links_stay_inside(tmp_path: Path) -> None:
    snapshot = tmp_path / "datasets--a--b" / "snapshots" / "0123"
    blobs = tmp_path / "datasets--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "abc").write_text("x")
    (snapshot / "info.json").symlink_to("../../blobs/abc")
    assert safe_join(snapshot, "info.json").read_text() == "x"
    (snapshot / "bad").symlink_to("../../../other")
    with pytest.raises(UnsafeSource):
        safe_join(snapshot, "bad")


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"2")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"1").hexdigest()
    before = tree_sha256(tmp_path)
    (tmp_path / "b" / "c").rename(tmp_path / "b" / "d")
    assert tree_sha256(tmp_path) != before
    assert tree_sha256(tmp_path, ["a"]) == tree_sha256(tmp_path, ["a", "*"]) != before
    with pytest.raises(SourceError):
        sha256_file(tmp_path / "none")


def test_files_of_a_folder_are_listed_and_nothing_else_is_waited_for(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a/x").write_text("x")
    (root / "y").symlink_to("a/x")
    (root / "gone").symlink_to("nowhere")
    assert sorted(name for name, _ in regular_files(root)) == ["a/x", "y"]
    (tmp_path / "secret").write_text("s")
    (root / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeSource, match="is a link that leaves 'root'"):
        list(regular_files(root))
    (root / "out").unlink()
    os.mkfifo(root / "a/pipe")
    with pytest.raises(SourceError, match="is no file but a pipe"):
        list(regular_files(root))
