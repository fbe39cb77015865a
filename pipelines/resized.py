"""Pictures at another size, made when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import av
import numpy as np

from dataengine.episode import Clip, derived_id


@dataclass(frozen=True)
class Resized(Clip):
    """A colour clip by area averaging; where the sides have another ratio, pictures are stretched."""

    source: Clip
    height: int  # type: ignore[assignment]
    width: int  # type: ignore[assignment]
    kind: Literal["rgb", "depth"] = "rgb"

    @property
    def length(self) -> int:  # type: ignore[override]
        return self.source.length

    @property
    def fps(self) -> float:  # type: ignore[override]
        return self.source.fps

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for picture in self.source.frames(start, stop):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            yield frame.reformat(width=self.width, height=self.height, interpolation="AREA").to_ndarray()

    def slice(self, start: int, stop: int) -> Resized:
        return replace(self, source=self.source.slice(start, stop))

    @property
    def fingerprint(self) -> str:
        return derived_id(self.source.fingerprint, f"resized:{self.height}x{self.width}")
