"""Rotations as extrinsic x-y-z angles (roll, pitch, yaw): turn about the fixed x axis first, then y, then z."""

from __future__ import annotations

import numpy as np


def matrix(angles: np.ndarray) -> np.ndarray:
    """Rotation matrices `(..., 3, 3)` of angles `(..., 3)` [rad]: Rz(yaw) Ry(pitch) Rx(roll)."""
    sine, cosine = np.sin(angles), np.cos(angles)
    sr, sp, sy = sine[..., 0], sine[..., 1], sine[..., 2]
    cr, cp, cy = cosine[..., 0], cosine[..., 1], cosine[..., 2]
    m = np.empty((*sine.shape, 3))
    m[..., 0, 0], m[..., 0, 1], m[..., 0, 2] = cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr
    m[..., 1, 0], m[..., 1, 1], m[..., 1, 2] = sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr
    m[..., 2, 0], m[..., 2, 1], m[..., 2, 2] = -sp, cp * sr, cp * cr
    return m


def angles(matrices: np.ndarray) -> np.ndarray:
    """Roll and yaw in (-pi, pi] and pitch in [-pi/2, pi/2], `(..., 3)`, of rotation matrices `(..., 3, 3)`.

    Where pitch is a right angle only roll minus (or plus) yaw is determined; the figures are then one of many.
    """
    m = np.asarray(matrices, np.float64)
    roll = np.arctan2(m[..., 2, 1], m[..., 2, 2])
    pitch = np.arctan2(-m[..., 2, 0], np.hypot(m[..., 2, 1], m[..., 2, 2]))
    return np.stack([roll, pitch, np.arctan2(m[..., 1, 0], m[..., 0, 0])], -1)


def quaternion(yaw: float) -> list[float]:
    """A turn about z as quaternion w, x, y, z."""
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]
