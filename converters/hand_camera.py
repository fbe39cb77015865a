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
                                                 # those of the picture as it is stored, x right, y down, z forward
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from dataengine import lens, plugins
from dataengine.errors import ConfigError, SourceError
from dataengine.guard import read_json, read_yaml

NAMES = ("camera.yaml", "camera.yml", "camera.json")
WANTED = "fx, fy, cx, cy [px], and T_device_camera: the camera's pose in the device's frame, x y z qx qy qz qw or 4×4"
_WIDEST = 1e6  # [px] of a focal length, and of a principal point


@dataclass(frozen=True, kw_only=True)
class Lens:
    """A pinhole [px] and, where the tracks are of a device, its place there. width, height: of the pictures that the
    numbers were measured in. T_device_camera: 7 or 16 numbers, or 4 rows of 4."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int | None = None
    height: int | None = None
    T_device_camera: Any = None

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
        """`(3, 3)` for pictures of this size. Raises `ConfigError` where they were cut or turned since."""
        size = self.width or width, self.height or height
        measured = lens.Lens(width=size[0], height=size[1], fx=self.fx, fy=self.fy, cx=self.cx, cy=self.cy)
        return measured.scaled(width, height).matrix

    @property
    def on_device(self) -> np.ndarray | None:
        """`(4, 4)` pose of the camera in the device's frame, if it is known."""
        return None if self.T_device_camera is None else pose_of(self.T_device_camera)


def pose_of(values: Any) -> np.ndarray:
    """`(4, 4)` of x, y, z [m] and a quaternion x, y, z, w, or of a matrix. Raises `ConfigError`."""
    try:
        given = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
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
