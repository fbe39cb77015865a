"""Two red and two blue things of four shapes, and a red and a blue bin."""

from __future__ import annotations

import numpy as np

from dataengine.sim.furniture import Furniture
from dataengine.sim.kinds.base import Kind, start
from dataengine.sim.layout import Layout, scatter
from dataengine.sim.things import Thing

THINGS = (Thing("red", "cube"), Thing("red", "ball"), Thing("blue", "cylinder"), Thing("blue", "prism"))
AREA_LOW, AREA_HIGH, GAP = (0.15, -0.14), (0.245, 0.14), 0.068  # [m]


def sample(seed: int) -> Layout:
    """Things in front of the arm, the bins behind them, red left or right."""
    rng = np.random.default_rng([seed, 10])
    places = scatter(rng, len(THINGS), AREA_LOW, AREA_HIGH, GAP)
    yaws = rng.uniform(-np.pi, np.pi, len(THINGS))
    side = rng.choice([-1, 1])
    shift = rng.uniform([-0.01, -0.012], [0.012, 0.012], (2, 2))
    turns = rng.uniform(-0.15, 0.15, 2)
    return Layout(
        things={t.name: np.array([*p, t.half, yaw]) for t, p, yaw in zip(THINGS, places, yaws, strict=True)},
        furniture={
            "red_bin": np.array([0.36 + shift[0, 0], side * 0.07 + shift[0, 1], turns[0]]),
            "blue_bin": np.array([0.36 + shift[1, 0], -side * 0.07 + shift[1, 1], turns[1]]),
        },
        tool=start(rng),
    )


BINS = Kind(
    "bins",
    things=THINGS,
    furniture=(Furniture("red_bin", "bin", "red"), Furniture("blue_bin", "bin", "blue")),
    sample=sample,
    view=39,
)
