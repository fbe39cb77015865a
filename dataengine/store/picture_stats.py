"""Statistics of what cameras show, taken while it is encoded, or from a sample of what is copied."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataengine.episode import Feature
from dataengine.store.schema import is_depth
from dataengine.store.stats import Sketch
from dataengine.video import VideoClip
from dataengine.video.reader import borrowed

# Pictures larger than this are looked at on a coarser grid, as LeRobot does (`auto_downsample_height_width`).
PICTURE_SIDE = 320
SAMPLE = 12


class PictureStats:
    """Statistics of one camera, fed frame by frame while its video is written."""

    def __init__(self, feature: Feature) -> None:
        self.depth = is_depth(feature)
        self.scale = 1000.0 if feature.info.get("depth_unit") == "mm" else 1.0
        height, width, channels = feature.shape
        self.stride = -(-max(height, width) // PICTURE_SIDE)
        self.histogram = np.zeros((channels, 256), np.int64)
        self.frames = 0
        self._depth = Sketch(False, np.zeros(1))
        self._count = _counter()

    def update(self, frame: np.ndarray) -> None:
        """One `(H, W, 3)` uint8 picture, or `(H, W, 1)` float32 metres."""
        if self.depth:
            seen = frame[:: self.stride, :: self.stride]
            self._depth.add(seen.reshape(-1, 1) * self.scale, 1)
        else:
            across = frame.shape[1] // self.stride
            rows = np.ascontiguousarray(frame[:: self.stride, : across * self.stride])
            cells = rows.reshape(len(rows), across, -1)  # columns in between look like more channels
            for channel, counts in enumerate(self.histogram):
                counts += self._count(cells, channel)
        self.frames += 1

    def sketch(self) -> Sketch:
        if self.depth:
            return self._depth
        sketch = Sketch(True, np.zeros(len(self.histogram)))
        if self.frames:
            sketch.add_histogram(self.histogram, self.frames)
        return sketch


def _counter() -> Callable[[np.ndarray, int], np.ndarray]:
    """Counts the grey levels of a channel of `(H, W, C)` uint8; with OpenCV, where it is, in a quarter of the time."""
    try:
        from cv2 import calcHist
    except ImportError:
        return lambda cells, channel: np.bincount(cells[..., channel].ravel(), minlength=256)
    return lambda cells, channel: calcHist([cells], [channel], None, [256], [0, 256])[:, 0].astype(np.int64)


def sample_clip(clip: VideoClip, feature: Feature) -> Sketch:
    """Statistics of at most `SAMPLE` spread keyframes of a file that is copied and not decoded otherwise.

    The sketch's `frames`, LeRobot's count, says how many they were.
    """
    stats = PictureStats(feature)
    wanted = np.linspace(0, clip.length - 1, min(SAMPLE, clip.length)).round().astype(int)
    with borrowed(clip.path) as reader:
        keys = reader.index.keys - clip.start
    for frame in np.unique([keys[max(np.searchsorted(keys, w, "right") - 1, 0)] for w in wanted]) if len(keys) else [0]:
        stats.update(clip.frame(int(min(max(frame, 0), clip.length - 1))))
    return stats.sketch()
