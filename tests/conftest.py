"""Where tests find other people's files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if sys.platform.startswith("linux"):
    os.environ.setdefault("MUJOCO_GL", "egl")  # a test may import mujoco before the engine says it

DATA = Path(os.environ.get("DATAENGINE_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def shared_data(name: str) -> Path:
    """A file or folder of the real data sets, or a skip that says what is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"needs the real files {name!r} (set DATAENGINE_TEST_DATA to their folder)")
    return path
