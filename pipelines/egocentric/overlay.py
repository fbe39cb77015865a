"""Hands drawn over the pictures they were found in, for a person to judge the tracking by; and clips side by side."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from dataengine import hands
from dataengine.episode import Clip, ClipOf, Episode, derived_id
from dataengine.errors import EpisodeError
from dataengine.lens import Lens
from pipelines.egocentric.lens import lens_of

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

ADDED = "observation.images.robot_overlay"  # pictures that the stage `robot_overlay` adds
COLOURS = {"left": (79, 209, 192), "right": (240, 166, 74)}
BONES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6), (6, 7), (7, 8), (5, 9), (9, 10), (10, 11), (11, 12), (9, 13),
    (13, 14), (14, 15), (15, 16), (13, 17), (0, 17), (17, 18), (18, 19), (19, 20),
)  # fmt: skip


class OverVideo(ClipOf):
    """The episode's first camera with something on it, at a height [px] of its own."""

    episode: Episode

    @property
    def source(self) -> Clip:  # type: ignore[override]
        return filmed(self.episode)

    @property
    def width(self) -> int:  # type: ignore[override]
        return 2 * round(self.source.width * self.height / self.source.height / 2)

    def slice(self, start: int, stop: int) -> Self:
        return replace(self, episode=self.episode.slice(start, stop))  # type: ignore[type-var]


@dataclass(frozen=True)
class Drawn(OverVideo):
    """The episode's first camera with its hands on it: the bones of each, thin where a gap was bridged, the three axes
    of its palm, and how far away the wrist is, ± one standard deviation. height: of the pictures [px], even."""

    episode: Episode
    height: int = 360  # type: ignore[assignment]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        from PIL import Image, ImageDraw

        scale = self.height / self.source.height
        lens = lens_of(self.episode, self.width, self.height)
        for frame, picture in enumerate(self.source.frames(start, stop), start):
            image = Image.fromarray(picture).resize((self.width, self.height))
            draw = ImageDraw.Draw(image)
            for side in hands.SIDES:
                _hand(draw, self.episode, side, frame, scale, lens)
            yield np.asarray(image)

    @property
    def fingerprint(self) -> str:
        return derived_id(self.episode.id, f"drawn:{self.height}")


@dataclass(frozen=True)
class Beside(Clip):
    """Clips of one length and height, from left to right."""

    clips: tuple[Clip, ...]
    kind: Literal["rgb", "depth"] = "rgb"

    @property
    def length(self) -> int:  # type: ignore[override]
        return self.clips[0].length

    @property
    def height(self) -> int:  # type: ignore[override]
        return self.clips[0].height

    @property
    def width(self) -> int:  # type: ignore[override]
        return sum(clip.width for clip in self.clips)

    @property
    def fps(self) -> float:  # type: ignore[override]
        return self.clips[0].fps

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for pictures in zip(*(clip.frames(start, stop) for clip in self.clips), strict=True):
            yield np.concatenate(pictures, 1)

    def slice(self, start: int, stop: int) -> Beside:
        return Beside(tuple(clip.slice(start, stop) for clip in self.clips))

    @property
    def fingerprint(self) -> str:
        return derived_id("beside", " ".join(clip.fingerprint for clip in self.clips))


def strip(pictures: Sequence[np.ndarray]) -> bytes:
    """Pictures `(H, W, 3)` uint8 of one height side by side, as JPEG: a page holds hundreds of them."""
    from PIL import Image

    between = np.full((len(pictures[0]), 4, 3), 255, np.uint8)
    laid = [part for picture in pictures for part in (between, picture)][1:]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(laid, 1)).save(file, "JPEG", quality=85)
    return file.getvalue()


def filmed(episode: Episode) -> Clip:
    """The episode's first camera that was not drawn here. Raises `EpisodeError` where it has none."""
    for key, clip in episode.clips.items():
        if key != ADDED and clip.kind == "rgb":
            return clip
    raise EpisodeError(episode.id, "has no pictures to draw on")


def _hand(draw: ImageDraw, episode: Episode, side: str, frame: int, scale: float, lens: Lens | None) -> None:
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
    if lens is not None:
        _axes(draw, wrist, lens)
    said = f"{side} {1000 * np.linalg.norm(wrist[:3]):.0f} ± {1000 * sigma[0]:.0f} mm"
    low = marks[marks[:, 1].argmax()]
    wide, high = draw.im.size  # where it would leave the picture it is moved back in
    place = min(float(low[0]), wide - draw.textlength(said) - 4), min(float(low[1]) + 6, high - 16)
    draw.text(place, said, fill=COLOURS[side], stroke_width=2, stroke_fill=(0, 0, 0))


def _axes(draw: ImageDraw, wrist: np.ndarray, lens: Lens) -> None:
    from scipy.spatial.transform import Rotation

    ends = wrist[:3] + 0.05 * np.concatenate([np.zeros((1, 3)), Rotation.from_quat(wrist[3:]).as_matrix().T])
    if (ends[:, 2] < 0.02).any():
        return
    seen = lens.project(ends) + 0.5
    for end, colour in zip(seen[1:], ((235, 70, 70), (70, 200, 90), (80, 120, 255)), strict=True):
        draw.line([*seen[0], *end], fill=colour, width=3)
