"""The lens of the camera that saw the hands, as the episode's meta says it: points in space to pixels, and pixels to
where a camera without distortion would show them (Brown 1971, as OpenCV writes it)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dataengine.episode import Episode
from dataengine.errors import EpisodeError

TERMS = (0, 4, 5, 8, 12, 14)  # how many numbers OpenCV's distortion has
WIDEST = 1.0  # times the picture, beyond each of its edges, that straightened pixels are looked for


@dataclass(frozen=True)
class Lens:
    """width, height, fx, fy, cx, cy [px], pixel centres at whole numbers; distortion: k1, k2, p1, p2, k3 …"""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()

    def scaled(self, width: int, height: int) -> Lens:
        """For the same pictures in another size."""
        across, down = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * across,
            fy=self.fy * down,
            cx=(self.cx + 0.5) * across - 0.5,
            cy=(self.cy + 0.5) * down - 0.5,
        )

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points `(…, 3)` in the camera's frame [m] → `(…, 2)` [px]; NaN where they are not before it."""
        points = np.asarray(points, np.float64)
        ahead = points[..., 2] > 1e-6
        rays = points[..., :2] / np.where(ahead, points[..., 2], np.nan)[..., None]
        if not self.distortion:
            return rays * (self.fx, self.fy) + (self.cx, self.cy)
        import cv2

        flat = np.concatenate([rays.reshape(-1, 2), np.ones((rays.size // 2, 1))], 1)
        matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])
        still = np.zeros(3)
        found, _ = cv2.projectPoints(np.nan_to_num(flat), still, still, matrix, np.array(self.distortion))
        return np.where(ahead[..., None], found.reshape(rays.shape), np.nan)

    def straightened(self) -> np.ndarray | None:
        """`(height, width, 2)`: where a lens without distortion would show what each pixel shows [px]; None without
        distortion."""
        if not self.distortion:
            return None
        import cv2

        grid = np.stack(np.meshgrid(np.arange(self.width), np.arange(self.height)), -1).reshape(-1, 1, 2)
        matrix = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])
        steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
        lens, straight = np.array(self.distortion), np.eye(3)
        found = cv2.undistortPointsIter(grid.astype(np.float64), matrix, lens, straight, matrix, steps)
        size = np.array([self.width, self.height])
        within = np.nan_to_num(found.reshape(self.height, self.width, 2), nan=-1e9, posinf=1e9, neginf=-1e9)
        return np.clip(within, -WIDEST * size, (1 + WIDEST) * size)


def lens_of(episode: Episode, width: int, height: int) -> Lens | None:
    """For pictures of this size; None where the episode does not say its lens. Raises `EpisodeError` for numbers that
    are no lens."""
    said = episode.meta.extra.get("camera")
    if said is None:
        return None
    try:
        numbers = [float(said[name]) for name in ("fx", "fy", "cx", "cy")]
        size = [int(said.get(name, usual)) for name, usual in (("width", width), ("height", height))]
        distortion = tuple(float(number) for number in said.get("distortion") or ())
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise EpisodeError(episode.id, f"its meta's camera is no lens: {type(error).__name__} {error}") from error
    fine = np.isfinite([*numbers, *distortion]).all() and min(numbers[:2]) > 0 and min(size) > 0
    if not fine or len(distortion) not in TERMS:
        raise EpisodeError(episode.id, "its meta's camera is no lens: fx and fy are above 0, and all numbers finite")
    fx, fy, cx, cy = numbers
    return Lens(size[0], size[1], fx, fy, cx, cy, distortion).scaled(width, height)
