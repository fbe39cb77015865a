"""Pictures as a source stores them, made into what an episode promises, one frame at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from converters.mapping import CameraRule
from dataengine.episode import Clip, ClipOf
from dataengine.errors import SourceError

# Grey levels that resampling may leave beyond black and white; more is another range than the mapping says.
_OVERSHOOT = 64
_TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "vertical": lambda a: a[::-1],
    "horizontal": lambda a: a[:, ::-1],
    "rot90": lambda a: np.rot90(a, -1),
    "rot180": lambda a: a[::-1, ::-1],
    "rot270": np.rot90,
}


class RawClip(Clip):
    """A clip that gives pictures as they lie in the source: any number type, grey, planar or with alpha.

    Always seen through a `MappedClip`; only a clip that keeps `Clip`'s promise by itself may be handed on as it is.
    """


def blocks(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Rows `start` to `stop` in pieces that end at multiples of `step`, as chunks of a file do."""
    while start < stop:
        until = min(stop, (start // step + 1) * step)
        yield start, until
        start = until


@dataclass(frozen=True)
class MappedClip(ClipOf):
    """A clip seen through a camera's rule: upright, RGB uint8 or float32 metres, channels last.

    Colour pictures may be grey `(H, W)` or `(H, W, 1)` and may carry alpha, which is dropped.
    """

    source: Clip
    rule: CameraRule

    @property
    def height(self) -> int:  # type: ignore[override]
        return self.source.width if lies_across(self.rule) else self.source.height

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.source.height if lies_across(self.rule) else self.source.width

    @property
    def kind(self) -> Literal["rgb", "depth"]:  # type: ignore[override]
        return self.rule.kind

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        for frame in self.source.frames(start, stop):
            yield self._mapped(frame)

    def slice(self, start: int, stop: int) -> MappedClip:
        return replace(self, source=self.source.slice(start, stop))

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.source.fingerprint}\0{self.rule}".encode()).hexdigest()

    def _mapped(self, frame: np.ndarray) -> np.ndarray:
        rule = self.rule
        if rule.layout == "chw":
            frame = np.moveaxis(frame, 0, -1)
        if frame.ndim == 2:
            frame = frame[..., None]
        if rule.flip != "none":
            frame = _TURNS[rule.flip](frame)
        if rule.kind == "depth":
            if frame.shape[2] != 1:
                raise SourceError(rule.source, f"a depth picture has one channel, this one has {frame.shape[2]}")
            return np.ascontiguousarray(frame, np.float32) * np.float32(rule.scale)
        if frame.shape[2] == 1:
            frame = np.repeat(frame, 3, axis=2)
        frame = frame[..., 2::-1] if rule.colour == "bgr" else frame[..., :3]
        if frame.dtype != np.uint8 or rule.scale != 1.0:
            frame = np.rint(frame.astype(np.float32) * rule.scale)
            low, high = float(frame.min()), float(frame.max())
            if not (low >= -_OVERSHOOT and high <= 255 + _OVERSHOOT):
                reason = f"a picture has values from {low:g} to {high:g} with scale {rule.scale:g}; 0 to 255 are right"
                raise SourceError(rule.source, reason, hint="give the camera another `scale` in the mapping")
            frame = np.clip(frame, 0, 255)
        return np.ascontiguousarray(frame, np.uint8)


def lies_across(rule: CameraRule) -> bool:
    """Whether turning the picture upright makes its height its width."""
    return rule.flip in ("rot90", "rot270")


def mapped(clip: Clip, rule: CameraRule) -> Clip:
    """The clip as the rule wants it; the very same object where there is nothing to do, so it can be remuxed."""
    if rule.plain and not isinstance(clip, RawClip) and clip.kind == rule.kind:
        return clip
    return MappedClip(clip, rule)
