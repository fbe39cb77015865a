"""An orange cup with a handle and four yellow beads in it, and a blue bowl beside it."""

from __future__ import annotations

import numpy as np

from dataengine.sim.furniture import Furniture
from dataengine.sim.kinds.base import Kind, start
from dataengine.sim.layout import Layout
from dataengine.sim.things import BEAD_RADIUS, CUP_HALF, Thing

CUP = Thing("orange", "cup")
BEADS = tuple(Thing("yellow", "bead", f"bead{k}") for k in range(4))


def sample(seed: int) -> Layout:
    """The cup's handle points at the arm; the bowl stands left or right of the cup."""
    rng = np.random.default_rng([seed, 12])
    side = rng.choice([-1, 1])
    cup = np.array([rng.uniform(0.24, 0.29), -side * rng.uniform(0.045, 0.075), CUP_HALF, rng.uniform(-0.35, 0.35)])
    bowl = np.array([rng.uniform(0.24, 0.29), side * rng.uniform(0.045, 0.075), 0.0])
    turn = rng.uniform(-np.pi, np.pi) + np.arange(4) * np.pi / 2
    around = 0.010 * np.stack([np.cos(turn), np.sin(turn)], -1)
    height = 0.004 + BEAD_RADIUS
    beads = {b.name: np.array([*(cup[:2] + a), height, 0.0]) for b, a in zip(BEADS, around, strict=True)}
    return Layout(things={CUP.name: cup, **beads}, furniture={"bowl": bowl}, tool=start(rng))


CUPS = Kind("cups", things=(CUP, *BEADS), furniture=(Furniture("bowl", "bowl", "blue"),), sample=sample)
