"""A cabinet at the side whose drawer stands half open, a red cube and a yellow cylinder."""

from __future__ import annotations

import numpy as np

from dataengine.sim.furniture import Furniture
from dataengine.sim.kinds.base import Kind, start
from dataengine.sim.layout import Layout, scatter
from dataengine.sim.things import Thing

THINGS = (Thing("red", "cube"), Thing("yellow", "cylinder"))


def sample(seed: int) -> Layout:
    """The cabinet left or right of the arm, opening towards the middle; things on the other side."""
    rng = np.random.default_rng([seed, 11])
    side = rng.choice([-1, 1])  # left is +1
    cabinet = np.array([rng.uniform(0.22, 0.27), side * rng.uniform(0.195, 0.21), -side * np.pi / 2])
    cabinet[2] += rng.uniform(-0.08, 0.08)
    places = scatter(rng, len(THINGS), (0.17, -0.14), (0.32, -0.035), 0.07) * [1, side]
    yaws = rng.uniform(-np.pi, np.pi, len(THINGS))
    slide = float(rng.uniform(0.35, 0.5))
    return Layout(
        things={t.name: np.array([*p, t.half, yaw]) for t, p, yaw in zip(THINGS, places, yaws, strict=True)},
        furniture={"drawer": cabinet},
        tool=start(rng),
        slides={"drawer": slide},
    )


DRAWER = Kind("drawer", things=THINGS, furniture=(Furniture("drawer", "drawer"),), sample=sample, view=46)
