"""A red and a blue cube and a green pad."""

from __future__ import annotations

import numpy as np

from dataengine.sim.furniture import Furniture
from dataengine.sim.kinds.base import Kind, start
from dataengine.sim.layout import Layout
from dataengine.sim.things import CUBE_HALF, Thing

# Centres of cubes and pad, (x, y) in [m], and how far apart they start.
AREA_LOW, AREA_HIGH = np.array([0.17, -0.13]), np.array([0.32, 0.13])
CUBE_TO_CUBE, CUBE_TO_PAD = 0.075, 0.085


def sample(seed: int) -> Layout:
    """The layout of a seed, by rejection: things stay apart so that each can be grasped."""
    rng = np.random.default_rng(seed)
    while True:
        places = rng.uniform(AREA_LOW, AREA_HIGH, (3, 2))
        pad, cubes = places[0], places[1:]
        gaps = np.linalg.norm(cubes[:, None] - cubes[None], axis=-1) + np.eye(2)
        if gaps.min() > CUBE_TO_CUBE and np.linalg.norm(cubes - pad, axis=-1).min() > CUBE_TO_PAD:
            break
    yaws = rng.uniform(-np.pi, np.pi, 3)
    things = zip(("red", "blue"), cubes, yaws[1:], strict=True)
    return Layout(
        things={name: np.array([*place, CUBE_HALF, yaw]) for name, place, yaw in things},
        furniture={"pad": np.array([*pad, yaws[0]])},
        tool=start(rng),
    )


CUBES = Kind(
    "cubes",
    things=(Thing("red", called="red"), Thing("blue", called="blue")),
    furniture=(Furniture("pad", "pad"),),
    sample=sample,
)
