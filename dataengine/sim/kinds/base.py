"""What a kind of scene is: the things and furniture in it, and where they stand for a seed.

A layout depends on the seed and the kind alone, never on the task, so that every task of the kind is possible in every
scene of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dataengine.sim.furniture import Furniture
from dataengine.sim.layout import Layout
from dataengine.sim.things import Thing

HOME = np.array([0.21, 0.0, 0.15, 0.0])  # (x, y, z, yaw) where the tool starts, before its own variation


@dataclass(frozen=True)
class Kind:
    """sample: the layout of a seed. view: the front camera's field of view [degrees]."""

    name: str
    things: tuple[Thing, ...]
    furniture: tuple[Furniture, ...]
    sample: Callable[[int], Layout]
    view: float = 34

    @cached_property
    def thing(self) -> dict[str, Thing]:
        """Things by name."""
        return {thing.name: thing for thing in self.things}

    @cached_property
    def piece(self) -> dict[str, Furniture]:
        """Furniture by name."""
        return {piece.name: piece for piece in self.furniture}


def start(rng: np.random.Generator) -> np.ndarray:
    """Where the tool starts, `(x, y, z, yaw)`."""
    return HOME + rng.uniform(-1, 1, 4) * np.array([0.03, 0.05, 0.02, 0.15])
