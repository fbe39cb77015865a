"""Every hole others had is tried here: each must be refused by name, and honest files must pass."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import shared_data
from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import (
    check_allocation,
    check_zip,
    load_npz,
    open_hdf5,
    read_json,
    read_jsonl,
    read_yaml,
    reject_objects,
    run_guarded,
    safe_join,
    safe_name,
    sha256_file,
    tree_sha256,
)

# names and paths


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


# text


def test_json_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1,\n "b": }')
    with pytest.raises(SourceError, match="line 2, column 7"):
        read_json(path)
    lines = tmp_path / "x.jsonl"
    lines.write_text('{"a": 1}\n\n{"a": NaN}\n')
    with pytest.raises(SourceError, match="line 3"):
        read_jsonl(lines)
    assert np.isnan(read_jsonl(lines, allow_nan=True)[1]["a"])


@pytest.mark.parametrize("text", ["NaN", "[1e999]", "[Infinity]", "[" * 100_000, "1" * 5000, "", "\x00"])
def test_json_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(SourceError):
        read_json(path)


def test_text_is_bounded_and_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b'"' + b"a" * 2000 + b'"')
    assert len(read_json(path)) == 2000
    for read in (read_json, read_yaml, read_jsonl):
        with pytest.raises(UnsafeSource, match="larger"):
            read(path, limit=1000)
    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(SourceError, match="line 2"):
        read_yaml(path)
    with pytest.raises(SourceError):
        read_yaml(tmp_path)


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(r'{"a\uD800": ["b\udc00c", "\ud83d\ude00", {"d": 1}]}')
    found = read_json(path)
    assert found == {"a\ufffd": ["b\ufffdc", "\U0001f600", {"d": 1}]}
    json.dumps(found, ensure_ascii=False).encode()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(SourceError, match="pipe"):
        read_json(tmp_path / "x.json")


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("base: &b {x: 1}\nmore: {<<: *b, y: [1, 2.5, yes]}\n")
    assert read_yaml(path) == {"base": {"x": 1}, "more": {"x": 1, "y": [1, 2.5, True]}}
    path.write_text("")
    assert read_yaml(path) is None


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [id]",
        "a: &x [*x]",
        "a: 1\na: 2",
        "a: [1, 2",
        "[" * 20_000,
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{c}: &{c} [{','.join('*' + p for _ in range(9))}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
        ),
    ],
    ids=["object", "cycle", "twice", "torn", "deep", "laughs"],
)
def test_yaml_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    started = time.monotonic()
    with pytest.raises(SourceError):
        read_yaml(path)
    assert time.monotonic() - started < 5


# arrays


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", a=np.arange(3))
    np.savez(tmp_path / "bad.npz", a=np.array([{}], object))
    assert load_npz(tmp_path / "good.npz")["a"].tolist() == [0, 1, 2]
    with pytest.raises(UnsafeSource, match="pickled"):
        load_npz(tmp_path / "bad.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-40])
    with pytest.raises(SourceError):
        load_npz(tmp_path / "torn.npz")
    with pytest.raises(UnsafeSource):
        reject_objects("x", "a", np.dtype(object))
    with pytest.raises(UnsafeSource):
        check_allocation("x", "a", 1 << 60)


# zip


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


# HDF5


def refuses(path: Path, what: str, kind: type[SourceError] = UnsafeSource) -> None:
    with pytest.raises(kind, match=what), open_hdf5(path):
        pass


def test_honest_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        group = file.create_group("data/demo_0")
        for filters in ({}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf"}, {"fletcher32": True}):
            group.create_dataset(f"d{len(group)}", data=np.arange(3000).reshape(30, 100), chunks=(1, 100), **filters)
        group["zeros"] = np.zeros(10)
        group.create_dataset(
            "images", data=np.zeros((300, 256, 256, 3), np.uint8), compression="gzip", compression_opts=9
        )
        group["text"] = "hello"
        file["again"] = group
        group["up"] = file["data"]
        file["soft"] = h5py.SoftLink("/data/demo_0/d0")
    with open_hdf5(path) as file:
        assert file["soft"][3, 4] == 304
    with open_hdf5(path) as file, pytest.raises(ZeroDivisionError):
        1 / 0  # noqa: B018
    with open_hdf5(path) as file, pytest.raises(KeyError):
        {}["x"]


@pytest.mark.parametrize(
    "name", ["demo.hdf5", "low_dim.hdf5", "image.hdf5", "image_depth_n1.hdf5", "demo_robosuite.hdf5"]
)
def test_real_hdf5(name: str) -> None:
    with open_hdf5(shared_data("robomimic_hdf5") / name) as file:
        assert len(file["data"])


def test_hdf5_external_link(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.hdf5", "w") as file:
        file["x"] = 1
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_group("a")["link"] = h5py.ExternalLink("secret.hdf5", "/x")
    refuses(tmp_path / "x.hdf5", "'/a/link'")
    with h5py.File(tmp_path / "y.hdf5", "w") as file:
        file["first"] = h5py.SoftLink("/second")
        file["second"] = h5py.ExternalLink("secret.hdf5", "/")
        file["third"] = h5py.SoftLink("/second/x")
    refuses(tmp_path / "y.hdf5", "another file")


def test_hdf5_external_storage(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"password")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("stolen", (8,), "u1", external=[(str(tmp_path / "secret"), 0, 8)])
    refuses(tmp_path / "x.hdf5", "'/stolen'")


def test_hdf5_virtual(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        layout = h5py.VirtualLayout((4,), "u1")
        layout[:] = h5py.VirtualSource("secret.hdf5", "x", (4,))
        file.create_virtual_dataset("ghost", layout)
    refuses(tmp_path / "x.hdf5", "'/ghost' is virtual")


@pytest.mark.parametrize(("name", "target"), [("soft", "/nowhere"), ("soft", "../x"), ("soft", "/soft")])
def test_hdf5_soft_links_to_nowhere(tmp_path: Path, name: str, target: str) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file[name] = h5py.SoftLink(target)
    refuses(tmp_path / "x.hdf5", "'/soft'")


def test_hdf5_filter_plugin(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((10,))
        plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((10,)), plan)
    refuses(tmp_path / "x.hdf5", "filter plugin 32015")


def test_hdf5_bombs(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("actions", (1_000_000, 1_000_000), "f8", chunks=(1, 1000))
    assert (tmp_path / "x.hdf5").stat().st_size < 4000
    refuses(tmp_path / "x.hdf5", "'/actions' declares 8,000,000,000,000")
    with h5py.File(tmp_path / "y.hdf5", "w") as file:
        file.create_dataset("late", (1 << 34,), "u1")
    refuses(tmp_path / "y.hdf5", "'/late'")
    with h5py.File(tmp_path / "z.hdf5", "w") as file:
        chunk = (1, 1 << 30)
        data = file.create_dataset("chunk", chunk, "u1", chunks=chunk, compression="gzip")
        data.id.write_direct_chunk((0, 0), zlib.compress(bytes(1000)))
    refuses(tmp_path / "z.hdf5", "'/chunk' has chunks")


def test_hdf5_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    path.write_text("not HDF5")
    refuses(path, "HDF5", SourceError)
    refuses(tmp_path / "none.hdf5", "HDF5", SourceError)
    refuses(tmp_path, "HDF5", SourceError)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.random.default_rng(0).random(1000), chunks=(1000,), compression="gzip")
        place = file["x"].id.get_chunk_info(0).byte_offset
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refuses(path, "HDF5", SourceError)
    path.write_bytes(whole[: place + 50] + b"\0" * 50 + whole[place + 100 :])
    with pytest.raises(SourceError, match="damaged"), open_hdf5(path) as file:
        file["x"][:]


def test_hdf5_is_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataengine.guard import hdf5

    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    walks: list[object] = []
    walk = hdf5._walk
    monkeypatch.setattr(hdf5, "_walk", lambda *a: (walks.append(a), walk(*a)))
    for _ in range(3):
        with open_hdf5(path):
            pass
    assert len(walks) == 1
    with h5py.File(path, "a") as file:
        file["link"] = h5py.ExternalLink("other.hdf5", "/")
    refuses(path, "another file")


# the guarded process


def test_guarded_gives_results_and_our_errors() -> None:
    assert run_guarded(divmod, 7, 2) == (3, 1)
    with pytest.raises(UnsafeSource, match="leaves"):
        run_guarded(safe_join, "/tmp", "../x")
    with pytest.raises(SourceError, match="ZeroDivisionError"):
        run_guarded(divmod, 1, 0)


def test_guarded_survives_everything() -> None:
    for function, args, reason in [
        (os.abort, (), "stopped"),
        (os.kill, (0, 11), "SIGSEGV"),
        (os._exit, (3,), "exit code 3"),
        (time.sleep, (30,), "more than 0.5 s"),
        (bytearray, (1 << 33,), "needs more than 100 MiB"),
        (np.zeros, (1 << 33, "u1"), "needs more than 100 MiB"),
        (open, (os.devnull,), "cannot be sent"),
    ]:
        started = time.monotonic()
        with pytest.raises(SourceError, match=reason):
            run_guarded(function, *args, seconds=0.5, memory=100 << 20)
        assert time.monotonic() - started < 20
        assert run_guarded(abs, -1) == 1


def test_guarded_reuses_its_process() -> None:
    first = run_guarded(os.getpid)
    assert first != os.getpid()
    assert run_guarded(os.getpid) == first


def test_guarded_from_a_script_without_main(tmp_path: Path) -> None:
    """multiprocessing would run such a script twice; and the process ends with the script."""
    script = tmp_path / "script.py"
    script.write_text("import os\nfrom dataengine.guard import run_guarded\nprint(run_guarded(os.getpid))\n")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_json_round_trip(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("\ufeff" + json.dumps({"a": [1, 2.5, None]}))
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, None]}
