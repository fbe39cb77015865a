"""A robot's arm that does what a hand did: its description, and its joints over the frames of an episode.

The description names parts of a model, MJCF or URDF, in whose world frame the poses are. An arm follows from frame to
frame within the ranges and speeds of its joints. What it cannot do is told, not bent: each frame has what is left over
between tool and pose, and a reason where that is too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from dataengine.errors import ConfigError
from pipelines.retarget.hand import Poses
from pipelines.retarget.placing import as_pose

if TYPE_CHECKING:
    from pipelines.retarget.ik import Solution, Solver

FINE, REACH, SPEED, COLLISION = 0, 1, 2, 3
SPEED_UNSAID = 2.0  # [rad/s, m/s]
EXACT = 1e-8  # [m²] of the mean `Solution.cost` of a run: below it no better posture is looked for


@dataclass(frozen=True)
class Arm:
    """What retargeting needs of an arm of a model.

    tool: the site or body that is moved. turn: its axes seen from a tool whose x is where the fingers point and whose
    y is the jaw, a quaternion x, y, z, w. joints: names, in the order of the action. speed: most of every joint, or of
    each [rad/s, m/s]; None: 2, or less where a URDF says so. home: angles near which it begins; else the model's.
    gripper: a joint whose position the action gives last, between closed and opened (else its range's ends); None: an
    opening, 0 to 1. lever: metres of the tool's place that one radian counts for where both cannot be had. collisions:
    whether what the model lets collide is looked at. may_touch: pairs of bodies that are not,
    or of geoms that stand in the world.
    """

    tool: str
    joints: tuple[str, ...]
    turn: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)
    speed: float | tuple[float, ...] | None = None
    home: tuple[float, ...] | None = None
    gripper: str | None = None
    closed: float | None = None
    opened: float | None = None
    lever: float = 0.1
    collisions: bool = True
    may_touch: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.joints)
        if not count or len(set(self.joints)) != count:
            raise ConfigError(f"arm: joints are different names, at least one, not {list(self.joints)}")
        for what, given in (("speed", self.speed), ("home", self.home)):
            if isinstance(given, tuple) and len(given) != count:
                raise ConfigError(f"arm: {what} has {len(given)} numbers for {count} joints")
        if not (self.speed is None or np.all(np.asarray(self.speed) > 0)) or not self.lever > 0:
            raise ConfigError(f"arm: speed {self.speed} and lever {self.lever} are above 0")
        if len(self.turn) != 4 or not 1e-6 < np.linalg.norm(self.turn) < np.inf:
            raise ConfigError(f"arm: turn is a quaternion x, y, z, w, not {list(self.turn)}")
        if any(len(pair) != 2 for pair in self.may_touch):
            raise ConfigError(f"arm: may_touch is of pairs of names, not {list(map(list, self.may_touch))}")
        if self.gripper in self.joints:
            raise ConfigError(f"arm: {self.gripper} is the gripper, so it is none of the joints that move the tool")


class Tolerance(NamedTuple):
    """What may be left over: place [m], turn [rad]."""

    place: float
    turn: float


class Followed(NamedTuple):
    """joints: `(T, J)`. error: `(T, 2)` what is left over [m], [rad]. reason: `(T,)` int, `FINE` or why not. Frames
    that were not wanted repeat the frame before and are fine. touches: by frame with a collision, how deep [m] and what
    in what."""

    joints: np.ndarray
    error: np.ndarray
    reason: np.ndarray
    touches: Mapping[int, tuple[float, str]]


def follow(
    solver: Solver,
    arm: Arm,
    home: np.ndarray,
    poses: Poses,
    wanted: np.ndarray,
    begins: np.ndarray,
    fps: float,
    tolerance: Tolerance,
    speed: np.ndarray,
    touches: Callable[[int, np.ndarray], bool],
) -> Followed:
    """poses: of the hand's tool in the model's world, `(T, …)`. home: `(J,)`, where it had better begin. wanted: `(T,)`
    bool, other frames are not looked at. begins: `(T,)` bool, frames that owe nothing to the one before. speed: `(J,)`
    most of the joints. touches: whether the arm with joints `(J,)` collides in a frame; it is not flagged here.

    Where it may begin anew the arm takes the posture that goes on longest without a fault or a collision. A frame that
    the joints' speed does not reach from the one before is flagged `SPEED` and begins anew; one that no posture reaches
    is flagged `REACH`, and the next frame owes it nothing. A search for postures is not repeated while the target has
    moved less than it was out of reach.
    """
    turn = poses.turn @ as_pose((0, 0, 0, *arm.turn)).turn
    targets = list(zip(poses.point, turn, strict=True))
    frames, step = len(targets), speed / fps
    found = Followed(np.tile(home, (frames, 1)), np.zeros((frames, 2)), np.full(frames, FINE), {})
    moved = np.append(0.0, _way(Poses(poses.point, turn), arm.lever))
    allowed = float(np.hypot(tolerance.place, arm.lever * tolerance.turn))
    last, linked, lacking, t = home, False, 0.0, 0  # lacking: least that is left over, as far as a search told [m]
    while t < frames:
        if not wanted[t]:
            found.joints[t], linked, lacking, t = last, False, 0.0, t + 1
            continue
        lacking -= float(moved[t])
        stop = t + 1 + int(np.argmax(np.append(~wanted[t + 1 :] | begins[t + 1 :], True)))
        postures = islice(solver.postures(*targets[t], last), 1 if lacking > allowed else None)
        run, fine = _longest(solver, postures, targets[t:stop], step, tolerance, partial(_counted, touches, t))
        until = t + len(run)
        found.joints[t:until] = [one.joints for one in run]
        found.error[t:until] = [(one.place, one.turn) for one in run]
        if not fine:
            found.reason[t] = REACH
        elif linked and not begins[t]:
            found.reason[t] = SPEED
            tried = solver.near(*targets[t], last, step)
            found.error[t] = tried.place, tried.turn
        if fine:
            last, lacking = run[-1].joints, 0.0
        elif lacking <= allowed:
            lacking = float(np.sqrt(run[0].cost))
        linked, t = fine, until
    return found


def _longest(
    solver: Solver,
    postures: Iterable[Solution],
    targets: Sequence[tuple[np.ndarray, np.ndarray]],
    step: np.ndarray,
    tolerance: Tolerance,
    touches: Callable[[Sequence[Solution]], int],
) -> tuple[list[Solution], bool]:
    """The run from a posture at the first target on that has most frames without a collision, of equals the one that
    leaves least over, and whether there is one; else the best posture there. touches: how many of a run collide."""
    best: list[Solution] = []
    most = -1, 0.0
    miss: Solution | None = None
    for posture in postures:
        if not _within(posture, tolerance):
            miss = posture if miss is None or posture.cost < miss.cost else miss
            continue
        run = [posture]
        for target in targets[1:]:
            after = solver.near(*target, run[-1].joints, step)
            if not _within(after, tolerance):
                break
            run.append(after)
        worth = len(run) - touches(run), -sum(one.cost for one in run)
        if worth > most:
            best, most = run, worth
        if most[0] == len(targets) and -most[1] <= EXACT * len(targets):
            break
    if best or miss is None:
        return best, True
    return [miss], False


def _counted(touches: Callable[[int, np.ndarray], bool], start: int, run: Sequence[Solution]) -> int:
    return sum(touches(start + n, one.joints) for n, one in enumerate(run))


def _way(targets: Poses, lever: float) -> np.ndarray:
    """How far each target is from the one before [m], in the measure of `Solution.cost`, `(T - 1,)`."""
    turned = Rotation.from_matrix(targets.turn[1:] @ targets.turn[:-1].swapaxes(1, 2)).magnitude()
    return np.hypot(np.linalg.norm(np.diff(targets.point, axis=0), axis=1), lever * turned)


def _within(solution: Solution, tolerance: Tolerance) -> bool:
    return solution.place <= tolerance.place and solution.turn <= tolerance.turn
