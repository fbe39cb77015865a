"""Points of a still world and the cameras that saw them, put right together (bundle adjustment, Triggs et al. 2000).

Of `V` views and `N` points: turns `(V, 3, 3)` and places `(V, 3)` of the cameras in the world, axes as columns; points
`(N, 3)`; rays `(V, N, 2)`, x/z and y/z, NaN where a view does not show a point.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

STEPS, ENOUGH = 15, 1e-3
ROBUST = 1.0  # times the noise: from there on a ray counts less (Huber 1964)


class Bundle(NamedTuple):
    """What fits together; `off` `(V, N)` is how far each ray is from its point, as a ray."""

    turns: np.ndarray
    places: np.ndarray
    points: np.ndarray
    off: np.ndarray


def nearest(rays: np.ndarray, turns: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the rays to each point pass nearest, and the widest angle [rad] between the first of them and another.

    With `P = 1 - d dᵀ` for a ray of direction `d` from `c`, the point has `(Σ P) x = Σ P c`.
    """
    ways = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], 2) @ turns.transpose(0, 2, 1)
    ways /= np.linalg.norm(ways, axis=2, keepdims=True)
    seen = np.isfinite(ways[..., 0])
    ways = np.nan_to_num(ways)
    across = seen[..., None, None] * (np.eye(3) - ways[..., :, None] * ways[..., None, :])
    normal = across.sum(0) + 1e-9 * np.eye(3)
    points = np.linalg.solve(normal, np.einsum("vnij,vj->ni", across, places)[..., None])[..., 0]
    first = ways[seen.argmax(0), np.arange(len(points))]
    angle = np.arctan2(np.linalg.norm(np.cross(ways, first), axis=2), (ways * first).sum(2))
    return points, np.where(seen, angle, 0).max(0)


def adjust(
    rays: np.ndarray, turns: np.ndarray, places: np.ndarray, points: np.ndarray, noise: float, fixed: int = 1
) -> Bundle:
    """Levenberg-Marquardt over all but the first `fixed` views; their scale stays that of the start."""
    out, to = turns.transpose(0, 2, 1), -np.einsum("vji,vj->vi", turns, places)
    damping, cost = 1e-3, _cost(_errors(rays, out, to, points), noise)
    for _ in range(STEPS):
        moved, points_moved = _step(rays, out, to, points, noise, damping, fixed)
        new_out = Rotation.from_rotvec(moved[:, :3]).as_matrix() @ out
        new_to, new_points = to + moved[:, 3:], points + points_moved
        new = _cost(_errors(rays, new_out, new_to, new_points), noise)
        if new < cost:
            done = cost - new < ENOUGH * cost
            out, to, points, cost, damping = new_out, new_to, new_points, new, damping / 5
            if done:
                break
        else:
            damping *= 10
            if damping > 1e4:
                break
    turns, places = out.transpose(0, 2, 1), -np.einsum("vji,vj->vi", out, to)
    return Bundle(turns, places, points, off_by(rays, turns, places, points))


def off_by(rays: np.ndarray, turns: np.ndarray, places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`(V, N)` how far each ray is from its point, as a ray; 10 and more where the point is behind the camera."""
    out = turns.transpose(0, 2, 1)
    return np.linalg.norm(_errors(rays, out, -np.einsum("vij,vj->vi", out, places), points), axis=2)


def resect(
    points: np.ndarray, rays: np.ndarray, turn: np.ndarray, place: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Turn and place of a camera that sees known points `(N, 3)` in rays `(N, 2)`, from where it was about, and how far
    off each ray is `(N,)` (OpenCV's RANSAC over it); None where nothing agrees."""
    by, to = cv2.Rodrigues(turn.T)[0], -(turn.T @ place)[:, None]
    good, by, to, mine = cv2.solvePnPRansac(
        points, rays, np.eye(3), None, by, to, True, 60, noise, flags=cv2.SOLVEPNP_ITERATIVE
    )
    if not good or mine is None or len(mine) < 6:
        return None
    by, to = cv2.solvePnPRefineLM(points[mine.ravel()], rays[mine.ravel()], np.eye(3), None, by, to)
    out = cv2.Rodrigues(by)[0]
    turn, place = out.T, -(out.T @ to)[:, 0]
    return turn, place, off_by(rays[None], turn[None], place[None], points)[0]


def _errors(rays: np.ndarray, out: np.ndarray, to: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`(V, N, 2)`; what is behind a camera is far off."""
    seen = points @ out.transpose(0, 2, 1) + to[:, None]
    off = seen[..., :2] / np.where(np.abs(seen[..., 2:]) < 1e-6, 1e-6, seen[..., 2:]) - rays
    return np.where((seen[..., 2:] > 1e-6) | np.isnan(rays), off, 10.0)


def _cost(errors: np.ndarray, noise: float) -> float:
    off = np.linalg.norm(errors, axis=2) / noise
    return float(np.nansum(np.where(off < ROBUST, off**2 / 2, ROBUST * (off - ROBUST / 2))))


def _step(
    rays: np.ndarray,
    out: np.ndarray,
    to: np.ndarray,
    points: np.ndarray,
    noise: float,
    damping: float,
    fixed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """`(V, 6)` small turn in the camera's frame and shift, `(N, 3)` of the points: the points are eliminated first."""
    views, count = rays.shape[:2]
    errors = _errors(rays, out, to, points)
    off = np.linalg.norm(errors, axis=2) / noise
    weight = np.nan_to_num(np.minimum(1.0, ROBUST / np.maximum(off, 1e-9))) / noise**2
    errors = np.nan_to_num(errors)
    about = points @ out.transpose(0, 2, 1)
    x, y, z = np.moveaxis(about + to[:, None], 2, 0)
    z = np.where(np.abs(z) < 1e-6, 1e-6, z)
    placed = np.zeros((views, count, 2, 3))
    placed[..., 0, 0] = placed[..., 1, 1] = 1 / z
    placed[..., 0, 2], placed[..., 1, 2] = -x / z**2, -y / z**2
    u, v, w = np.moveaxis(about, 2, 0)
    nil = np.zeros_like(u)
    cross = np.stack([nil, w, -v, -w, nil, u, v, -u, nil], -1).reshape(views, count, 3, 3)
    by_pose = np.concatenate([placed @ cross, placed], 3)
    by_point = placed @ out[:, None]
    free = views - fixed
    by_pose = by_pose[fixed:]
    mixed = np.einsum("vnci,vn,vncj->vnij", by_pose, weight[fixed:], by_point[fixed:])
    poses = np.einsum("vnci,vn,vncj->vij", by_pose, weight[fixed:], by_pose)
    pull = np.einsum("vnci,vn,vnc->vi", by_pose, weight[fixed:], errors[fixed:])
    own = np.einsum("vnci,vn,vncj->nij", by_point, weight, by_point)
    own += damping * own * np.eye(3) + 1e-9 * np.eye(3)
    own_pull = np.einsum("vnci,vn,vnc->ni", by_point, weight, errors)
    inverse = np.linalg.inv(own)
    through = mixed @ inverse
    reduced = -np.einsum("vnik,wnjk->viwj", through, mixed, optimize=True)
    reduced[np.arange(free), :, np.arange(free)] += poses * (1 + damping * np.eye(6))
    reduced = reduced.reshape(6 * free, 6 * free) + 1e-9 * np.eye(6 * free)
    moved = -np.linalg.solve(reduced, (pull - np.einsum("vnik,nk->vi", through, own_pull)).ravel()).reshape(free, 6)
    points_moved = -np.einsum("nij,nj->ni", inverse, own_pull + np.einsum("vnik,vi->nk", mixed, moved))
    return np.concatenate([np.zeros((fixed, 6)), moved]), points_moved
