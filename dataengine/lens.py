"""What a camera's pixels mean: a pinhole and its lens (Brown 1971, as OpenCV writes it).

Pixel centres lie at whole numbers, so a picture's corner lies at -0.5. The camera's frame: x right, y down, z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from dataengine.errors import ConfigError

TERMS = (0, 4, 5, 8, 12, 14)  # how many numbers OpenCV's distortion has
WIDEST = 1.0  # times the picture, beyond each of its edges, that straightened pixels are looked for


@dataclass(frozen=True, kw_only=True)
class Lens:
    """width, height: of the pictures that fx, fy, cx, cy [px] were measured in. distortion: k1, k2, p1, p2, k3 … as
    `cv2.calibrateCamera` gives them. Raises `ConfigError` for numbers that are no lens."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (self.fx, self.fy, self.cx, self.cy, *self.distortion)):
            raise ConfigError("camera: every number must be finite")
        if min(self.width, self.height) < 1 or min(self.fx, self.fy) <= 0:
            raise ConfigError("camera: width, height, fx and fy are positive")
        if len(self.distortion) not in TERMS:
            raise ConfigError(f"camera: distortion has 4, 5, 8, 12 or 14 numbers, not {len(self.distortion)}")

    @property
    def matrix(self) -> np.ndarray:
        """`(3, 3)` of the pinhole [px]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    def scaled(self, width: int, height: int) -> Self:
        """For pictures of another size. Raises `ConfigError` where they are cut or turned too."""
        if abs(width * self.height / (height * self.width) - 1) > 0.01:
            raise ConfigError(
                f"the camera was calibrated with pictures of {self.width}×{self.height}; these are {width}×{height}, "
                f"cut or turned: calibrate it for them"
            )
        return self.stretched(width, height)

    def stretched(self, width: int, height: int) -> Self:
        """For the same pictures in another size, each side by itself."""
        if (width, height) == (self.width, self.height):
            return self
        across, down = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * across - 0.5, (self.cy + 0.5) * down - 0.5
        return replace(self, width=width, height=height, fx=self.fx * across, fy=self.fy * down, cx=cx, cy=cy)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """`(…, 2)` pixels → x/z and y/z, NaN where a pixel is NaN."""
        flat = np.asarray(pixels, np.float64).reshape(-1, 2)
        if not self.distortion:
            found = (flat - (self.cx, self.cy)) / (self.fx, self.fy)
            return found.reshape(pixels.shape)
        found = np.full(flat.shape, np.nan)
        seen = np.isfinite(flat).all(1)
        if seen.any():
            found[seen] = self._straight(flat[seen], np.eye(3))
        return found.reshape(pixels.shape)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points `(…, 3)` in the camera's frame [m] → `(…, 2)` [px]; NaN where they are not before it."""
        points = np.asarray(points, np.float64)
        ahead = points[..., 2] > 1e-6
        rays = points[..., :2] / np.where(ahead, points[..., 2], np.nan)[..., None]
        if not self.distortion:
            return rays * (self.fx, self.fy) + (self.cx, self.cy)
        import cv2

        flat = np.concatenate([rays.reshape(-1, 2), np.ones((rays.size // 2, 1))], 1)
        still = np.zeros(3)
        found, _ = cv2.projectPoints(np.nan_to_num(flat), still, still, self.matrix, np.array(self.distortion))
        return np.where(ahead[..., None], found.reshape(rays.shape), np.nan)

    def straightened(self) -> np.ndarray | None:
        """`(height, width, 2)`: where a lens without distortion would show what each pixel shows [px]; None without
        distortion."""
        if not self.distortion:
            return None
        grid = np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height)), -1).reshape(-1, 2)
        found = self._straight(grid.astype(np.float64), self.matrix).reshape(self.height, self.width, 2)
        size = np.array([self.width, self.height])
        within = np.nan_to_num(found, nan=-1e9, posinf=1e9, neginf=-1e9)
        return np.clip(within, -WIDEST * size, (1 + WIDEST) * size)

    def _straight(self, pixels: np.ndarray, onto: np.ndarray) -> np.ndarray:
        """Pixels `(N, 2)` without distortion, in a pinhole of matrix `onto`; the identity gives rays."""
        import cv2

        steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
        return cv2.undistortPointsIter(pixels[:, None], self.matrix, np.array(self.distortion), np.eye(3), onto, steps)[
            :, 0
        ]
