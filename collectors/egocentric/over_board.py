"""Where the camera is over a board that lies in the scene, in metres, and how far away a hand is that rests beside it.

The board's pose in a picture follows from its corners: a plane's two (Collins & Bartoli 2014, OpenCV's), of which the
one is taken that explains them, or, where both do, the one nearer to the picture just before; then least squares. A
board too small or too far away to say how it is tilted is as good as not seen. A chessboard looks the same turned round
by half: it is taken for turned as it was in the picture before, at first with its rows running to the right.

A hand that lies flat on what the board lies on is where its rays meet that plane. One that rests above it seems larger
than it is, never smaller: where a clip shows both, the hand that comes out smaller lies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from collectors.egocentric.board import Board, Marks
from collectors.egocentric.camera import Camera
from collectors.egocentric.metric import FEWEST, calibrate, lift
from dataengine import hands

NOISE = 3.0  # [px] root mean square: corners that are farther from where the pose has them are no such board
CLEARLY = 0.5  # of the other pose's error: the smaller one tells which of a plane's two poses it is
RATHER = 0.8  # the same, where no picture just before tells it
APART = np.deg2rad(5)  # two poses that differ less are one
SURE = np.deg2rad(2)  # standard deviation of the board's rotation, above which a picture does not tell it
CORNER = 0.3  # [px] that a corner is off at least, root mean square
BRIDGE = 0.5  # [s] without the board that are passed over
JOINT, JOINT_SPREAD = 0.015, 0.005  # [m] that the joints of a palm lie above what it lies on
FLAT = np.cos(np.deg2rad(25))  # between palm and plane; a tracker's tilt is sure to about ten degrees
REST, WHILE = 0.008, 0.15  # [m] that a resting palm moves at most within this time before and after [s]
MOST = 1000  # frames at rest that are looked at, some of every time
TIME = 5  # frames of a time at rest that say how large the hand was
HIGHER = 1.06  # times the smallest hand of a clip: what comes out larger than that did not lie on the plane
HUGE = 1.25  # times the usual hand: nobody's; it never lay on the plane
HALVES = np.array([[1, 1, 1], [-1, -1, 1]])  # a chessboard's axes, and those of the same turned round
FACING = np.diag([1.0, -1.0, -1.0])  # a board whose rows run to the right and that looks at the camera


class OverBoard(NamedTuple):
    """pose: `(T, 7)` of the camera in the board's frame (`Board.corners`): x, y, z [m], quaternion x, y, z, w. quality:
    `(T,)` 1 where the board is seen, 0.5 in short gaps, 0 where nothing says the pose."""

    pose: np.ndarray
    quality: np.ndarray


def camera_over(pictures: Iterable[np.ndarray], board: Board, camera: Camera, fps: float) -> OverBoard:
    """Of pictures `(H, W, 3)` uint8. Where no board is seen the pose is between those before and after."""
    import cv2

    turns, places, at = list[np.ndarray](), list[np.ndarray](), list[int]()
    count = 0
    for count, picture in enumerate(pictures, 1):
        marks = board.find(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        before = turns[-1] if turns else None
        just = bool(at) and count - 1 - at[-1] <= BRIDGE * fps
        if marks is not None and (found := _stands(board, marks, camera, before, just)) is not None:
            turns.append(found[0])
            places.append(found[1])
            at.append(count - 1)
    if not at:
        pose = np.zeros((count, 7))
        pose[:, 6] = 1
        return OverBoard(pose, np.zeros(count))
    return _between(np.array(at), np.stack(turns), np.stack(places), count, fps)


def _stands(
    board: Board, marks: Marks, camera: Camera, before: np.ndarray | None, just: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotation `(3, 3)` and place `(3,)` [m] of the board in the camera's frame; None where its corners fit none, or
    several. before: rotation when it was last seen; just: whether that was a moment ago."""
    import cv2

    rays = camera.rays(marks.pixels.astype(np.float64))[:, None]
    flat = board.corners.astype(np.float64)[marks.ids]
    still, pinhole = np.zeros(0), np.eye(3)
    count, turned, placed, _ = cv2.solvePnPGeneric(flat, rays, pinhole, still, flags=cv2.SOLVEPNP_IPPE)
    if not count:
        return None
    found = list[tuple[float, np.ndarray, np.ndarray]]()
    for turn, place in zip(turned, placed, strict=True):
        turn, place = cv2.solvePnPRefineLM(flat, rays, pinhole, still, turn, place)
        seen, _ = cv2.projectPoints(flat, turn, place, pinhole, still)
        off = float(np.sqrt(((seen - rays) ** 2).sum(2).mean()))
        found.append((off, Rotation.from_rotvec(turn[:, 0]).as_matrix(), place[:, 0]))
    best = min(found, key=lambda each: each[0])
    if not best[0] * camera.fx <= NOISE or not best[2][2] > 0:
        return None
    if _turn_sigma(flat, best[1], best[2], max(best[0], CORNER / camera.fx)) > SURE:
        return None
    told = [each for each in found if (CLEARLY if just else RATHER) * each[0] <= max(best[0], CORNER / camera.fx)]
    if not just and max(_angle(best[1], turn) for _, turn, _ in told) > APART:
        return None
    ways = [(turn * half, place) for _, turn, place in told for half in (HALVES if board.symmetric else HALVES[:1])]
    return max(ways, key=lambda way: float((way[0] * (FACING if before is None else before)).sum()))


def _turn_sigma(flat: np.ndarray, turn: np.ndarray, place: np.ndarray, off: float) -> float:
    """Standard deviation [rad] of a rotation that was fitted to corners `(N, 3)` which are `off` as rays, both axes of
    a ray together."""
    import cv2

    still = np.zeros(3)
    _, slopes = cv2.projectPoints(flat @ turn.T, still, place, np.eye(3), np.zeros(0))  # by a turn of nothing
    by_pose = np.asarray(slopes, np.float64)[:, :6]
    spread = np.linalg.pinv(by_pose.T @ by_pose) * off**2 / 2
    return float(np.sqrt(np.trace(spread[:3, :3])))


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(Rotation.from_matrix(one.T @ other).magnitude())


def _between(at: np.ndarray, turns: np.ndarray, places: np.ndarray, count: int, fps: float) -> OverBoard:
    """Poses of the camera in the board's frame from those of the board in the camera's, at `count` pictures."""
    back = turns.transpose(0, 2, 1)
    centres = -(back @ places[..., None])[..., 0]
    every = np.arange(count)
    if len(at) == 1:
        spun = np.repeat(Rotation.from_matrix(back).as_quat(), count, 0)
    else:
        spun = Slerp(at, Rotation.from_matrix(back))(np.clip(every, at[0], at[-1])).as_quat()
    flips = np.sign((spun[1:] * spun[:-1]).sum(1))
    spun[1:] *= np.cumprod(np.where(flips == 0, 1, flips))[:, None]
    place = np.stack([np.interp(every, at, centres[:, axis]) for axis in range(3)], 1)
    after = np.searchsorted(at, every)
    gap = at[np.clip(after, 0, len(at) - 1)] - at[np.clip(after - 1, 0, len(at) - 1)]
    inside = (every > at[0]) & (every < at[-1]) & (gap <= BRIDGE * fps)
    quality = np.where(np.isin(every, at), 1.0, np.where(inside, 0.5, 0.0))
    return OverBoard(np.concatenate([place, spun], 1), quality)


def palm_distances_over(
    over: OverBoard, rays: np.ndarray, world: np.ndarray, *, right: bool, fps: float
) -> tuple[np.ndarray, float]:
    """`(T, 6)` of the landmarks of the palm [m] where a hand lies flat and at rest on the board's plane, NaN elsewhere;
    and by how much they are wrong together, relative. rays: `(T, 21, 2)`, world: `(T, 21, 3)` as for
    `metric.calibrate`."""
    found: np.ndarray = np.full((len(rays), 6), np.nan)
    palm_rays = np.concatenate([rays[:, list(hands.PALM)], np.ones((len(rays), 6, 1))], 2)
    turn = Rotation.from_quat(over.pose[:, 3:]).as_matrix()
    along = np.einsum("tij,tkj->tki", turn, palm_rays)  # in the board's frame
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (JOINT - over.pose[:, None, 2]) / along[..., 2]
    points = over.pose[:, None, :3] + far[..., None] * along
    step = max(1, round(WHILE * fps))
    moved = np.full(len(rays), np.inf)
    if len(rays) > 2 * step:
        moved[step:-step] = np.linalg.norm(points[2 * step :] - points[: -2 * step], axis=2).max(1)
    seen = np.isfinite(rays).all((1, 2)) & np.isfinite(world).all((1, 2))
    rest = np.flatnonzero(seen & (over.quality > 0) & (far > 0).all(1) & (moved < REST))
    if len(rest) < FEWEST:
        return found, 0.0
    pauses = np.split(rest, np.flatnonzero(np.diff(rest) > step) + 1)
    each = max(FEWEST, MOST // len(pauses))
    pauses = [one[np.unique(np.linspace(0, len(one) - 1, min(each, len(one))).astype(int))] for one in pauses]
    rest, pause = np.concatenate(pauses), np.repeat(np.arange(len(pauses)), list(map(len, pauses)))
    lifted = lift(rays[rest], world[rest], calibrate(rays, world, right=right))
    out_of_palm = (turn[rest] @ lifted.rotation[..., 2:])[:, 2, 0]  # how far along the board's z
    large = np.median(far[rest] / lifted.points[:, list(hands.PALM), 2], axis=1)
    flat = rest[_lies(pause, large, np.abs(out_of_palm) > FLAT)]
    found[flat] = far[flat]
    height = float(np.median(over.pose[flat, 2])) if len(flat) else 1.0
    return found, JOINT_SPREAD / max(height, JOINT_SPREAD)


def _lies(pause: np.ndarray, large: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """`(N,)` bool: of frames at rest, those in which the hand lies on the plane. pause: a number for every time that it
    rested. large: times the usual hand, if it did. flat: whether it is."""
    times = [flat & (pause == number) for number in np.unique(pause[flat])]
    least = min((float(np.median(large[each])) for each in times if each.sum() >= TIME), default=np.inf)
    return flat & (large < HIGHER * least) if least < HUGE else np.zeros(len(flat), bool)
