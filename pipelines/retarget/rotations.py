"""Rotations as columns write them: continuous over the frames of an episode, and close to one another in a row.

Matrices `(T, 3, 3)` act on column vectors; their columns are the moved body's axes. Angles in rad. Conventions:

quaternion_xyzw: `(T, 4)`. rotation_6d: `(T, 6)`, the first two rows of the matrix (Zhou et al. 2019, arXiv 1812.07035;
they take columns, this engine takes rows). euler: `(T, 3)`, roll, pitch, yaw, extrinsic x-y-z relative to a reference,
as the tabletop's arms write them, so that the usual attitude of a tool is far from where these angles degenerate.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

Convention = Literal["quaternion_xyzw", "euler", "rotation_6d"]

NAMES: dict[Convention, tuple[str, ...]] = {
    "quaternion_xyzw": ("qx", "qy", "qz", "qw"),
    "euler": ("roll", "pitch", "yaw"),
    "rotation_6d": ("r11", "r12", "r13", "r21", "r22", "r23"),
}


def encode(matrices: np.ndarray, convention: Convention, reference: np.ndarray | None = None) -> np.ndarray:
    """`(T, n)` float64 of matrices `(T, 3, 3)`, without leaps over the frames: quaternions begin with w >= 0 and keep
    their sign's side, angles go on beyond a half turn. reference: `(3, 3)`, what Euler angles are relative to."""
    if convention == "rotation_6d":
        return to_sixd(matrices)
    if convention == "quaternion_xyzw":
        quaternions = Rotation.from_matrix(matrices).as_quat(canonical=True)
        turned = np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0)
        return quaternions * np.concatenate([[1.0], np.cumprod(turned)])[:, None]
    relative = matrices if reference is None else matrices @ reference.T
    return np.unwrap(Rotation.from_matrix(relative).as_euler("xyz"), axis=0)


def decode(values: np.ndarray, convention: Convention, reference: np.ndarray | None = None) -> np.ndarray:
    """The inverse of `encode`: `(T, n)` → `(T, 3, 3)` float64."""
    if convention == "rotation_6d":
        return from_sixd(values)
    if convention == "quaternion_xyzw":
        return Rotation.from_quat(values).as_matrix()
    relative = Rotation.from_euler("xyz", values).as_matrix()
    return relative if reference is None else relative @ reference


def nearest(values: np.ndarray, to: np.ndarray, convention: Convention) -> np.ndarray:
    """The same rotations `(T, n)`, written as closely to `to` `(T, n)` as the convention allows."""
    if convention == "quaternion_xyzw":
        return np.where((values * to).sum(1, keepdims=True) < 0, -values, values)
    if convention == "euler":
        return values - 2 * np.pi * np.round((values - to) / (2 * np.pi))
    return values


def to_sixd(matrices: np.ndarray) -> np.ndarray:
    """`(..., 6)`: the first two rows of rotation matrices `(..., 3, 3)`."""
    return matrices[..., :2, :].reshape(*matrices.shape[:-2], 6)


def from_sixd(values: np.ndarray) -> np.ndarray:
    """Rotation matrices `(..., 3, 3)` of any six numbers `(..., 6)`, by Gram and Schmidt (Zhou et al. 2019, equation
    15). Raises `ValueError` where the two rows are parallel or zero."""
    first, second = np.asarray(values, np.float64)[..., :3], np.asarray(values, np.float64)[..., 3:]
    a = _unit(first)
    b = _unit(second - (a * second).sum(-1, keepdims=True) * a)
    return np.stack([a, b, np.cross(a, b)], -2)


def closest(matrices: np.ndarray) -> np.ndarray:
    """The rotations `(..., 3, 3)` nearest to any matrices `(..., 3, 3)`: Wahba's problem by singular values
    (Markley 1988, J. Astronaut. Sci. 36, equation 9). One of many where a matrix has no rank of two."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., :, 2] *= np.linalg.det(u @ vt)[..., None]
    return u @ vt


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if (norm < 1e-9).any():
        raise ValueError("six numbers whose halves are parallel or zero are no rotation")
    return vectors / norm
