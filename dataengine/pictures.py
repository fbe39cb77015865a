"""Pictures of episodes for cards, reports and filmstrips: a few frames side by side as a PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from dataengine.episode import Clip


def sample(clip: Clip, count: int = 6) -> list[np.ndarray]:
    """`count` frames from first to last, evenly spaced, each decoded once: `(H, W, 3)` uint8, depth as grey."""
    wanted = np.unique(np.linspace(0, clip.length - 1, min(count, clip.length)).astype(int))
    if clip.length <= 4 * count:
        found = {i: frame for i, frame in enumerate(clip.frames()) if i in set(wanted.tolist())}
    else:
        found = {int(i): clip.frame(int(i)) for i in wanted}
    return [_colour(found[int(i)]) for i in wanted]


def filmstrip(frames: Sequence[np.ndarray], height: int = 120) -> bytes:
    """Frames side by side, each scaled to `height`, as PNG bytes."""
    from PIL import Image

    tiles = [Image.fromarray(f).resize((max(1, round(f.shape[1] * height / f.shape[0])), height)) for f in frames]
    strip = Image.new("RGB", (sum(t.width for t in tiles) + 4 * (len(tiles) - 1), height), "white")
    x = 0
    for tile in tiles:
        strip.paste(tile, (x, 0))
        x += tile.width + 4
    buffer = io.BytesIO()
    strip.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _colour(frame: np.ndarray) -> np.ndarray:
    """Depth in metres becomes grey, near bright, over its own range."""
    if frame.shape[2] == 3:
        return np.ascontiguousarray(frame)
    low, high = float(np.min(frame)), float(np.max(frame))
    grey = 255 * (1 - (frame - low) / max(high - low, 1e-6))
    return np.repeat(grey.astype(np.uint8), 3, axis=2)
