"""How a camera went from one picture to another: turned on the spot, or moved as well, and what of its surroundings is
known then. Rays: `(N, 2)`, x/z and y/z of the same points in both.

A small step beside far things and a small turn look alike, so a movement is believed only where a turn alone does not
explain the pictures.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import scipy.optimize
from scipy.spatial.transform import Rotation

TRIES = 200  # pairs of points that say a turn
FEWEST = 30  # points that can tell of a movement: five of few fit any
ENOUGH = 0.6  # of the points that must agree
ALL = 0.95  # so many that agree on a turn alone leave nothing to explain
UNLIKE = 0.9  # of those that agree on a movement: with more of them agreeing on a turn alone, it is one
PLANE = 0.9  # of them that agree on a plane: it may be one
PARALLAX = np.deg2rad(2.0)  # that a movement shows half of the points at least


class Step(NamedTuple):
    """What is `x` in the first camera's frame is `turn @ x + shift` in the second's. shift: zero, or of length one.
    agree: `(N,)`."""

    turn: np.ndarray
    shift: np.ndarray
    agree: np.ndarray


def steps_between(first: np.ndarray, second: np.ndarray, noise: float) -> list[Step]:
    """The least that explains both pictures: one turn alone, or movements, of which two pictures of a plane allow two;
    none where nothing explains most of it. noise: what a ray may be off."""
    turned = turned_between(first, second, noise)
    alone = turned.agree.mean() if turned is not None else 0.0
    moves = _moves_between(first, second, noise) if alone < ALL and len(first) >= FEWEST else []
    moves = [m for m in moves if m.agree.mean() >= max(ENOUGH, alone / UNLIKE)]
    moves = [m for m in moves if np.median(parallax(first, second, m)[m.agree]) > PARALLAX or alone < ENOUGH]
    return moves or ([turned] if turned is not None and alone >= ENOUGH else [])


def turned_between(first: np.ndarray, second: np.ndarray, noise: float) -> Step | None:
    """The turn alone that most points agree with (RANSAC over pairs, Fischler & Bolles 1981; Kabsch 1976)."""
    if len(first) < 2:
        return None
    a, b = unit(first), unit(second)
    pairs = np.random.default_rng(0).integers(0, len(a), (TRIES, 2))
    turns = _triads(b[pairs]) @ _triads(a[pairs]).transpose(0, 2, 1)
    off = np.linalg.norm(np.einsum("hij,nj->hni", turns, a) - b, axis=2)
    agree = off[np.argmax((off < noise).sum(1))] < noise
    turn = np.eye(3)
    for _ in range(3):
        if agree.sum() < 3:
            return None
        u, _, vt = np.linalg.svd(b[agree].T @ a[agree])
        turn = (u * [1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
        agree = np.linalg.norm(a @ turn.T - b, axis=1) < noise
    return Step(turn, np.zeros(3), agree)


def _moves_between(first: np.ndarray, second: np.ndarray, noise: float) -> list[Step]:
    """By the essential matrix (five points, Nistér 2004), and where a plane explains it all as well by its homography
    (Malis & Vargas 2007); both are OpenCV's."""
    essential, mask = cv2.findEssentialMat(first, second, np.eye(3), cv2.RANSAC, 0.99, noise, 200)
    if essential is None or essential.shape != (3, 3) or mask.sum() < 8:
        return []
    _, turn, shift, _ = cv2.recoverPose(essential, first, second, np.eye(3), mask=mask.copy())
    agree = mask.ravel() > 0
    starts = [(turn, shift)]
    plane, flat = cv2.findHomography(first, second, cv2.RANSAC, noise)
    if plane is not None and flat.sum() >= PLANE * agree.sum():
        _, turns, shifts, _ = cv2.decomposeHomographyMat(plane, np.eye(3))
        starts = list(zip(turns, shifts, strict=True))
    found: list[Step] = []
    for turn, shift in starts:
        if (size := np.linalg.norm(shift)) > 1e-9:
            step = _refined(first, second, turn, shift[:, 0] / size, agree, noise)
            if not any(_alike(step, other) for other in found):
                found.append(step)
    most = max((step.agree.sum() for step in found), default=0)
    return [step for step in found if step.agree.sum() >= UNLIKE * most and most >= 8]


def _alike(one: Step, other: Step) -> bool:
    return bool(np.linalg.norm(one.turn - other.turn) < 0.01 and one.shift @ other.shift > 0.99)


def _refined(
    first: np.ndarray, second: np.ndarray, turn: np.ndarray, way: np.ndarray, agree: np.ndarray, noise: float
) -> Step:
    """By all points that agree, and which those are then: before both cameras."""
    a, b = homogeneous(first), homogeneous(second)
    start = Rotation.from_matrix(turn)
    across = np.linalg.svd(way[None])[2][1:]  # a direction has two degrees of freedom

    def moved(by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        there = way + by[3:] @ across
        return (Rotation.from_rotvec(by[:3]) * start).as_matrix(), there / np.linalg.norm(there)

    def off(by: np.ndarray) -> np.ndarray:
        return _sampson(*moved(by), a[agree], b[agree]) / noise

    best = scipy.optimize.least_squares(off, np.zeros(5), loss="soft_l1", f_scale=0.5, max_nfev=30).x
    turn, shift = moved(best)
    points = triangulated(first, second, turn, shift)
    before = (points[:, 2] > 0) & ((points @ turn.T + shift)[:, 2] > 0)
    return Step(turn, shift, (np.abs(_sampson(turn, shift, a, b)) < noise) & before)


def _sampson(turn: np.ndarray, shift: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`(N,)` how far the points are from where both pictures allow them, to first order (Sampson 1982)."""
    x, y, z = shift
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ turn
    there, here = a @ essential.T, b @ essential
    slope = (there[:, :2] ** 2).sum(1) + (here[:, :2] ** 2).sum(1)
    return (b * there).sum(1) / np.sqrt(np.maximum(slope, 1e-18))


def triangulated(first: np.ndarray, second: np.ndarray, turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """`(N, 3)` in the first camera's frame, as far away as both rays say at once."""
    found = cv2.triangulatePoints(np.eye(3, 4), np.hstack([turn, shift[:, None]]), first.T, second.T)
    weight = np.where(np.abs(found[3]) < 1e-12, 1e-12, found[3])
    return (found[:3] / weight).T


def parallax(first: np.ndarray, second: np.ndarray, step: Step) -> np.ndarray:
    """`(N,)` [rad] between the rays to each point, the turn taken out."""
    a, b = unit(first) @ step.turn.T, unit(second)
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(1))


def _triads(pairs: np.ndarray) -> np.ndarray:
    """`(H, 3, 3)` axes along the first of two directions `(H, 2, 3)` and across both."""
    along = pairs[:, 0]
    across = np.cross(along, pairs[:, 1])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    return np.stack([along, across, np.cross(along, across)], 2)


def homogeneous(rays: np.ndarray) -> np.ndarray:
    return np.concatenate([rays, np.ones((len(rays), 1))], 1)


def unit(rays: np.ndarray) -> np.ndarray:
    found = homogeneous(rays)
    return found / np.linalg.norm(found, axis=1, keepdims=True)
