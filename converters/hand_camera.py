"""Where the camera that made a video sits on the device that tracked the hands, and what its pixels mean.

Trackers give hands in the frame of the headset or of a world; a video beside them says nothing of its lens. Both stand
in `camera.yaml` (or `.yml`, `.json`) in the folder of the video, or under `camera` in the mapping:

    fx: 610.0                # [px], of a pinhole: a fisheye's pictures are to be undistorted first
    fy: 610.0
    cx: 511.5
    cy: 511.5
    width: 1024              # of the pictures these were measured in; those of the video by default
    height: 1024
    T_device_camera: [x, y, z, qx, qy, qz, qw]   # or 4×4: the camera's pose in the device's frame [m]; its axes are
                                                 # those of the picture, x right, y down, z forward. Or as headsets
                                                 # write it: {translation_xyz: …, quaternion_wxyz: …} (HOT3D), or
                                                 # {Translation: …, UnitQuaternion: [w, [x, y, z]]} (Project Aria)
    turned: 0                # degrees clockwise that the pictures were turned by since all of this was measured: 90 for
                             # a calibration of Aria's `camera-rgb` and a video of `vrs_to_mp4`, which puts it upright
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from dataengine import lens, plugins
from dataengine.errors import ConfigError, SourceError
from dataengine.guard import read_json, read_yaml

NAMES = ("camera.yaml", "camera.yml", "camera.json")
WANTED = "fx, fy, cx, cy [px], and T_device_camera: the camera's pose in the device's frame, x y z qx qy qz qw or 4×4"
_WIDEST = 1e6  # [px] of a focal length, and of a principal point
_MIDDLE = 0.35  # least share of a picture's side between its edge and its principal point, half a side as a rule
# Axes of a picture that was turned clockwise by a quarter, in those of before: right was up, down was right.
_QUARTER = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@dataclass(frozen=True, kw_only=True)
class Lens:
    """A pinhole [px] and, where the tracks are of a device, its place there. width, height: of the pictures that the
    numbers were measured in. T_device_camera: 7 or 16 numbers, or 4 rows of 4. turned: degrees clockwise that the
    pictures were turned by since; None where nobody says it."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int | None = None
    height: int | None = None
    T_device_camera: Any = None
    turned: Literal[0, 90, 180, 270] | None = None

    def __post_init__(self) -> None:
        if not all(np.isfinite(v) and abs(v) <= _WIDEST for v in (self.fx, self.fy, self.cx, self.cy)):
            raise ConfigError("camera: fx, fy, cx, cy are pixels, finite and not beyond a million")
        if min(self.fx, self.fy) <= 0 or (self.width is None) != (self.height is None):
            raise ConfigError("camera: fx and fy are positive; width and height are given together")
        if self.width is not None and min(self.width, self.height or 0) < 1:
            raise ConfigError("camera: width and height are positive")
        if self.T_device_camera is not None:
            pose_of(self.T_device_camera)

    def matrix(self, width: int, height: int) -> np.ndarray:
        """`(3, 3)` for pictures of this size. Raises `ConfigError` where they were cut or turned since, or are others
        than those that were measured."""
        quarters = (self.turned or 0) // 90
        across, down = (height, width) if quarters % 2 else (width, height)
        sides = ((self.cx, across), (self.cy, down))
        if self.width is None and not all(_MIDDLE <= middle / side <= 1 - _MIDDLE for middle, side in sides):
            raise ConfigError(
                f"camera: {self.cx:g}, {self.cy:g} is not near the middle of pictures of {across}×{down}: these "
                f"numbers are of pictures of another size; say which with width and height"
            )
        size = self.width or across, self.height or down
        measured = lens.Lens(width=size[0], height=size[1], fx=self.fx, fy=self.fy, cx=self.cx, cy=self.cy)
        matrix = measured.scaled(across, down).matrix
        for _ in range(quarters):
            (fx, _, cx), (_, fy, cy), _ = matrix
            matrix, across, down = np.array([[fy, 0, down - 1 - cy], [0, fx, cx], [0, 0, 1.0]]), down, across
        return matrix

    @property
    def on_device(self) -> np.ndarray | None:
        """`(4, 4)` pose of the camera in the device's frame, if it is known; its axes are those of the picture."""
        if self.T_device_camera is None:
            return None
        return pose_of(self.T_device_camera) @ np.linalg.matrix_power(_QUARTER, (self.turned or 0) // 90)


def pinhole_of(matrix: np.ndarray) -> Lens:
    """Of the matrix `(3, 3)` of a camera. Raises `ConfigError` for what is none, also where it is skewed."""
    (fx, _, cx), (_, fy, cy), _ = np.asarray(matrix, np.float64)
    form = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    if not np.abs(matrix - form).max() < 1e-2 or min(fx, fy) <= 0:
        raise ConfigError("camera: the intrinsics are no matrix of a camera, fx 0 cx, 0 fy cy, 0 0 1")
    return Lens(fx=fx, fy=fy, cx=cx, cy=cy)


def pose_of(values: Any) -> np.ndarray:
    """`(4, 4)` of x, y, z [m] and a quaternion x, y, z, w, of a matrix, or of what headsets write. Raises
    `ConfigError`."""
    try:
        given = np.asarray(_in_a_row(values) if isinstance(values, Mapping) else values, np.float64)
    except (TypeError, ValueError, KeyError, OverflowError):
        given = np.empty(0)
    if given.size == 16 and given.ndim in (1, 2):
        given = given.reshape(4, 4)
    if not np.isfinite(given).all() or given.shape not in ((7,), (4, 4)):
        raise ConfigError("T_device_camera: 7 finite numbers (x y z qx qy qz qw) or a matrix of 4×4")
    pose = np.eye(4)
    if given.shape == (7,):
        if not 0.99 < np.linalg.norm(given[3:]) < 1.01:
            raise ConfigError("T_device_camera: its last four numbers are a quaternion of length one, x y z w")
        pose[:3, :3], pose[:3, 3] = Rotation.from_quat(given[3:]).as_matrix(), given[:3]
        return pose
    turn = given[:3, :3]
    straight = np.abs(turn @ turn.T - np.eye(3)).max() < 1e-2 and np.linalg.det(turn) > 0
    if not straight or np.abs(given[3] - [0, 0, 0, 1]).max() > 1e-6:
        raise ConfigError("T_device_camera: the matrix is no rotation and place with 0 0 0 1 below")
    return given


def _in_a_row(said: Mapping[str, Any]) -> list[Any]:
    """x, y, z, qx, qy, qz, qw. Raises `KeyError`, `TypeError`, `ValueError`."""
    if "quaternion_wxyz" in said:
        w, *turn = said["quaternion_wxyz"]
        return [*said["translation_xyz"], *turn, w]
    w, turn = said["UnitQuaternion"]
    return [*said["Translation"], *turn, w]


def read_lens(path: Path) -> Lens:
    """Of a camera file. Raises `SourceError` that names it."""
    said = read_json(path, 1 << 20) if path.suffix == ".json" else read_yaml(path, 1 << 20)
    try:
        return lens_of(said)
    except ConfigError as error:
        raise SourceError(path, str(error), hint=f"it says {WANTED}") from error


def lens_of(said: Any) -> Lens:
    """Of a mapping. Raises `ConfigError`; a lens with distortion is refused: its pixels would be wrong."""
    if not isinstance(said, Mapping):
        raise ConfigError("camera: expected names and values")
    if bent := [key for key in said if str(key) in ("distortion", "model", "projectionParams", "fov")]:
        raise ConfigError(f"camera: {bent[0]} is not taken: undistort the pictures to a pinhole and give its numbers")
    return plugins.build(Lens, {str(key): value for key, value in said.items()}, "the camera", "camera")
