"""A hand of an episode, as numbers to compute with, and poses: a place and a rotation for every frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from dataengine import hands
from dataengine.episode import Episode
from dataengine.errors import EpisodeError

PARTS = ("landmarks", "wrist", "sigma", "tracked")  # the columns that are read


class Poses(NamedTuple):
    """point: `(T, 3)` [m]. turn: `(T, 3, 3)`, the axes of the moved body as columns. Both seen in one frame of
    reference."""

    point: np.ndarray
    turn: np.ndarray

    def seen_from(self, outer: Poses) -> Poses:
        """The same poses in the frame in which `outer`, their present frame, is placed; `outer` may be of one frame."""
        return Poses(outer.point + (outer.turn @ self.point[..., None])[..., 0], outer.turn @ self.turn)

    def inverse(self) -> Poses:
        """The frame of reference seen from each pose."""
        back = self.turn.swapaxes(-1, -2)
        return Poses(-(back @ self.point[..., None])[..., 0], back)

    def cut(self, start: int, stop: int) -> Poses:
        return Poses(self.point[start:stop], self.turn[start:stop])


class Hand(NamedTuple):
    """One hand over `T` frames in its camera's frame, float64. landmarks: `(T, 21, 3)` [m]. wrist: place and axes of
    the palm. sigma: `(T, 2)` standard deviation of the wrist's place [m] and rotation [rad]. tracked: `(T,)`."""

    side: str
    landmarks: np.ndarray
    wrist: Poses
    sigma: np.ndarray
    tracked: np.ndarray

    @property
    def there(self) -> np.ndarray:
        """`(T,)` bool: seen, or a gap that was bridged."""
        return self.tracked != hands.ABSENT

    @property
    def seen(self) -> np.ndarray:
        """`(T,)` bool."""
        return self.tracked == hands.SEEN

    @property
    def size(self) -> float:
        """Wrist to middle knuckle [m]: the median where it is seen, an adult's where it never is."""
        return size_of(self.landmarks, self.seen)


def size_of(landmarks: np.ndarray, seen: np.ndarray) -> float:
    """Of landmarks `(T, 21, 3)`, as `Hand.size`. seen: `(T,)` bool."""
    spans = np.linalg.norm(landmarks[:, hands.MIDDLE_KNUCKLE] - landmarks[:, hands.WRIST], axis=-1)
    size = float(np.median(spans[seen])) if seen.any() else 0.0
    return size if size > 0 else hands.SIZE


def read_hand(episode: Episode, side: str) -> Hand:
    """Raises `EpisodeError` where a column is missing, has another shape or holds no rotation."""
    wanted, columns = hands.features(side), {}
    for part in PARTS:
        key = hands.column(side, part)
        if key not in episode.frames:
            found = [other for other in hands.SIDES if hands.column(other, "wrist") in episode.frames]
            raise EpisodeError(
                episode.id, f"has no such column; it holds hands: {', '.join(found) or 'none'}", feature=key
            )
        column = np.asarray(episode.frames[key])
        shape = wanted[key].shape
        if column.shape != ((episode.length,) if shape == (1,) else (episode.length, *shape)):
            raise EpisodeError(episode.id, f"has shape {column.shape}, a frame of it is {shape}", feature=key)
        columns[part] = column if part == "tracked" else column.astype(np.float64)
    wrist = poses_of(columns["wrist"], episode.id, hands.column(side, "wrist"))
    return Hand(side, columns["landmarks"], wrist, columns["sigma"], columns["tracked"])


def poses_of(values: np.ndarray, episode: str, key: str) -> Poses:
    """Of `(T, 7)` x, y, z, qx, qy, qz, qw. Raises `EpisodeError` for a quaternion of length zero."""
    values = np.asarray(values, np.float64)
    if (bad := np.linalg.norm(values[:, 3:], axis=1) < 1e-9).any():
        raise EpisodeError(episode, "holds a quaternion of length zero", feature=key, frame=int(np.argmax(bad)))
    return Poses(values[:, :3], Rotation.from_quat(values[:, 3:]).as_matrix())
