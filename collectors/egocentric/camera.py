"""What a camera's pixels mean: the ray of each, lens distortion taken out (Brown 1971, as OpenCV writes it)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dataengine import plugins
from dataengine.errors import ConfigError

USUAL = 66.0  # degrees along the longer side: between phones' main cameras (65 to 70) and webcams (60 to 70)
UNSURE = 0.15  # relative, of the focal length where nobody says it
SURE = 0.005


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole and its lens. width, height: of the pictures that fx, fy, cx, cy [px] were measured in; other sizes of
    the same shape are scaled. distortion: k1, k2, p1, p2, k3 … as `cv2.calibrateCamera` gives them. spread: relative
    standard deviation of the focal length, and so of every distance."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    spread: float = SURE

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, self.spread, *self.distortion)
        if not all(math.isfinite(number) for number in numbers):
            raise ConfigError("camera: every number must be finite")
        if min(self.width, self.height) < 1 or min(self.fx, self.fy) <= 0:
            raise ConfigError("camera: width, height, fx and fy are positive")
        if len(self.distortion) not in (0, 4, 5, 8, 12, 14):
            raise ConfigError(f"camera: distortion has 4, 5, 8, 12 or 14 numbers, not {len(self.distortion)}")
        if not 0 <= self.spread < 1:
            raise ConfigError(f"camera: spread is 0 to 1, not {self.spread}")

    def scaled(self, width: int, height: int) -> Camera:
        """For pictures of another size. Raises `ConfigError` where they are cut or turned too."""
        if (width, height) == (self.width, self.height):
            return self
        across, down = width / self.width, height / self.height
        if abs(across / down - 1) > 0.01:
            raise ConfigError(
                f"the camera was calibrated with pictures of {self.width}×{self.height}; these are {width}×{height}, "
                f"cut or turned: calibrate it for them"
            )
        # Pixel centres lie at whole numbers, so the picture's corner at -0.5.
        return Camera(
            width=width,
            height=height,
            fx=self.fx * across,
            fy=self.fy * down,
            cx=(self.cx + 0.5) * across - 0.5,
            cy=(self.cy + 0.5) * down - 0.5,
            distortion=self.distortion,
            spread=self.spread,
        )

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """`(…, 2)` pixels → x/z and y/z, NaN where a pixel is NaN."""
        flat = np.asarray(pixels, np.float64).reshape(-1, 2)
        if not self.distortion:
            found = (flat - (self.cx, self.cy)) / (self.fx, self.fy)
            return found.reshape(pixels.shape)
        import cv2

        found = np.full(flat.shape, np.nan)
        seen = np.isfinite(flat).all(1)
        if seen.any():
            matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])
            steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
            straight = np.eye(3)  # neither turned nor scaled to pixels again
            lens = np.array(self.distortion)
            found[seen] = cv2.undistortPointsIter(flat[seen][:, None], matrix, lens, straight, straight, steps)[:, 0]
        return found.reshape(pixels.shape)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def camera_of(said: Mapping[str, Any] | None, width: int, height: int) -> Camera:
    """The camera of pictures of this size. said: the fields of `Camera`, or `fov`, degrees along the longer side; with
    neither a usual lens is assumed, and its spread says so. Raises `ConfigError`."""
    said = dict(said or {})
    if "fx" in said:
        given = {
            "fx": said["fx"],
            "fy": said["fx"],
            "width": width,
            "height": height,
            "cx": (width - 1) / 2,
            "cy": (height - 1) / 2,
        }
        return plugins.build(Camera, given | said, "the camera", "camera").scaled(width, height)
    spread = said.pop("spread", SURE if "fov" in said else UNSURE)
    fov = said.pop("fov", USUAL)
    if said:
        raise ConfigError(f"camera: give fx (and fy, cx, cy, distortion) or fov, not {', '.join(said)} alone")
    if not isinstance(fov, int | float) or not 5 <= fov <= 170:
        raise ConfigError(f"camera: fov is 5 to 170 degrees, not {fov!r}")
    focal = max(width, height) / 2 / math.tan(math.radians(fov) / 2)
    across, down = (width - 1) / 2, (height - 1) / 2
    return Camera(width=width, height=height, fx=focal, fy=focal, cx=across, cy=down, spread=spread)
