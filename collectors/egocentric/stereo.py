"""Distances of a palm from a second camera that films at the same time: where the rays of both meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from collectors.egocentric.bundle import nearest, off_by
from collectors.egocentric.camera import Camera, camera_of
from collectors.egocentric.footage import Footage, open_footage
from collectors.egocentric.identity import assign
from collectors.egocentric.sightings import sightings
from dataengine import hands, plugins
from dataengine.errors import ConfigError, SourceError
from dataengine.plugins import HandTracker

APART = 0.012  # of a ray: a landmark that the cameras do not agree on more than that is not measured


@dataclass(frozen=True, kw_only=True)
class Stereo:
    """other: the name of the other camera's video, `{stem}` for that of this one's without its ending. rotation: nine
    numbers, or three rows of three, and translation: [m], of the other camera: what is `x` in this one's frame is
    `rotation @ x + translation` in that of the other. intrinsics: of the other, as of this one; the same by default."""

    other: str
    rotation: tuple[Any, ...]
    translation: tuple[float, ...]
    intrinsics: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self.video(Path("video.mp4"))
        turn = self.turn
        if turn.shape != (3, 3) or np.abs(turn @ turn.T - np.eye(3)).max() > 1e-2 or np.linalg.det(turn) < 0:
            raise ConfigError(f"stereo: rotation is no rotation of nine numbers: {self.rotation}")
        if len(self.translation) != 3 or not 1e-3 < np.linalg.norm(self.translation) < 10:
            raise ConfigError(f"stereo: translation is three numbers in m, a baseline, not {self.translation}")

    @property
    def turn(self) -> np.ndarray:
        """`(3, 3)`, or what was given where that is no such matrix."""
        try:
            given = np.array(self.rotation, np.float64)
        except (TypeError, ValueError):
            return np.zeros(0)
        return given.reshape(3, 3) if given.size == 9 and np.isfinite(given).all() else given

    def video(self, path: Path) -> Path:
        """The other camera's, beside this one's. Raises `ConfigError` for one elsewhere."""
        return beside(path, self.other, "stereo.other")


def stereo_of(given: Mapping[str, Any]) -> Stereo:
    """Raises `ConfigError`."""
    return plugins.build(Stereo, given, "a second camera", "stereo")


def without_others(videos: list[Path], stereo: Stereo) -> list[Path]:
    """The videos but for those that another one names as its second camera's."""
    others = {each.with_name(stereo.other.replace("{stem}", each.stem)) for each in videos}
    return [each for each in videos if each not in others]


def beside(path: Path, name: str, where: str) -> Path:
    """What lies beside a video by a name in which `{stem}` stands for its own. Raises `ConfigError`."""
    named = name.replace("{stem}", path.stem)
    if Path(named).name != named or named in ("", ".", "..", path.name):
        raise ConfigError(f"{where}: {name!r} names nothing else beside {path.name}")
    return path.with_name(named)


def palm_distances(
    stereo: Stereo, footage: Footage, pixels: np.ndarray, side: str, camera: Camera, tracker: HandTracker
) -> np.ndarray:
    """`(T, 6)` of the landmarks of the palm [m], NaN where the cameras do not both show them or do not agree. pixels:
    `(T, 21, 2)` of this camera. Raises `SourceError` for the other video."""
    clip = footage.clip
    other = open_footage(stereo.video(footage.path), clip.fps)
    if abs(other.clip.length - clip.length) > max(1.0, 0.02 * clip.length):
        raise SourceError(
            other.path, f"has {other.clip.length} pictures at {clip.fps:g} Hz, {footage.path.name} {clip.length}"
        )
    theirs = assign(sightings(other, tracker), clip.fps, (side,)).pixels[hands.SIDES.index(side)]
    lens = camera_of(stereo.intrinsics or camera.to_json(), other.clip.width, other.clip.height)
    count = min(len(theirs), len(pixels))
    palm = list(hands.PALM)
    rays, others = camera.rays(pixels[:count, palm]), lens.rays(theirs[:count, palm].astype(float))
    points, apart = triangulated(rays, others, stereo.turn, np.array(stereo.translation))
    found: np.ndarray = np.full((len(pixels), 6), np.nan)
    found[:count] = np.where((apart < APART) & (points[..., 2] > 0), points[..., 2], np.nan)
    return found


def triangulated(
    rays: np.ndarray, others: np.ndarray, rotation: np.ndarray, translation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks in the first camera's frame `(T, K, 3)` [m], NaN where one camera lacks them, and how far the rays of
    both are from them `(T, K)`. rays, others: `(T, K, 2)`."""
    both = np.stack([rays.reshape(-1, 2), others.reshape(-1, 2)])
    good = np.isfinite(both).all((0, 2))
    turns, places = np.stack([np.eye(3), rotation.T]), np.stack([np.zeros(3), -rotation.T @ translation])
    points, apart = np.full((len(good), 3), np.nan), np.full(len(good), np.nan)
    if good.any():
        points[good] = nearest(both[:, good], turns, places)[0]
        apart[good] = off_by(both[:, good], turns, places, points[good]).max(0)
    return points.reshape(*rays.shape[:2], 3), apart.reshape(rays.shape[:2])
