"""A clip with its frames in another order: frozen, reversed, cut or blackened, without decoding it first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dataengine.episode import Clip


@dataclass(frozen=True)
class Rearranged(Clip):
    """A clip whose frames come in another order; -1 is a black picture."""

    base: Clip
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("height", "width", "fps", "kind"):
            object.__setattr__(self, name, getattr(self.base, name))
        object.__setattr__(self, "length", len(self.order))

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        wanted = self.order[start:stop]
        if list(wanted) == sorted(wanted) or -1 in wanted:
            yield from self._forward(wanted)
        else:
            held = list(self.base.frames())
            yield from (held[index] for index in wanted)

    def _forward(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        shown = [index for index in wanted if index >= 0]
        source = self.base.frames(shown[0], shown[-1] + 1) if shown else iter(())
        at, frame = (shown[0] - 1 if shown else 0), None
        channels = 3 if self.kind == "rgb" else 1
        black = np.zeros((self.height, self.width, channels), np.uint8 if self.kind == "rgb" else np.float32)
        for index in wanted:
            while index > at:
                frame, at = next(source), at + 1
            yield black if index < 0 or frame is None else frame

    def slice(self, start: int, stop: int) -> Rearranged:
        return Rearranged(self.base, self.order[start:stop])

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.base.fingerprint}{self.order}".encode()).hexdigest()


def held_order(frames: int, start: int, stop: int) -> tuple[int, ...]:
    """The order in which the picture before `start` stays until `stop`."""
    order = np.arange(frames)
    order[start:stop] = start - 1
    return tuple(order.tolist())
