"""A person's hand picks something up and puts it down before a camera; does a robot that is told what the hand did move
the thing as the hand did?

In every scene of the embedded world a human hand that is known exactly does the task: thumb and index finger go where
the expert's gripper goes, at 30 Hz. A camera above the table sees its landmarks with the noise of real clips, and a
tracker's own depths of a hand too narrow and too small. From these, the size of the hand, where the camera stands and
how high the table is, the engine says what the robot shall do (`hand_columns`, then the stage `retarget`), and that is
played, without looking, in the same scene. Nothing of the scene but the track and the calibration reaches the robot.

Target: the thing ends up where it belongs in at least 90 % of 100 scenes.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from bench.results import record
from collectors.egocentric import metric
from collectors.egocentric.camera import Camera
from collectors.egocentric.columns import hand_columns
from collectors.egocentric.identity import Tracks
from collectors.egocentric.settings import EgoSettings
from dataengine import hands
from dataengine.episode import Episode
from dataengine.progress import track
from dataengine.sim import rotations
from dataengine.sim.demonstrate import demonstrate
from dataengine.sim.human_hand import ABOUT_TO_PINCH, HumanHand
from dataengine.sim.world import Tabletop
from pipelines.retarget.hand import Hand, Poses
from pipelines.retarget.pose import tool_poses
from pipelines.retarget.stage import Retarget

FPS, SHARE = 30.0, 0.9
TASK, ARM = "place_red", "six"
NARROW, SMALL, WORLD_NOISE = 0.8, 0.85, 0.004  # as in hand_truth
LENS = Camera(width=640, height=480, fx=492.0, fy=492.0, cx=319.5, cy=239.5)
EYE, LOOKS_AT = np.array([-0.05, 0.0, 0.62]), np.array([0.27, 0.0, 0.03])  # in the base: over the robot's shoulder
TOOL_DOWN = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # axes of a tool that points down, as columns
SHAPES = 33  # between open and closed


class Acted(NamedTuple):
    """landmarks: `(T, 21, 3)`; place: `(T, 3)` of the wrist and turn: `(T, 3, 3)` of the palm, all in the base frame;
    angles: `(T, 21)` of the joints."""

    landmarks: np.ndarray
    place: np.ndarray
    turn: np.ndarray
    angles: np.ndarray


class Played(NamedTuple):
    """shown: whether the hand itself did the task. off: the tool, told less shown [mm], `(N, 3)`."""

    shown: bool
    success: bool
    off: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hand_replay")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        done = list(track(pool.map(scene, range(args.scenes)), total=args.scenes, what="replaying"))
    shown = [one for one in done if one.shown]
    share = sum(one.success for one in shown) / max(len(shown), 1)
    off = np.concatenate([one.off for one in shown])
    figures: dict[str, Any] = {
        "target": f"at least {SHARE:.0%} of scenes",
        "task": TASK,
        "scenes": len(shown),
        "success": round(share, 4),
        "tool_off_mm": np.percentile(np.linalg.norm(off, axis=1), [50, 90]).round(1).tolist(),
        "tool_bias_mm_xyz": np.median(off, axis=0).round(1).tolist(),
    }
    record("hand_replay", figures, met=share >= SHARE)


def scene(seed: int) -> Played:
    """One scene: shown by a hand, seen by a camera, retargeted, played."""
    world = Tabletop(tasks=(TASK,), arm=ARM, fps=FPS, cameras=())
    shown = demonstrate(world, seed, TASK, noise=0.0, recovery=0.0)
    names = world.body.state_names
    pose = shown.columns["observation.state"][:, [names.index(name) for name in world.body.pose_names]].astype(float)
    opening = shown.columns["observation.state"][:, names.index("gripper.pos")].astype(float)
    tool = Poses(pose[:, :3], rotations.matrix(pose[:, 3:]) @ TOOL_DOWN)
    told = retargeted(seed, tool, opening)
    world.reset(seed=seed, options={"task": TASK})
    success = False
    for action in told:
        *_, terminated, _, info = world.step(action)
        success = bool(info["is_success"])
        if terminated:
            break
    for _ in range(round(2 * FPS)):  # it may still come to rest
        if success:
            break
        *_, info = world.step(told[-1])
        success = bool(info["is_success"])
    count = min(len(told), len(pose))
    return Played(shown.success, success, 1e3 * (told[: count - 1, :3] - pose[1:count, :3]))


def retargeted(seed: int, tool: Poses, opening: np.ndarray) -> np.ndarray:
    """`(T, 7)` actions of what a camera saw of a hand whose fingers were where the tool was."""
    person, camera = somebody(seed), standing()
    found = tracked(person, acted(person, tool, opening), camera, LENS, FPS, seed)
    features = {key: feature for each in hands.SIDES for key, feature in hands.features(each).items()}
    episode = Episode(f"scene{seed}", FPS, features, found).check()
    (done,) = read_as_arm(person.side, camera).run(iter([episode]))
    assert isinstance(done, Episode), done
    return np.asarray(done.frames["action"], np.float64)


def somebody(seed: int) -> HumanHand:
    """People differ in side, size and shape."""
    return HumanHand(hands.SIDES[seed % 2], size=hands.SIZE * (0.92, 1.0, 1.05, 1.1)[seed % 4], person=seed % 8)


def read_as_arm(side: str, camera: Poses) -> Retarget:
    """The stage that makes actions of the embedded world's arm of what `camera`, in its base, saw."""
    stands = (*camera.point[0], *Rotation.from_matrix(camera.turn[0]).as_quat())
    pose = tuple(map(float, stands))
    return Retarget(hand=side, camera=pose, rotation="euler", binary=True, jump=None, table=0.0)  # type: ignore[arg-type]


def tracked(
    person: HumanHand, shown: Acted, camera: Poses, lens: Camera, fps: float, seed: int
) -> dict[str, np.ndarray]:
    """Columns of both hands, as the engine makes them of a tracker with the noise of real clips and with depths of its
    own of a hand too narrow and too small."""
    rng = np.random.default_rng([seed, 7])
    before = (shown.landmarks - camera.point) @ camera.turn[0]
    pixels = before[..., :2] / before[..., 2:] * lens.fx + (lens.cx, lens.cy)
    palm = np.swapaxes(camera.turn[0].T @ shown.turn, 1, 2)
    world = np.einsum("tki,tji->tkj", before - before[:, :1], palm) * [NARROW, 1.0, 1.0] * SMALL  # in the palm's axes
    world = np.einsum("tkj,tji->tki", world, palm)
    place, count = hands.SIDES.index(person.side), len(pixels)
    tracks = Tracks(np.full((2, count, 21, 2), np.nan), np.full((2, count, 21, 3), np.nan), np.ones((2, count)), 0)
    tracks.pixels[place] = pixels + rng.normal(0, metric.NOISE * lens.fx, pixels.shape)
    tracks.world[place] = world - world.mean(1, keepdims=True) + rng.normal(0, WORLD_NOISE, world.shape)
    settings = EgoSettings(hand_size=person.size, sides=(person.side,))
    return dict(hand_columns(tracks, lens, settings, fps).columns)


def acted(person: HumanHand, tool: Poses, opening: np.ndarray) -> Acted:
    """The middle between thumb and index finger where the tool is and turned as it is, the fingers as far open as the
    gripper."""
    shares = np.linspace(0, 1, SHAPES)
    angles = ABOUT_TO_PINCH + shares[:, None] * (person.pinch() - ABOUT_TO_PINCH)
    shapes = person.pose(angles)
    gaps = np.linalg.norm(shapes[:, hands.TIPS[0]] - shapes[:, hands.TIPS[1]], axis=1)
    most, least = float(opening.max()), float(opening.min())
    wanted = gaps[-1] + (opening - least) / max(most - least, 1e-6) * (gaps[0] - gaps[-1])
    share = np.interp(wanted, gaps[::-1], shares[::-1])
    taken = ABOUT_TO_PINCH + share[:, None] * (person.pinch() - ABOUT_TO_PINCH)
    within = person.pose(taken)
    count = len(within)
    still = Poses(np.zeros((count, 3)), np.tile(np.eye(3), (count, 1, 1)))
    held = tool_poses(
        Hand(person.side, within, still, np.zeros((count, 2)), np.full(count, hands.SEEN)), orientation="palm"
    )
    turn = tool.turn @ np.swapaxes(held.turn, 1, 2)
    place = tool.point - (turn @ held.point[..., None])[..., 0]
    return Acted(within @ np.swapaxes(turn, 1, 2) + place[:, None], place, turn, taken)


def standing() -> Poses:
    """The camera in the base frame: z to what it looks at, x to its right."""
    forward = (LOOKS_AT - EYE) / np.linalg.norm(LOOKS_AT - EYE)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return Poses(EYE[None], np.stack([right, np.cross(forward, right), forward], 1)[None])


if __name__ == "__main__":
    main()
