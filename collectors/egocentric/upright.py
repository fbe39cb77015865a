"""How a video's pictures are to be turned and mirrored before they are shown: what its header's matrix means."""

from __future__ import annotations

from typing import Any

import numpy as np

from dataengine.errors import VideoError
from dataengine.video import VideoClip

# a, b, c, d of the matrix (ISO/IEC 14496-12, 8.3.2), x' = a x + c y and y' = b x + d y with y down: quarters against
# the clock, and whether left and right are exchanged before.
_WAYS = {
    (1, 0, 0, 1): (0, False),
    (0, -1, 1, 0): (1, False),
    (-1, 0, 0, -1): (2, False),
    (0, 1, -1, 0): (3, False),
    (-1, 0, 0, 1): (0, True),
    (0, 1, 1, 0): (1, True),
    (1, 0, 0, -1): (2, True),
    (0, -1, -1, 0): (3, True),
}


def turns_of(clip: VideoClip) -> tuple[int, bool]:
    """Quarters against the clock, and whether the picture is mirrored before that, as players show it.

    Raises `VideoError` for a matrix that tilts or stretches.
    """
    said: Any = next(clip.pictures(0, 1)).side_data.get("DISPLAYMATRIX")
    if said is None:
        return 0, False
    matrix = np.frombuffer(memoryview(said), np.int32, 9).reshape(3, 3)[:2, :2].astype(np.float64)
    matrix /= max(float(np.abs(matrix).max()), 1.0)
    way = tuple(int(number) for number in matrix.round().ravel())
    if way not in _WAYS or not np.allclose(matrix, matrix.round(), atol=1e-3):
        raise VideoError(clip.path, "its header tilts or stretches the picture", hint="export it upright")
    return _WAYS[way]
