"""Files of other people for the tests of this folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from video_foreign import Write, write_video


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(frames, encoder, …)`: see `write_video`."""
    return partial(write_video, tmp_path)
