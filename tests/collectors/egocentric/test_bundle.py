"""Bundle adjustment, against the truth and against SciPy's solver of the same problem."""

from __future__ import annotations

import numpy as np
import scipy.optimize
from scipy.spatial.transform import Rotation

from collectors.egocentric.bundle import adjust, nearest, off_by, resect

NOISE = 2e-3


def scene(noise: float = NOISE) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Turns, places, points and rays of six cameras in a row; every view lacks some points."""
    rng = np.random.default_rng(1)
    turns = Rotation.from_rotvec(rng.normal(0, 0.1, (6, 3)) * (np.arange(6) > 0)[:, None]).as_matrix()
    places = np.linspace(0, 1, 6)[:, None] * [0.5, 0.1, 0.1]
    points = rng.uniform((-1, -1, 1.5), (1, 1, 3), (60, 3))
    here = (points - places[:, None]) @ turns
    rays = here[..., :2] / here[..., 2:] + rng.normal(0, max(noise, 1e-12), (6, 60, 2))
    rays[rng.random((6, 60)) < 0.2] = np.nan
    return turns, places, points, rays


def shaken(turns: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    moved = (np.arange(6) > 1)[:, None]
    by = Rotation.from_rotvec(moved * rng.normal(0, 0.02, (6, 3))).as_matrix()
    return turns @ by, places + moved * rng.normal(0, 0.02, (6, 3))


def test_rays_without_noise_meet_in_the_points() -> None:
    turns, places, points, rays = scene(0.0)
    found, wide = nearest(rays, turns, places)
    np.testing.assert_allclose(found, points, atol=1e-6)
    assert (wide > 0.02).all() and (wide < 0.5).all()
    assert np.nanmax(off_by(rays, turns, places, points)) < 1e-9


def test_shaken_cameras_come_back() -> None:
    turns, places, points, rays = scene()
    bad = shaken(turns, places)
    made = adjust(rays, *bad, nearest(rays, *bad)[0], NOISE, fixed=2)
    off = np.rad2deg(Rotation.from_matrix(made.turns.transpose(0, 2, 1) @ turns).magnitude())
    assert off.max() < 0.4 and np.linalg.norm(made.places - places, axis=1).max() < 0.02
    assert (made.turns[:2] == bad[0][:2]).all() and np.allclose(made.places[:2], places[:2])
    assert np.median(np.linalg.norm(made.points - points, axis=1)) < 0.04
    assert np.nanmedian(made.off) < 1.5 * NOISE


def test_scipy_finds_nothing_better_from_there() -> None:
    turns, places, _, rays = scene()
    rays = rays[:, :20]
    bad = shaken(turns, places)
    start = nearest(rays, *bad)[0]
    made = adjust(rays, *bad, start, NOISE, fixed=2)

    def errors(x: np.ndarray) -> np.ndarray:
        by, to = x[:24].reshape(4, 6)[:, :3], x[:24].reshape(4, 6)[:, 3:]
        t = np.concatenate([turns[:2], made.turns[2:] @ Rotation.from_rotvec(by).as_matrix()])
        p = np.concatenate([places[:2], to])
        here = (x[24:].reshape(-1, 3) - p[:, None]) @ t
        off = here[..., :2] / here[..., 2:] - rays
        return np.linalg.norm(off, axis=2)[np.isfinite(rays[..., 0])] / NOISE

    first = np.concatenate([np.concatenate([np.zeros((4, 3)), made.places[2:]], 1).ravel(), made.points.ravel()])
    theirs = scipy.optimize.least_squares(errors, first, loss="huber", f_scale=1.0, max_nfev=8)
    off = made.off[np.isfinite(made.off)] / NOISE
    ours = np.where(off < 1, off**2 / 2, off - 0.5).sum()
    assert ours <= theirs.cost * 1.01
    worse = np.linalg.norm(errors(np.concatenate([first[:-60] + 0.002, first[-60:]])))
    assert worse > 1.1 * np.linalg.norm(errors(first))


def test_a_camera_among_known_points_with_a_third_of_them_wrong() -> None:
    turns, places, points, rays = scene()
    seen = np.isfinite(rays[4, :, 0])
    wrong = rays[4, seen].copy()
    wrong[::3] += 0.1
    found = resect(points[seen], wrong, turns[3], places[3], NOISE * 3)
    assert found is not None
    turn, place, off = found
    assert np.rad2deg(Rotation.from_matrix(turn.T @ turns[4]).magnitude()) < 0.2
    assert np.linalg.norm(place - places[4]) < 0.01 and (off[::3] > 0.03).all() and np.median(off) < 2 * NOISE
