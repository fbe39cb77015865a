"""A world that never runs ahead of the wall clock, whatever rate a loop has."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

EARLY = 0.25  # of a step: loops jitter, and one that is a little early shall not miss its turn
PATIENCE = 20  # actions in a row that came too early before it is said


class Pace:
    """Says when the next step of a world with `fps` steps a second is due. Times in [s]."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._next: float | None = None
        self._early = 0

    def due(self, now: float) -> bool:
        """Whether to step now. Steps keep to the grid of the first; after a pause the grid begins anew."""
        step = 1 / self.fps
        if self._next is not None and now < self._next - EARLY * step:
            self._early += 1
            if self._early == PATIENCE:
                log.warning(
                    "this world takes %g actions a second and is sent more; record at --dataset.fps=%g",
                    self.fps,
                    self.fps,
                )
            return False
        late = self._next is None or now > self._next + step
        self._next = (now if late or self._next is None else self._next) + step
        return True
