"""Arrays from strangers: no objects, no memory without end."""

from __future__ import annotations

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
