"""HDF5 from strangers: nothing outside the file, nothing that is not there, and honest files pass."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from conftest import shared_data
from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import (
    open_hdf5,
)


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
