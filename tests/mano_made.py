"""A hand model in MANO's format that is nobody's: a person's bones, random shapes, a handful of vertices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hands_made import person

# MANO's joints and fingertips by our number, written down by hand: wrist, index, middle, little, ring, thumb, tips.
FROM_OURS = (0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20)
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
TIP_JOINTS = (15, 3, 6, 12, 9)  # the last joint before each fingertip, from the thumb on
LARGE = 4294967295


def model(seed: int = 0, *, right: bool = True, blend: bool = True) -> dict[str, np.ndarray]:
    """One vertex on each joint, one on each fingertip. blend: fingertips hang on two joints and move with pose."""
    rng = np.random.default_rng(seed)
    vertices = person(seed, right=right)[list(FROM_OURS)] + [0.09, 0.0, 0.01]  # the wrist is not the origin
    weights = np.zeros((21, 16))
    weights[np.arange(16), np.arange(16)] = 1.0
    weights[np.arange(16, 21), TIP_JOINTS] = 1.0
    if blend:
        weights[np.arange(16, 21), TIP_JOINTS] = 0.75
        weights[np.arange(16, 21), np.array(PARENTS)[list(TIP_JOINTS)]] = 0.25
    shapes = rng.normal(0, 0.002, (21, 3, 10))
    return {
        "v_template": vertices,
        "shapedirs": shapes if right else shapes * np.array([-1.0, 1.0, 1.0])[:, None],
        "posedirs": rng.normal(0, 0.002 if blend else 0.0, (21, 3, 135)),
        "J_regressor": np.eye(16, 21),
        "weights": weights,
        "kintree_table": np.array([[LARGE if p < 0 else p for p in PARENTS], range(16)], np.uint32),
        "hands_mean": rng.normal(0, 0.1, 45),
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "tips": np.arange(16, 21),
    }


def write_model(path: Path, **change: np.ndarray | None) -> Path:
    given = {**model(right="LEFT" not in path.name), **change}
    np.savez(path, **{name: array for name, array in given.items() if array is not None})
    return path
