"""Rotation conventions and the way from each to each, vectorised over frames.

All go over rotation matrices `(T, 3, 3)` that act on column vectors, except between the two quaternion orders,
where only the order changes. Angles in rad.
"""

from __future__ import annotations

import numpy as np

from dataengine.errors import ConfigError

# Values per rotation and their names.
CONVENTIONS: dict[str, tuple[str, ...]] = {
    "quaternion_xyzw": ("qx", "qy", "qz", "qw"),
    "quaternion_wxyz": ("qw", "qx", "qy", "qz"),
    "axis_angle": ("rx", "ry", "rz"),
    "euler_xyz": ("roll", "pitch", "yaw"),  # extrinsic x, then y, then z: R = Rz(yaw) Ry(pitch) Rx(roll)
    "rotation_6d": ("r11", "r12", "r13", "r21", "r22", "r23"),  # the first two rows of the matrix
    "matrix": tuple(f"r{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3)),
}


def convert(values: np.ndarray, source: str, target: str) -> np.ndarray:
    """`(T, n)` float rotations in another convention, `(T, m)` float64.

    Quaternions made here begin with w >= 0 and go on without a jump (a quaternion and its negative are the same
    rotation). Raises `ConfigError` when a value is no rotation (zero quaternion, parallel 6-D rows).
    """
    values = np.asarray(values, np.float64)
    if source == target:
        return values
    if {source, target} == {"quaternion_xyzw", "quaternion_wxyz"}:
        return values[:, [3, 0, 1, 2]] if source == "quaternion_xyzw" else values[:, [1, 2, 3, 0]]
    return _from_matrix(_to_matrix(values, source), target)


def _to_matrix(v: np.ndarray, convention: str) -> np.ndarray:
    if convention == "matrix":
        return v.reshape(-1, 3, 3)
    if convention == "rotation_6d":  # Gram-Schmidt, Zhou et al. 2019 (arXiv 1812.07035), equation 11
        a = _unit(v[:, :3], convention)
        b = _unit(v[:, 3:] - (a * v[:, 3:]).sum(1, keepdims=True) * a, convention)
        return np.stack([a, b, np.cross(a, b)], axis=1)
    if convention == "euler_xyz":
        return _axis(v[:, 2], 2) @ _axis(v[:, 1], 1) @ _axis(v[:, 0], 0)
    if convention == "axis_angle":  # Rodrigues
        angle = np.linalg.norm(v, axis=1)[:, None, None]
        k = _skew(v)
        return np.eye(3) + np.sinc(angle / np.pi) * k + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (k @ k)
    x, y, z, w = _unit(v if convention == "quaternion_xyzw" else v[:, [1, 2, 3, 0]], convention).T
    k = _skew(np.stack([x, y, z], axis=1))
    return np.eye(3) + 2 * w[:, None, None] * k + 2 * (k @ k)


def _from_matrix(m: np.ndarray, convention: str) -> np.ndarray:
    if convention == "matrix":
        return m.reshape(-1, 9)
    if convention == "rotation_6d":
        return m[:, :2].reshape(-1, 6)
    if convention == "euler_xyz":
        pitch = np.arcsin(np.clip(-m[:, 2, 0], -1, 1))
        return np.stack([np.arctan2(m[:, 2, 1], m[:, 2, 2]), pitch, np.arctan2(m[:, 1, 0], m[:, 0, 0])], axis=1)
    q = _quaternion(m)
    if convention == "axis_angle":
        q = np.where(q[:, 3:] < 0, -q, q)
        sine = np.linalg.norm(q[:, :3], axis=1, keepdims=True)
        return q[:, :3] * np.where(sine < 1e-12, 2.0, 2 * np.arctan2(sine, q[:, 3:]) / np.maximum(sine, 1e-300))
    return q if convention == "quaternion_xyzw" else q[:, [3, 0, 1, 2]]


def _quaternion(m: np.ndarray) -> np.ndarray:
    """`(T, 4)` xyzw from matrices: of the four candidates each frame takes the best conditioned (Shepperd 1978)."""
    t = np.trace(m, axis1=1, axis2=2)
    d = np.diagonal(m, axis1=1, axis2=2)
    best = np.argmax(np.concatenate([d, t[:, None]], axis=1), axis=1)
    s, a = m + m.transpose(0, 2, 1), m - m.transpose(0, 2, 1)
    w = np.stack([a[:, 2, 1], a[:, 0, 2], a[:, 1, 0]], axis=1)
    rows = np.empty((len(m), 4, 4))
    for i in range(3):
        rows[:, i, :3] = s[:, i]
        rows[:, i, i] = 1 + 2 * d[:, i] - t
        rows[:, i, 3] = w[:, i]
    rows[:, 3, :3], rows[:, 3, 3] = w, 1 + t
    q = _unit(rows[np.arange(len(m)), best], "matrix")
    q = np.where(q[:, 3:] < 0, -q, q)
    turns = np.where((q[1:] * q[:-1]).sum(1) < 0, -1.0, 1.0)
    return q * np.concatenate([[1.0], np.cumprod(turns)])[:, None]


def _unit(v: np.ndarray, convention: str) -> np.ndarray:
    norm = np.linalg.norm(v, axis=1, keepdims=True)
    if (bad := norm[:, 0] < 1e-9).any():
        raise ConfigError(f"frame {int(np.argmax(bad))} is no rotation in the convention {convention!r}")
    return v / norm


def _skew(v: np.ndarray) -> np.ndarray:
    x, y, z = v.T
    o = np.zeros_like(x)
    return np.stack([o, -z, y, z, o, -x, -y, x, o], axis=1).reshape(-1, 3, 3)


def _axis(angle: np.ndarray, axis: int) -> np.ndarray:
    return _to_matrix(np.eye(3)[axis] * angle[:, None], "axis_angle")
