"""A human hand that is known exactly, before a camera that is known: episodes to retarget and to draw on."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.sim.human_hand import HumanHand, before
from pipelines.retarget.hand import Poses

WIDE, HIGH, FPS = 320, 240, 30.0
CAMERA = "observation.images.ego"

# Three slides and three hinges reach any pose; a red ball stands where the tool is, in a box that cannot be seen.
GANTRY = """<mujoco><option gravity="0 0 0"/><worldbody>
  <geom name="floor" type="plane" size="2 2 0.1" rgba="0 0 1 1"/>
  <body name="thing" pos="0 0.1 0.3"><freejoint/><geom size="0.1" rgba="0 0 1 1"/></body>
  <body><joint name="x" type="slide" axis="1 0 0"/><joint name="y" type="slide" axis="0 1 0"/>
  <joint name="z" type="slide" axis="0 0 1"/><joint name="c" axis="0 0 1"/><joint name="b" axis="0 1 0"/>
  <joint name="a" axis="1 0 0"/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/>{inside}<site name="tool"/>
  </body></worldbody>{outside}</mujoco>"""
BALL = '<geom type="sphere" size="0.006" rgba="1 0 0 1" contype="0" conaffinity="0"/>'
JOINTS = ("x", "y", "z", "c", "b", "a")


class Seen(NamedTuple):
    """camera: its pose in the world. pinch: `(T, 3)` the middle of thumb and index tip in the world [m]; pixels:
    `(T, 2)` where OpenCV's camera shows it."""

    episode: Episode
    camera: Poses
    pinch: np.ndarray
    pixels: np.ndarray

    @property
    def pose(self) -> tuple[float, ...]:
        """The camera's, as parameters write it."""
        return (*self.camera.point[0].tolist(), *Rotation.from_matrix(self.camera.turn[0]).as_quat().tolist())


def seen(
    kind: str = "pinch",
    seed: int = 1,
    frames: int = 60,
    *,
    side: str = "right",
    distortion: tuple[float, ...] = (),
    off_centre: tuple[float, float] = (0.0, 0.0),
    squeezed: float = 1.0,
    aside: float = 0.0,
    sigma: tuple[float, float] = (0.02, 0.1),
) -> Seen:
    """off_centre: of the principal point [px]. squeezed: fy over fx. aside: how far the camera looks past it [rad]."""
    with HumanHand(side) as person:
        motion = person.move(kind, seed, frames, FPS)
        standing = person.camera("ego", WIDE, HIGH)
        turned = standing.rotation @ Rotation.from_rotvec([0.0, aside, 0.0]).as_matrix()
        standing = standing._replace(rotation=turned)
        points = person.pose(motion.angles, motion.place, motion.rotation)
    matrix = standing.matrix.copy()
    matrix[1, 1] *= squeezed
    matrix[:2, 2] += np.array(off_centre) - 0.5  # MuJoCo counts from the picture's corner
    landmarks = before(standing, points)
    palm = np.einsum("ji,tjk->tik", standing.rotation, motion.rotation)
    place = np.concatenate([landmarks[:, 0], Rotation.from_matrix(palm).as_quat()], 1)
    values = {
        "pixels": projected(landmarks, matrix, distortion),
        "landmarks": landmarks,
        "wrist": place,
        "confidence": np.ones(frames),
        "sigma": np.tile(sigma, (frames, 1)),
        "tracked": np.full(frames, hands.SEEN),
    }
    features, columns = {}, {}
    for each in hands.SIDES:
        features |= hands.features(each)
        mine = values if each == side else {**values, "tracked": np.full(frames, hands.ABSENT)}
        for part, column in mine.items():
            dtype = np.int64 if part == "tracked" else np.float32
            columns[hands.column(each, part)] = np.ascontiguousarray(column, dtype)
    pictures = ArrayClip(np.full((frames, HIGH, WIDE, 3), 90, np.uint8), FPS)
    features[CAMERA] = Feature("video", (HIGH, WIDE, 3), ("height", "width", "channels"), "image")
    camera = {"fx": matrix[0, 0], "fy": matrix[1, 1], "cx": matrix[0, 2], "cy": matrix[1, 2]}
    lens = {key: float(value) for key, value in camera.items()}
    extra = {"camera": {**lens, "width": WIDE, "height": HIGH, "distortion": list(distortion)}}
    meta = Meta(tasks=("pick it up",), source={"file": "film.mp4", "sha256": "0"}, extra=extra)
    made = Episode(f"seen-{kind}-{seed}", FPS, features, columns, {CAMERA: pictures}, meta=meta).check()
    pinch = points[:, list(hands.TIPS[:2])].mean(1)
    pixels = projected(landmarks[:, list(hands.TIPS[:2])].mean(1)[:, None], matrix, distortion)[:, 0]
    return Seen(made, Poses(standing.place[None], standing.rotation[None]), pinch, pixels)


def projected(points: np.ndarray, matrix: np.ndarray, distortion: tuple[float, ...]) -> np.ndarray:
    """`(T, n, 3)` in the camera's frame to `(T, n, 2)` by OpenCV."""
    still, lens = np.zeros(3), np.array(distortion or (0.0, 0.0, 0.0, 0.0))
    return cv2.projectPoints(points.reshape(-1, 3), still, still, matrix, lens)[0].reshape(*points.shape[:2], 2)
