"""Against a hand that is known exactly: how well is a hand measured, and how well does a robot's hand follow it?

Hands of several people, left and right, move in MuJoCo (`dataengine.sim.human_hand`) before three cameras. A tracker
is made of the truth: landmarks in the picture are off by the noise that real clips have, and its own landmarks in space
are those of a hand too narrow and too small, off by some millimetres more. From these and the size of the hand the
engine says where wrist and palm are (`collectors.egocentric.columns`), when the fingers pinch (`pipelines.retarget
.gripper`) and what a robot's hand with four fingers should do (`pipelines.retarget.dexterous`).

A fingertip is reachable in a frame if some pose of the robot's finger, whatever its speed, has its tip within 1 mm of
where the scaled hand has it. Targets: mean error of reachable fingertips at most 5 mm for each objective, against what
was asked, with exact and with measured landmarks; no limit and no speed exceeded; F1 of pinches at least 0.9 within two
frames, true where the skin of thumb and index finger touches. What the gripper's rule says of exact landmarks stands
beside it.

`python -m bench.hand_truth`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from bench.results import record
from collectors.egocentric import metric
from collectors.egocentric.camera import Camera
from collectors.egocentric.columns import hand_columns
from collectors.egocentric.identity import Tracks
from collectors.egocentric.settings import EgoSettings
from dataengine import hands
from dataengine.sim.human_hand import CAMERAS, MOTIONS, HumanHand, Motion, before, project
from pipelines.retarget import gripper
from pipelines.retarget.dexterous import DexterousHand, Following, Retargeted
from pipelines.retarget.dexterous_objectives import vector
from pipelines.retarget.dexterous_solve import least
from pipelines.retarget.motion import Reading

# The robot lives with the tests, which are no package.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from robot_hand_made import hand_config

PEOPLE, FRAMES, FPS = 4, 180, 30.0
NARROW, SMALL, WORLD_NOISE = 0.8, 0.85, 0.004  # the tracker's own hand: share of the width, of the size, and [m]
CLOSE_BELOW, OPEN_ABOVE = Reading.close_below, Reading.open_above  # the stage's own
WITHIN, F1 = 2, 0.9
REACHED, MOST = 0.001, 0.005  # [m]
SAMPLES = 40_000
OBJECTIVES = ("vector", "position", "dexpilot")


class Seen(NamedTuple):
    """A motion before a camera: the truth in its frame, and what was measured of it, NaN where it was out of sight."""

    motion: Motion
    points: np.ndarray
    rotation: np.ndarray
    found: np.ndarray
    turn: np.ndarray


def main() -> None:
    wrist: dict[str, list[np.ndarray]] = defaultdict(list)
    pinches: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((2, 3), int))
    clips = []
    for person in range(PEOPLE):
        side = hands.SIDES[person % 2]
        hand = HumanHand(side, size=hands.SIZE * (0.9, 1.0, 1.05, 1.1)[person], person=person)
        for kind in MOTIONS:
            motion = hand.move(kind, person, FRAMES, FPS)
            for camera in CAMERAS:
                seen = watched(hand, motion, camera, seed=person)
                for where in ("all", camera, kind):
                    wrist[where].append(errors(seen))
                if kind == "pinch":
                    for where in ("all", camera):
                        pinches[where] += pinch_counts(seen, hand.size)
                if camera == CAMERAS[0]:
                    clips.append((side, kind, seen))
    followed = {objective: following(objective, clips) for objective in OBJECTIVES}
    own = {objective: own_motions(objective) for objective in OBJECTIVES}
    pinched = {
        where: {"against_touch": pinch_figures(touch), "against_the_rule_on_the_truth": pinch_figures(rule)}
        for where, (touch, rule) in pinches.items()
    }
    both = [*followed.values(), *own.values()]
    met = {
        "fingertips": all(one[what] <= MOST * 1e3 for one in followed.values() for what in ("exact_mm", "measured_mm"))
        and all(one["mean_mm"] <= MOST * 1e3 for one in own.values()),
        "limits_and_speeds": not any(one["limits"] or one["speeds"] for one in both),
        "pinch": pinched["all"]["against_touch"]["f1"] >= F1,
    }
    figures = {
        "people": PEOPLE,
        "motions": list(MOTIONS),
        "cameras": list(CAMERAS),
        "frames": PEOPLE * len(MOTIONS) * len(CAMERAS) * FRAMES,
        "noise_of_a_ray": metric.NOISE,
        "met": met,
        "wrist": {where: spread(np.concatenate(found)) for where, found in wrist.items()},
        "pinch": pinched,
        "following_a_human_hand": followed,
        "following_its_own_motion": own,
    }
    record("hand_truth", figures, met=all(met.values()))


# -- measuring ---------------------------------------------------------------------------------------------------


def watched(hand: HumanHand, motion: Motion, name: str, seed: int) -> Seen:
    camera = hand.camera(name)
    world = hand.pose(motion.angles, motion.place, motion.rotation)
    points, rotation = before(camera, world), camera.rotation.T @ motion.rotation
    rng = np.random.default_rng([seed, CAMERAS.index(name)])
    focal, place = float(camera.matrix[0, 0]), hands.SIDES.index(hand.side)
    lens = Camera(
        width=640, height=480, fx=focal, fy=camera.matrix[1, 1], cx=camera.matrix[0, 2], cy=camera.matrix[1, 2]
    )
    pixels = project(camera, world)
    outside = ((pixels < 0) | (pixels > [640, 480])).any((1, 2))
    theirs = (hand.pose(motion.angles) * [NARROW, 1.0, 1.0] * SMALL) @ np.swapaxes(rotation, 1, 2)
    tracks = Tracks(np.full((2, *pixels.shape), np.nan), np.full((2, *theirs.shape), np.nan), np.ones((2, FRAMES)), 0)
    tracks.pixels[place] = pixels + rng.normal(0, metric.NOISE * focal, pixels.shape)
    tracks.world[place] = theirs - theirs.mean(1, keepdims=True) + rng.normal(0, WORLD_NOISE, theirs.shape)
    tracks.pixels[place, outside] = np.nan
    made = hand_columns(tracks, lens, EgoSettings(hand_size=hand.size, sides=(hand.side,)), FPS).columns
    there = made[hands.column(hand.side, "tracked")] != hands.ABSENT
    found = made[hands.column(hand.side, "landmarks")].astype(np.float64)
    wrist = made[hands.column(hand.side, "wrist")].astype(np.float64)
    found[~there] = wrist[~there] = np.nan
    turn = np.full((FRAMES, 3, 3), np.nan)
    turn[there] = Rotation.from_quat(wrist[there, 3:]).as_matrix()
    return Seen(motion, points, rotation, found, turn)


def errors(seen: Seen) -> np.ndarray:
    """`(T, 4)`: wrist [mm], the same across the line of sight [mm], palm [degrees], fingertips from the wrist [mm]."""
    off = seen.found - seen.points
    there = np.isfinite(off).all((1, 2))
    off, points = off[there], seen.points[there]
    sight = points[:, 0] / np.linalg.norm(points[:, 0], axis=1, keepdims=True)
    across = off[:, 0] - (off[:, 0] * sight).sum(1, keepdims=True) * sight
    turned = Rotation.from_matrix(seen.turn[there]) * Rotation.from_matrix(seen.rotation[there]).inv()
    tips = np.linalg.norm(off[:, list(hands.TIPS)] - off[:, :1], axis=2).mean(1)
    place = np.linalg.norm(off[:, 0], axis=1)
    return np.stack([place * 1e3, np.linalg.norm(across, axis=1) * 1e3, np.rad2deg(turned.magnitude()), tips * 1e3], 1)


def spread(found: np.ndarray) -> dict[str, list[float]]:
    """p50 and p90."""
    names = ("place_mm", "across_sight_mm", "rotation_deg", "fingertips_mm")
    return {
        name: np.percentile(column, [50, 90]).round(2).tolist() for name, column in zip(names, found.T, strict=True)
    }


def pinch_counts(seen: Seen, size: float) -> np.ndarray:
    """`(2, 3)`: changes between open and closed that were found, made up and missed; against the touch of skin, and
    against what the same rule says of exact landmarks."""
    said = closed(seen.found, size)
    return np.array([changes(true, said) for true in (seen.motion.pinched, closed(seen.points, size))])


def closed(points: np.ndarray, size: float) -> np.ndarray:
    there = np.isfinite(points).all((1, 2))
    distance = gripper.pinch(np.nan_to_num(points))
    opening = gripper.opening(distance, there, gripper.calibrate(distance, there, size))
    return gripper.is_closed(opening, there, CLOSE_BELOW, OPEN_ABOVE)


def changes(true: np.ndarray, said: np.ndarray) -> tuple[int, int, int]:
    """Found, made up, missed: one is found that comes at most `WITHIN` frames early or late."""
    found = false = missed = 0
    for way in (1, -1):
        wanted, left = (np.flatnonzero(np.diff(state.astype(int)) == way).tolist() for state in (true, said))
        for change in wanted:
            nearest = min(left, key=lambda at: abs(at - change), default=None)
            if nearest is not None and abs(nearest - change) <= WITHIN:
                left.remove(nearest)
                found += 1
            else:
                missed += 1
        false += len(left)
    return found, false, missed


def pinch_figures(counts: np.ndarray) -> dict[str, Any]:
    found, false, missed = counts.tolist()
    f1 = 2 * found / max(2 * found + false + missed, 1)
    return {"f1": round(f1, 4), "found": found, "made_up": false, "missed": missed}


# -- following ---------------------------------------------------------------------------------------------------


def following(objective: str, clips: Sequence[tuple[str, str, Seen]]) -> dict[str, Any]:
    """The person's own camera; exact landmarks, and measured ones. Errors are means over reachable fingertips: against
    what was asked, and for measured landmarks against the true hand as well."""
    robots = robots_of(objective)
    reach = {side: Reach(robot) for side, robot in robots.items()}
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    counts, seconds, frames = np.zeros(2, int), 0.0, 0
    for side, kind, seen in clips:
        robot = robots[side]
        true, _ = robot.aims(robot.seen(seen.points, seen.rotation))
        for what, points, rotation in (
            ("exact", seen.points, seen.rotation),
            ("measured", seen.found, seen.turn),
        ):
            start = time.perf_counter()
            done = robot.retarget(points, rotation, fps=FPS)
            seconds, frames = seconds + time.perf_counter() - start, frames + len(points)
            counts += violations(robot, done)
            there = np.isfinite(done.residual)
            tips = np.array([robot.model.points(robot.model.free(row)) for row in done.joints[there]])
            wanted = robot.aims(robot.seen(points, rotation))[0][there]
            can = reach[side].can(wanted)
            off = np.linalg.norm(tips - wanted, axis=2)
            found[what].append(off[can])
            found[f"{what}/{kind}"].append(off[can])
            found[f"{what} whether reachable or not"].append(off.ravel())
            found[f"{what} can"].append(can.ravel())
            if what == "measured":
                found["against the truth"].append(np.linalg.norm(tips - true[there], axis=2)[can])
    means = {what: float(np.concatenate(each).mean() * 1e3) for what, each in found.items()}
    return {
        "exact_mm": round(means["exact"], 3),
        "exact_p95_mm": round(float(np.percentile(np.concatenate(found["exact"]), 95) * 1e3), 3),
        "measured_mm": round(means["measured"], 3),
        "measured_against_the_truth_mm": round(means["against the truth"], 3),
        "exact_by_motion_mm": {kind: round(means[f"exact/{kind}"], 3) for kind in MOTIONS},
        "reachable_share": round(means["exact can"] / 1e3, 4),
        "exact_reachable_or_not_mm": round(means["exact whether reachable or not"], 3),
        "limits": int(counts[0]),
        "speeds": int(counts[1]),
        "ms_per_frame": round(seconds / frames * 1e3, 3),
    }


def own_motions(objective: str) -> dict[str, Any]:
    """Slow motions of the robot itself through nine tenths of its ranges, told by its fingertips: all are reachable."""
    robot = robots_of(objective, scale=1.0)["right"]
    low, high = robot.model.lower, robot.model.upper
    off, counts, seconds = [], np.zeros(2, int), 0.0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        rate, phase = rng.uniform(0.1, 0.4, len(low)), rng.uniform(0, 2 * np.pi, len(low))
        wave = np.sin(2 * np.pi * rate * np.arange(FRAMES)[:, None] / FPS + phase)
        human = np.zeros((FRAMES, 21, 3))
        human[:, list(robot.config.landmarks)] = [
            robot.model.points(row) for row in (low + high) / 2 + 0.45 * (high - low) * wave
        ]
        start = time.perf_counter()
        done = robot.retarget(human, np.tile(np.eye(3), (FRAMES, 1, 1)), fps=FPS)
        seconds += time.perf_counter() - start
        off.append(done.residual)
        counts += violations(robot, done)
    residual = np.concatenate(off) * 1e3
    return {
        "mean_mm": round(float(residual.mean()), 3),
        "p95_mm": round(float(np.percentile(residual, 95)), 3),
        "limits": int(counts[0]),
        "speeds": int(counts[1]),
        "ms_per_frame": round(seconds / len(residual) * 1e3, 3),
    }


def robots_of(objective: str, **more: Any) -> Mapping[str, DexterousHand]:
    with tempfile.TemporaryDirectory() as folder:
        return {
            side: DexterousHand(hand_config(Path(folder), side, objective=objective, **more)) for side in hands.SIDES
        }


def violations(robot: DexterousHand, done: Retargeted) -> np.ndarray:
    """Joints and frames beyond a limit, and beyond the speed."""
    there = np.flatnonzero(np.isfinite(done.residual))
    joints = robot.model.free(done.joints[there])
    beyond = (joints < robot.model.lower - 1e-9) | (joints > robot.model.upper + 1e-9)
    speed = np.abs(np.diff(joints, axis=0)) * FPS / np.diff(there)[:, None]
    return np.array([beyond.sum(), (speed > robot.model.speed * (1 + 1e-9)).sum()])


class Reach:
    """What the tips of a robot can reach: the nearest of many poses, and from there the nearest of all."""

    def __init__(self, robot: DexterousHand) -> None:
        self.model = robot.model
        rng = np.random.default_rng(0)
        self.poses = rng.uniform(self.model.lower, self.model.upper, (SAMPLES, len(self.model.lower)))
        tips = np.array([self.model.points(pose) for pose in self.poses])
        self.trees = [cKDTree(tips[:, finger]) for finger in range(tips.shape[1])]
        self.per = len(self.model.lower) // len(self.trees)  # each finger has joints of its own, as many as any other

    def can(self, wanted: np.ndarray) -> np.ndarray:
        """Bool `(T, P)` for places `(T, P, 3)`."""
        near = np.stack([tree.query(wanted[:, finger])[1] for finger, tree in enumerate(self.trees)], 1)
        fingers = np.arange(len(self.trees)).repeat(self.per)
        starts = self.poses[near[:, fingers], np.arange(len(fingers))]
        terms, able = vector(wanted), np.zeros(wanted.shape[:2], bool)
        for frame, start in enumerate(starts):
            free = Following(self.model, terms, frame, start, 1e-8, 0.0)
            best = least(free, start, self.model.lower, self.model.upper).x
            able[frame] = np.linalg.norm(self.model.points(best) - wanted[frame], axis=1) <= REACHED
        return able


if __name__ == "__main__":
    main()
