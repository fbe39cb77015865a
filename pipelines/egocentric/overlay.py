"""Hands drawn over the pictures they were found in, for a person to judge the tracking by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from dataengine import hands
from dataengine.episode import Clip, Episode, derived_id

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

COLOURS = {"left": (79, 209, 192), "right": (240, 166, 74)}
BONES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6), (6, 7), (7, 8), (5, 9), (9, 10), (10, 11), (11, 12), (9, 13),
    (13, 14), (14, 15), (15, 16), (13, 17), (0, 17), (17, 18), (18, 19), (19, 20),
)  # fmt: skip


@dataclass(frozen=True)
class Drawn(Clip):
    """The episode's first camera with its hands on it: the bones of each, thin where a gap was bridged, the three axes
    of its palm, and how far away the wrist is, ± one standard deviation. height: of the pictures [px], even."""

    episode: Episode
    height: int = 360  # type: ignore[assignment]
    kind: Literal["rgb", "depth"] = "rgb"

    @property
    def source(self) -> Clip:
        return next(iter(self.episode.clips.values()))

    @property
    def length(self) -> int:  # type: ignore[override]
        return self.source.length

    @property
    def width(self) -> int:  # type: ignore[override]
        return 2 * round(self.source.width * self.height / self.source.height / 2)

    @property
    def fps(self) -> float:  # type: ignore[override]
        return self.source.fps

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        from PIL import Image, ImageDraw

        scale = self.height / self.source.height
        for frame, picture in enumerate(self.source.frames(start, stop), start):
            image = Image.fromarray(picture).resize((self.width, self.height))
            draw = ImageDraw.Draw(image)
            for side in hands.SIDES:
                _hand(draw, self.episode, side, frame, scale)
            yield np.asarray(image)

    def slice(self, start: int, stop: int) -> Drawn:
        return replace(self, episode=self.episode.slice(start, stop))

    @property
    def fingerprint(self) -> str:
        return derived_id(self.episode.id, f"drawn:{self.height}")


def _hand(draw: ImageDraw, episode: Episode, side: str, frame: int, scale: float) -> None:
    there = episode.frames[hands.column(side, "tracked")][frame]
    if there == hands.ABSENT:
        return
    marks = (episode.frames[hands.column(side, "pixels")][frame] + 0.5) * scale
    wide = 3 if there == hands.SEEN else 1
    for one, two in BONES:
        draw.line([*marks[one], *marks[two]], fill=COLOURS[side], width=wide)
    for mark in marks:
        draw.ellipse([*(mark - wide), *(mark + wide)], fill=COLOURS[side])
    wrist = episode.frames[hands.column(side, "wrist")][frame]
    sigma = episode.frames[hands.column(side, "sigma")][frame]
    if camera := episode.meta.extra.get("camera"):
        _axes(draw, wrist, scale, camera)
    said = f"{side} {1000 * np.linalg.norm(wrist[:3]):.0f} ± {1000 * sigma[0]:.0f} mm"
    low = marks[marks[:, 1].argmax()]
    wide, high = draw.im.size  # where it would leave the picture it is moved back in
    place = min(float(low[0]), wide - draw.textlength(said) - 4), min(float(low[1]) + 6, high - 16)
    draw.text(place, said, fill=COLOURS[side], stroke_width=2, stroke_fill=(0, 0, 0))


def _axes(draw: ImageDraw, wrist: np.ndarray, scale: float, camera: dict) -> None:
    from scipy.spatial.transform import Rotation

    ends = wrist[:3] + 0.05 * np.concatenate([np.zeros((1, 3)), Rotation.from_quat(wrist[3:]).as_matrix().T])
    if (ends[:, 2] < 0.02).any():
        return
    seen = ends[:, :2] / ends[:, 2:] * (camera["fx"], camera["fy"]) + (camera["cx"] + 0.5, camera["cy"] + 0.5)
    for end, colour in zip(seen[1:], ((235, 70, 70), (70, 200, 90), (80, 120, 255)), strict=True):
        draw.line([*(seen[0] * scale), *(end * scale)], fill=colour, width=3)
