"""A human hand that is known exactly: bones and joints in MuJoCo, made of what `dataengine.hands` says of hands.

Nothing touches anything here; the hand is kinematic. It says where the 21 landmarks are for given joint angles, and
cameras that are known show it, so that what is estimated from pictures or landmarks can be judged. It moves as people
move, by seed: min-jerk from pose to pose (Flash & Hogan 1985), never quite at rest.

The palm's frame is that of `hands.RIGHT_PALM`: x to the thumb's side of a right hand, y to the fingers, z out of the
palm, the wrist at its origin. The world: x to the right of the person whose hand it is, y away from them, z up; the
table is the plane z = 0. The frame of a camera: x right, y down, z forward. Lengths in m, angles in rad.
"""

from __future__ import annotations

import dataengine.sim.model  # noqa: F401 – says how MuJoCo shall draw and warn

# isort: split
from typing import NamedTuple

import mujoco
import numpy as np

from dataengine import hands
from dataengine.errors import ConfigError
from dataengine.sim import rotations
from dataengine.sim.human_hand_xml import CAMERAS, JOINTS, LIMITS, hand_xml, shape_of

DOWN = np.array([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])  # of the palm in the world: on a table


MOTIONS = ("open_close", "pinch", "point", "wave", "rotate")
TOUCH = 0.001  # skin this near to skin touches
PRESSED = 0.002  # and gives this much in a pinch


def _held(
    bends: tuple[float, float, float], thumb: tuple[float, ...], **fingers: tuple[float, float, float]
) -> np.ndarray:
    """Angles `(21,)` of fingers that bend alike, but for those that are named; all in degrees."""
    rest = [(0.0, *fingers.get(finger, bends)) for finger in hands.FINGERS[1:]]
    return np.deg2rad(np.concatenate([thumb, *rest]))


OPEN = _held((0, 4, 3), (5, -5, 0, 0, 0))
RELAXED = _held((20, 28, 15), (22, 5, 10, 12, 12))
FIST = _held((78, 98, 55), (45, 35, 30, 35, 45))
POINT = _held((75, 95, 50), (45, 30, 30, 35, 40), index=(2, 6, 3))
ABOUT_TO_PINCH = _held((35, 40, 20), (48, 18, 35, 10, 15), index=(42, 34, 15))


class Motion(NamedTuple):
    """angles: `(T, 21)` of `JOINTS`. place `(T, 3)` of the wrist and rotation `(T, 3, 3)` of the palm in the world.
    pinched: `(T,)` bool, thumb and index finger touch. fps: frames a second."""

    angles: np.ndarray
    place: np.ndarray
    rotation: np.ndarray
    pinched: np.ndarray
    fps: float


class Camera(NamedTuple):
    """matrix: `(3, 3)` intrinsics [pixels] without distortion. place: `(3,)` and rotation: `(3, 3)` in the world, axes
    of the camera as columns."""

    matrix: np.ndarray
    place: np.ndarray
    rotation: np.ndarray


class HumanHand:
    """One hand of one person; a left one is the mirror image of a right one, with the same angles.

    size: wrist to middle knuckle. person: seed of a hand that differs from the average as people's do (landmarks of the
    palm by 3 mm, bones by 5 %); None is the average hand. palm: `(6, 3)` of `hands.PALM` as a right hand has it.
    lengths: `(15,)` of `hands.PHALANGES`. Pictures need a GL library; a hand is used by one thread.
    """

    def __init__(self, side: str = "right", *, size: float = hands.SIZE, person: int | None = None) -> None:
        """Raises `ConfigError` for a side that is none and for a size that no hand has."""
        if side not in hands.SIDES:
            raise ConfigError(f"a hand is {' or '.join(hands.SIDES)}, not {side!r}")
        if not 0.04 <= size <= 0.15:
            raise ConfigError(f"no hand has {size} m from wrist to middle knuckle; an adult's has about {hands.SIZE}")
        self.side, self.size = side, size
        self.palm, self.lengths = shape_of(size, person)
        self.model = mujoco.MjModel.from_xml_string(hand_xml(self.palm, self.lengths, side))
        self.data = mujoco.MjData(self.model)
        self._sites = [self.model.site(name).id for name in hands.LANDMARKS]
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}

    def pose(
        self, angles: np.ndarray, place: np.ndarray | None = None, rotation: np.ndarray | None = None
    ) -> np.ndarray:
        """Landmarks `(…, 21, 3)` for angles `(…, 21)` of `JOINTS`, exactly.

        In the palm's frame, or in the world for a wrist at place `(…, 3)` whose palm has rotation `(…, 3, 3)`. Angles
        outside `LIMITS` are taken as they are.
        """
        flat = np.asarray(angles, np.float64).reshape(-1, len(JOINTS))
        points: np.ndarray = np.empty((len(flat), 21, 3))
        for frame, row in enumerate(flat):
            self._put(row)
            points[frame] = self.data.site_xpos[self._sites]
        points = points.reshape(*np.shape(angles)[:-1], 21, 3)
        if rotation is not None:
            points = points @ np.swapaxes(rotation, -1, -2)
        return points if place is None else points + np.asarray(place)[..., None, :]

    def gap(self, angles: np.ndarray, finger: str = "index") -> np.ndarray:
        """`(…,)` from the skin of the thumb's last bone to that of a finger's, negative where they overlap."""
        tips = [self.model.geom(f"{name}_tip").id for name in ("thumb", finger)]
        flat = np.asarray(angles, np.float64).reshape(-1, len(JOINTS))
        found = np.empty(len(flat))
        for frame, row in enumerate(flat):
            self._put(row)
            found[frame] = mujoco.mj_geomDistance(self.model, self.data, *tips, 1.0, None)
        return found.reshape(np.shape(angles)[:-1])

    def camera(self, name: str, width: int = 640, height: int = 480) -> Camera:
        """Raises `ConfigError` for a camera that is not in `CAMERAS`."""
        if name not in CAMERAS:
            raise ConfigError(f"there is no camera {name!r} at the hand; there are {', '.join(CAMERAS)}")
        mujoco.mj_camlight(self.model, self.data)
        which = self.model.camera(name).id
        focal = height / 2 / np.tan(np.deg2rad(self.model.cam_fovy[which]) / 2)
        matrix = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        # MuJoCo's cameras look along -z with y up.
        rotation = self.data.cam_xmat[which].reshape(3, 3) * [1, -1, -1]
        return Camera(matrix, self.data.cam_xpos[which].copy(), rotation)

    def render(
        self,
        angles: np.ndarray,
        place: np.ndarray,
        rotation: np.ndarray,
        camera: str,
        *,
        width: int = 640,
        height: int = 480,
    ) -> np.ndarray:
        """`(height, width, 3)` uint8 of one pose: angles `(21,)`, place `(3,)`, rotation `(3, 3)`.

        Raises `ConfigError` for an unknown camera, for a picture of more than 1920 × 1080, and where nothing can draw.
        """
        self.camera(camera)
        self._put(np.asarray(angles), np.asarray(place), np.asarray(rotation))
        mujoco.mj_camlight(self.model, self.data)
        renderer = self._renderer(width, height)
        renderer.update_scene(self.data, camera=camera)
        return renderer.render()

    def move(self, kind: str, seed: int, frames: int = 150, fps: float = 30.0) -> Motion:
        """A motion of one of `MOTIONS`; hands of either side move as in a mirror.

        Raises `ConfigError` for a motion that is not there, for no frames and for no rate.
        """
        if kind not in MOTIONS:
            raise ConfigError(f"a hand has no motion {kind!r}; it has {', '.join(MOTIONS)}")
        if frames < 1 or fps <= 0:
            raise ConfigError(f"a motion has frames and a rate, not {frames} frames at {fps:g} a second")
        rng, other = np.random.default_rng([MOTIONS.index(kind), seed]).spawn(2)
        seconds = np.arange(frames) / fps
        path = _interpolated(self._keys(kind, rng, frames / fps), seconds)
        wander = _wander(other, seconds)
        if kind == "pinch":
            wander[:, :21] = 0  # what touches goes on touching
        path = path + wander
        angles = np.clip(path[:, :21], *LIMITS.T)
        mirror = 1.0 if self.side == "right" else -1.0
        place = path[:, 21:24] * [mirror, 1.0, 1.0]
        rotation = rotations.matrix(path[:, 24:] * [1.0, mirror, mirror]) @ DOWN
        return Motion(angles, place, rotation, self.gap(angles) <= TOUCH, fps)

    def pinch(self, finger: str = "index") -> np.ndarray:
        """Angles `(21,)` with which thumb and finger press one another by `PRESSED`, on the way of a hand that is about
        to pinch to where their pads meet: the least change of it (damped Gauss-Newton), within `LIMITS`.

        The average little finger does not reach; its angles are the nearest."""
        angles = ABOUT_TO_PINCH.copy()
        moving = np.array([name.startswith(("thumb_", f"{finger}_")) for name in JOINTS])
        pads = [self.model.site(f"{name}_pad").id for name in ("thumb", finger)]
        slopes = np.zeros((2, 3, self.model.nv))
        for _ in range(200):
            self._put(angles)
            mujoco.mj_comPos(self.model, self.data)
            for slope, pad in zip(slopes, pads, strict=True):
                mujoco.mj_jacSite(self.model, self.data, slope, None, pad)
            between = self.data.site_xpos[pads[0]] - self.data.site_xpos[pads[1]]
            if np.linalg.norm(between) < 1e-6:
                break
            slope = (slopes[0] - slopes[1])[:, 6:] * moving
            step = slope.T @ np.linalg.solve(slope @ slope.T + 1e-6 * np.eye(3), between)
            angles = np.clip(angles - 0.5 * step, *LIMITS.T)
        apart, together = 0.0, 1.0
        for _ in range(30):  # bisection: no bone goes through another
            share = (apart + together) / 2
            tried = ABOUT_TO_PINCH + share * (angles - ABOUT_TO_PINCH)
            apart, together = (share, together) if self.gap(tried, finger) > -PRESSED else (apart, share)
        return ABOUT_TO_PINCH + together * (angles - ABOUT_TO_PINCH)

    def __enter__(self) -> HumanHand:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what draws; to be called before the program ends where something was drawn."""
        while self._renderers:
            self._renderers.popitem()[1].close()

    def _keys(self, kind: str, rng: np.random.Generator, length: float) -> list[tuple[float, np.ndarray]]:
        """When to be in which pose `(27,)`: angles, place, and roll, pitch and yaw from `DOWN` in the world."""

        def somewhere() -> np.ndarray:
            return np.array([*rng.uniform(-0.09, 0.09, 2), rng.uniform(0.17, 0.27), *rng.uniform(-0.25, 0.25, 3)])

        down = np.array([0, 0, 0, -0.5, 0, 0])  # the fingers, at what is taken
        where, time, keys = somewhere(), 0.0, []

        def key(angles: np.ndarray, seconds: float = 0.0) -> None:
            nonlocal time
            time += seconds * rng.uniform(0.85, 1.2)
            keys.append((time, np.concatenate([angles, where])))

        key(RELAXED)
        pinch = self.pinch() if kind == "pinch" else RELAXED
        while time < length:
            if kind == "open_close":
                key(OPEN, 0.7)
                key(FIST, 0.8)
            elif kind == "pinch":
                where = somewhere() + down
                key(ABOUT_TO_PINCH, 0.8)
                key(pinch, 0.35)
                key(pinch, 0.25)
                where = somewhere() + down
                key(pinch, 0.8)
                key(ABOUT_TO_PINCH, 0.35)
            elif kind == "point":
                where = somewhere()
                key(POINT, 0.6)
                key(POINT, 0.4)
                key(RELAXED, 0.6)
            elif kind == "wave":
                where[3:] = 1.1, 0.0, 0.35 if len(keys) % 2 else -0.35  # upright, the palm to the other side
                key(OPEN, 0.45)
            else:
                where[4] = 1.2 if len(keys) % 2 else -0.6
                key(RELAXED, 0.8)
        return keys

    def _put(self, angles: np.ndarray, place: np.ndarray | None = None, rotation: np.ndarray | None = None) -> None:
        self.data.qpos[:3] = 0 if place is None else place
        self.data.qpos[3:7] = (1, 0, 0, 0)
        if rotation is not None:
            mujoco.mju_mat2Quat(self.data.qpos[3:7], np.ascontiguousarray(rotation, np.float64).ravel())
        self.data.qpos[7:] = angles
        mujoco.mj_kinematics(self.model, self.data)

    def _renderer(self, width: int, height: int) -> mujoco.Renderer:
        if not (0 < width <= 1920 and 0 < height <= 1080):
            raise ConfigError(f"a picture of the hand has at most 1920 × 1080 pixels, not {width} × {height}")
        if (width, height) not in self._renderers:
            try:
                made = mujoco.Renderer(self.model, height, width)
            except Exception as problem:  # PyOpenGL and EGL raise many kinds
                raise ConfigError(
                    f"this machine cannot render: {problem}. Install EGL (Debian: libegl1 libgl1-mesa-dri) or set "
                    f"MUJOCO_GL=osmesa"
                ) from problem
            self._renderers[width, height] = made
        return self._renderers[width, height]


def project(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Points of the world `(…, 3)` in a camera's picture, `(…, 2)` pixels; all of them are before the camera."""
    seen = before(camera, points)
    pixels = seen @ camera.matrix.T
    return pixels[..., :2] / pixels[..., 2:]


def before(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Points of the world `(…, 3)` in the frame of the camera."""
    return (points - camera.place) @ camera.rotation


def _interpolated(keys: list[tuple[float, np.ndarray]], seconds: np.ndarray) -> np.ndarray:
    """`(T, D)`: at rest at every key, and between two the path of least jerk."""
    times, poses = np.array([time for time, _ in keys]), np.array([pose for _, pose in keys])
    after = np.clip(np.searchsorted(times, seconds, side="right"), 1, len(times) - 1)
    share = np.clip((seconds - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)
    smooth = share**3 * (10 - 15 * share + 6 * share**2)
    return poses[after - 1] + smooth[:, None] * (poses[after] - poses[after - 1])


def _wander(rng: np.random.Generator, seconds: np.ndarray) -> np.ndarray:
    """`(T, 27)` of a hand that means to be still: slow waves of a few millimetres and degrees."""
    reach = np.concatenate([np.full(21, 0.025), np.full(3, 0.003), np.full(3, 0.03)])
    rate, phase = rng.uniform(0.15, 0.9, (3, 27)), rng.uniform(0, 2 * np.pi, (3, 27))
    return reach * np.sin(2 * np.pi * rate * seconds[:, None, None] + phase).sum(1) / np.sqrt(3)
