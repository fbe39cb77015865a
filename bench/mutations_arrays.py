"""Damage to HDF5 and zarr that is still HDF5 and zarr: links, filters, shapes, kinds of numbers, chunks, attributes."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bench.mutations_bytes import BLIND, SECRET, Change, NotHere, Rng, files_of, pick
from bench.mutations_tables import DEEP, json_key, json_text, json_value, values

Hdf5 = Callable[[h5py.File, str, Rng], None]


def _put(file: h5py.File, name: str, data: Any, **more: Any) -> None:
    attributes = dict(file[name].attrs)
    del file[name]
    file.create_dataset(name, data=data, **more).attrs.update(attributes)


def _kind(file: h5py.File, name: str, rng: Rng) -> None:
    """The same shape as another kind of value."""
    old = file[name][()]
    kinds: list[Any] = [
        "f2", "f8", ">f4", "i8", "u1", "?", "c8", "S3", h5py.string_dtype(), h5py.ref_dtype, [("a", "f4"), ("b", "i2")],
        h5py.enum_dtype({"A": 0, "B": 1}, "i"), h5py.vlen_dtype("u1"), "V5", "f4",
    ]  # fmt: skip
    kind = pick(rng, kinds)
    del file[name]
    try:
        file[name] = old.astype(kind)
    except (TypeError, ValueError):
        file.create_dataset(name, old.shape, dtype=kind)


def _shape(file: h5py.File, name: str, rng: Rng) -> None:
    old = file[name][()]
    shapes = [
        old[:-1], old[:0], old[None], old[..., None], old.T, np.concatenate([old, old[-1:]]), old.reshape(-1),
        old[0], old[:, :0] if old.ndim > 1 else old[:0], old.reshape(old.shape[0], -1), h5py.Empty("f4"),
    ]  # fmt: skip
    _put(file, name, pick(rng, shapes))


def _numbers(file: h5py.File, name: str, rng: Rng) -> None:
    if file[name].dtype.kind != "f" or not file[name].size:
        raise NotHere
    values = file[name][()]
    values.flat[int(rng.integers(values.size))] = float(rng.choice([np.nan, np.inf, 1e30, -1e300]))
    file[name][...] = values


def _attribute(file: h5py.File, name: str, rng: Rng) -> None:
    """An attribute that exists holds something else, or goes."""
    holders: list[Any] = []
    file.visititems(lambda _, item: holders.append(item) if len(item.attrs) else None)
    holders += [file] if len(file.attrs) else []
    holder: Any = pick(rng, holders)
    key: Any = pick(rng, list(holder.attrs))
    odd = [
        np.arange(3), h5py.Empty("f4"), "{" * DEEP, "[1, 2]", '{"a": NaN}', b"\xff\xfe", -1, 2**62, np.nan, True,
        np.array(["a", "b"], dtype="S1"), "null", '{"env_kwargs": 3, "env_name": [1]}', "\0", '{"a":' * DEEP,
        "x" * 60_000,
        '{"env_name": {"a": 1}, "env_kwargs": {"robots": 7, "control_freq": "fast"}, "language_instruction": {"a": 1}}',
        '{"env_kwargs": {"control_freq": -5}}', '{"env_kwargs": {"control_freq": 1e400}}', file[name].ref,
        '{"env_kwargs": {"controller_configs": [[1]], "robots": {"a": 1}}, "env_name": "\\ud800"}',
    ]  # fmt: skip
    del holder.attrs[key]
    if rng.random() < 0.9:
        try:
            holder.attrs[key] = pick(rng, odd)
        except (OSError, RuntimeError):
            raise NotHere from None


def _name(file: h5py.File, name: str, rng: Rng) -> None:
    odd = [
        "é",
        "\u202e",
        " ",
        "a[0:2]",
        "x" * 300,
        "..",
        "demo_x",
        "CON",
        name.rsplit("/", 1)[-1].upper(),
        "a\\b",
        "%s",
    ]
    new = str(pick(rng, odd))
    parent = file[name].parent
    if rng.random() < 0.3 and parent.name != "/":
        parent, name = parent.parent, parent.name
    if new not in parent:
        parent.move(file[name].name, new)


def _filter(file: h5py.File, name: str, rng: Rng) -> None:
    """A filter that only a plugin could undo, in the way of reading."""
    old = file[name][()]
    if not old.ndim:
        raise NotHere
    del file[name]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk(tuple(max(1, n) for n in old.shape))
    plan.set_filter(int(rng.choice([32001, 32015, 307, 60000])), h5py.h5z.FLAG_OPTIONAL, (1, 2))
    kind, space = h5py.h5t.py_create(old.dtype, logical=True), h5py.h5s.create_simple(old.shape)
    h5py.h5d.create(file.id, name.encode(), kind, space, plan, lcpl=_parents())


def _parents() -> Any:
    plan = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    plan.set_create_intermediate_group(True)
    return plan


def _declared(file: h5py.File, name: str, rng: Rng) -> None:
    """Terabytes in a kilobyte."""
    shape, kind = file[name].shape, file[name].dtype
    del file[name]
    size = int(rng.choice([10**9, 10**12]))
    file.create_dataset(name, (size, *shape[1:]), kind, chunks=(1, *shape[1:]), fillvalue=0)


def _external(file: h5py.File, name: str, rng: Rng) -> None:
    shape, kind = file[name].shape, file[name].dtype
    secret = Path(file.filename).parent / "secret"
    secret.write_text(SECRET * 1000)
    del file[name]
    how = int(rng.integers(3))
    if how == 0:
        file.create_dataset(name, shape, kind, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    elif how == 1:
        file[name] = h5py.ExternalLink("other.hdf5", "/x")
    else:
        layout = h5py.VirtualLayout(shape, kind)
        layout[...] = h5py.VirtualSource("other.hdf5", "x", shape)
        file.create_virtual_dataset(name, layout)


def _soft(file: h5py.File, name: str, rng: Rng) -> None:
    del file[name]
    file[name] = h5py.SoftLink(str(pick(rng, ["/nowhere", f"/{name}", "../../x", "/", "."])))


def _tree(file: h5py.File, name: str, rng: Rng) -> None:
    """Groups in each other, a group in the place of values, values in the place of a group, a second way to a group."""
    how = int(rng.integers(5))
    if how == 0:
        group = file[name].parent
        for _ in range(400):
            group = group.create_group("g")
    elif how == 1:
        del file[name]
        file.create_group(name)
    elif how == 2:
        parent = file[name].parent.name
        if parent == "/":
            raise NotHere
        del file[parent]
        file[parent] = 3.0
    elif how == 3:
        file[name].parent["again"] = file["/"]
    else:
        file[f"{file[name].parent.name}/named"] = np.dtype("f4")


def _remove(file: h5py.File, name: str, rng: Rng) -> None:
    del file[name]


def hdf5(change: Hdf5) -> Change:
    def apply(root: Path, rng: Rng) -> None:
        path = pick(rng, files_of(root, ".hdf5"))
        assert isinstance(path, Path)
        with h5py.File(path, "r+") as file:
            found: list[str] = []
            file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
            change(file, str(pick(rng, found)), rng)

    return apply


HDF5: dict[str, Change] = {
    f"hdf5_{change.__name__.strip('_')}": hdf5(change)
    for change in (_kind, _shape, _numbers, _attribute, _name, _tree, _remove, _soft)
}
HOSTILE_HDF5: dict[str, Change] = {
    f"hdf5_{change.__name__.strip('_')}": hdf5(change) for change in (_filter, _declared, _external)
}

# -- zarr ------------------------------------------------------------------------------------------------------

_META = (".zarray", "zarr.json")


def _chunk(root: Path, rng: Rng) -> None:
    """A chunk that is gone, another one's, or damaged."""
    path = pick(rng, [p for p in files_of(root) if not p.name.startswith(".z") and p.name != "zarr.json"])
    assert isinstance(path, Path)
    how = int(rng.integers(4))
    if how == 0:
        path.unlink()
    elif how == 1:
        shutil.copyfile(str(pick(rng, [p for p in path.parent.iterdir() if p.is_file() and p != path])), path)
    elif how == 2:
        path.write_bytes(path.read_bytes() * 3)
    else:
        data, kind = bytearray(path.read_bytes()), str(pick(rng, list(BLIND)))
        path.write_bytes(BLIND[kind](data, int(rng.integers(len(data))), 4, rng))


def _ends(root: Path, rng: Rng) -> None:
    """Ends of episodes that fall, are too far, below zero, no whole numbers, or of no episodes."""
    import zarr

    path = root / "meta" / "episode_ends"
    version = 3 if (path / "zarr.json").exists() else 2
    odd = [[11, 5], [5, 12], [-5, 11], [5, 5, 11], [0], [], [2**62], [4], [[5, 11]]]
    kind = str(pick(rng, ["i8", "u8", "f8", "i2", "?"]))
    shutil.rmtree(path)
    ends = np.array(pick(rng, odd), dtype=object).astype(kind) if kind != "i2" else np.array([5, 11], "i2")
    zarr.create_array(str(path), data=ends, zarr_format=version)


def _field(root: Path, rng: Rng) -> None:
    """One field of an array's metadata, changed to what zarr would take for something."""
    path = pick(rng, files_of(root, *_META))
    assert isinstance(path, Path)
    content = json.loads(path.read_text())
    key: Any = pick(rng, list(content))
    odd = [
        [1, 1], [10**12, 3], [0], "|O", "<U7", "<M8[ns]", "F", "/", [{"id": "delta", "dtype": "<f4"}], "float16", -1,
        {"id": "zlib", "level": 1}, [{"name": "gzip", "configuration": {"level": 1}}], [["a", "<f4"]], "NaN",
        "complex64",
    ]  # fmt: skip
    content[key] = pick(rng, odd) if rng.random() < 0.7 else values(rng)
    path.write_text(json.dumps(content))


def codec_out(root: Path, rng: Rng) -> None:
    """A codec that makes objects, or that nobody knows."""
    path = pick(rng, files_of(root, *_META))
    assert isinstance(path, Path)
    content = json.loads(path.read_text())
    if "shape" not in content:
        raise NotHere
    name = str(pick(rng, ["pickle", "json2", "msgpack2", "vlen-utf8", "os.system", "pyflate"]))
    if "codecs" in content:
        content["codecs"] = [{"name": f"numcodecs.{name}", "configuration": {"id": name}}]
    else:
        content["compressor" if rng.random() < 0.5 else "filters"] = (
            {"id": name} if rng.random() < 0.5 else [{"id": name}]
        )
    path.write_text(json.dumps(content))


def zarr_change(change: Change) -> Change:
    """A change of a folder, made inside a zip where the source is one."""

    def apply(root: Path, rng: Rng) -> None:
        if root.is_dir():
            change(root, rng)
            return
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "z"
            with zipfile.ZipFile(root) as archive:
                archive.extractall(folder)
            change(folder, rng)
            with zipfile.ZipFile(root, "w") as archive:
                for path in files_of(folder):
                    archive.write(path, path.relative_to(folder).as_posix())

    return apply


ZARR: dict[str, Change] = {
    f"zarr_{name}": zarr_change(change)
    for name, change in {
        "chunk": _chunk, "ends": _ends, "field": _field, "value": json_value, "key": json_key, "text": json_text,
    }.items()
}  # fmt: skip
