"""Where everything stands when an attempt begins, and how places are drawn so that things stay apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Layout:
    """Things are `(x, y, z, yaw)` [m, m, m, rad], furniture is `(x, y, yaw)`, the tool is `(x, y, z, yaw)`.

    slides: how far a drawer is out, 0 to 1.
    """

    things: Mapping[str, np.ndarray]
    furniture: Mapping[str, np.ndarray]
    tool: np.ndarray
    slides: Mapping[str, float] = field(default_factory=dict)


def scatter(
    rng: np.random.Generator,
    count: int,
    low: Sequence[float],
    high: Sequence[float],
    gap: float,
    keep_off: Sequence[tuple[float, float, float]] = (),
) -> np.ndarray:
    """`(count, 2)` places [m] in a rectangle, further than `gap` from each other, by rejection.

    keep_off: circles `(x, y, radius)` that stay free.
    """
    while True:
        places = rng.uniform(low, high, (count, 2))
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(count)
        free = all(np.linalg.norm(places - (x, y), axis=-1).min() > radius for x, y, radius in keep_off)
        if free and apart.min() > gap:
            return places
