"""Pictures at another size, made when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import av
import numpy as np

from dataengine.episode import Clip, ClipOf, derived_id


@dataclass(frozen=True)
class Resized(ClipOf):
    """A colour clip by area averaging; where the sides have another ratio, pictures are stretched. size: height and
    width [px]."""

    source: Clip
    size: tuple[int, int]

    @property
    def height(self) -> int:  # type: ignore[override]
        return self.size[0]

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.size[1]

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for picture in self.source.frames(start, stop):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            yield frame.reformat(width=self.width, height=self.height, interpolation="AREA").to_ndarray()

    def slice(self, start: int, stop: int) -> Resized:
        return replace(self, source=self.source.slice(start, stop))

    @property
    def fingerprint(self) -> str:
        return derived_id(self.source.fingerprint, f"resized:{self.height}x{self.width}")
