"""Hands made of anatomy, and what a tracker would say of them."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from dataengine import hands

FOCAL = 900.0  # [pixels]


def person(seed: int, *, right: bool = True) -> np.ndarray:
    """`(21, 3)` of somebody's hand, fingers a little bent [m]: palm and bones differ from the average by 5 %."""
    rng = np.random.default_rng(seed)
    hand = np.zeros((21, 3))
    palm = hands.RIGHT_PALM + rng.normal(0, 0.003, (6, 3))
    hand[list(hands.PALM)] = palm * (hands.SIZE / np.linalg.norm(palm[3] - palm[0]))
    away = {1: np.array([0.8, 0.55, 0.25])}
    for parent, child, length in hands.PHALANGES:
        along = away.get(parent, np.array([0.1, 0.95, 0.2])) + rng.normal(0, 0.05, 3)
        away[child] = along * [1.0, 0.9, 1.0] + [0.0, 0.0, 0.25]
        hand[child] = hand[parent] + length * along / np.linalg.norm(along)
    return hand if right else hand * [-1.0, 1.0, 1.0]


def seen(hand: np.ndarray, count: int = 60, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Points, rays and what a tracker says of them: `noise` pixels off, its hand 20 % too narrow and 15 % too small.

    The palm looks at the camera, tilted by up to a radian.
    """
    rng = np.random.default_rng(seed)
    facing = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
    turn = (Rotation.from_rotvec(rng.uniform(-0.6, 0.6, (count, 3))) * facing).as_matrix()
    about = hand @ turn.transpose(0, 2, 1)
    points = about + np.stack([*rng.uniform(-0.15, 0.15, (2, count)), rng.uniform(0.35, 0.9, count)], 1)[:, None]
    rays = points[..., :2] / points[..., 2:] + rng.normal(0, noise / FOCAL, (count, 21, 2))
    world = (hand * [0.8, 1.0, 1.0] * 0.85) @ turn.transpose(0, 2, 1)
    return points, rays, world - world.mean(1, keepdims=True)
