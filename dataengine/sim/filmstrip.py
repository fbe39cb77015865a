"""Attempts as strips of pictures: a row each, time from left to right, one camera above the other."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from dataengine.errors import ConfigError

_CAPTION, _MARGIN = 16, 2  # [pixels]
_INK = {True: (24, 128, 56), False: (190, 30, 30)}


@dataclass(frozen=True)
class Film:
    """Pictures of one attempt. frames: `(K, H, W, 3)` uint8, evenly spread in time, the last one the last."""

    caption: str
    success: bool
    frames: np.ndarray


def spread(length: int, shown: int) -> np.ndarray:
    """Up to `shown` frame numbers, evenly spread over `length` frames, first and last among them."""
    return np.unique(np.linspace(0, length - 1, min(shown, length)).round().astype(int))


def filmstrip(films: Sequence[Film]) -> bytes:
    """All films below each other as a PNG. Raises `ConfigError` where there is nothing to show."""
    if not films:
        raise ConfigError("a filmstrip needs at least one film")
    rows = [_row(film) for film in films]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), (255, 255, 255))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()


def _row(film: Film) -> Image.Image:
    count, height, width, _ = film.frames.shape
    row = Image.new("RGB", (count * (width + _MARGIN), height + _CAPTION + 2 * _MARGIN), (255, 255, 255))
    ImageDraw.Draw(row).text((2, 2), film.caption, fill=_INK[film.success])
    for place, frame in enumerate(film.frames):
        row.paste(Image.fromarray(frame), (place * (width + _MARGIN), _CAPTION))
    return row
