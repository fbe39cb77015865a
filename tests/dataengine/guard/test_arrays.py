"""Arrays from strangers: no objects, no memory without end."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from dataengine.errors import SourceError, UnsafeSource
from dataengine.guard import (
    check_allocation,
    load_npz,
    reject_objects,
)


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


def test_a_header_that_is_no_python_is_damage(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), \x1b'x".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(24))
    with pytest.raises(SourceError, match="not a readable npz file"):
        load_npz(tmp_path / "odd.npz")
