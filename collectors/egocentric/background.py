"""What stands still behind the hands: corners of a video followed from picture to picture, hands and forearms left out.

Every corner is looked for with what it looked like in the last key picture, not in the picture before, so that nothing
creeps while a camera stands still (Lucas & Kanade 1981 in pyramids, Shi & Tomasi's corners 1994, both OpenCV's). One
that a hand covers is looked for again once the hand is away. Only two pictures are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from dataengine import hands
from dataengine.plugins import Sighting

LONGEST = 640  # pixels of the longer side that is looked at
MOST = 300  # corners
FAR = 0.1  # of the longer side: corners that moved so far get a new key picture
LEFT = 0.6  # of the corners: with fewer of them still seen too
BACK = 0.7  # [px] that a corner may miss itself by when it is followed back
AROUND = 0.25  # hand lengths around its landmarks that are no background
FOREARM = 3.0  # hand lengths from the wrist that an arm is taken to be in the picture
WINDOW: dict[str, Any] = {"winSize": (21, 21), "maxLevel": 3, "criteria": (3, 20, 0.02)}


class Moment(NamedTuple):
    """One picture's background. ids: `(N,)` a number for each corner, kept while it is followed, growing. pixels:
    `(N, 2)` in a picture of `width` and `height`. key: corners of later pictures are looked for as they look in this
    one; the newest ids begin here."""

    ids: np.ndarray
    pixels: np.ndarray
    width: int
    height: int
    key: bool


def background(pictures: Iterable[np.ndarray], seen: Iterable[Sequence[Sighting]] = ()) -> Iterator[Moment]:
    """A moment for every picture, `(H, W, 3)` uint8. seen: the hands in each, in its pixels."""
    follower: _Follower | None = None
    sighted = iter(seen)
    for picture in pictures:
        small, scale = _smaller(picture)
        free = _free(small.shape, [(s.pixels + 0.5) * scale - 0.5 for s in next(sighted, ())])
        if follower is None:
            follower = _Follower(small.shape)
        yield follower.next(small, free)


@dataclass(eq=False)
class _Corners:
    """Those of a key picture: where they were there, and where they were seen last."""

    ids: np.ndarray
    there: np.ndarray
    last: np.ndarray


class _Follower:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.height, self.width = shape
        self.side = max(shape)
        self.count = 0  # of ids given
        self.key: np.ndarray | None = None
        self.corners = _Corners(np.empty(0, np.int64), np.empty((0, 2), np.float32), np.empty((0, 2), np.float32))

    def next(self, picture: np.ndarray, free: np.ndarray) -> Moment:
        seen = self._follow(picture, free)
        corners = self.corners
        moved = np.linalg.norm(corners.last[seen] - corners.there[seen], axis=1)
        enough = seen.any() and seen.mean() >= LEFT and np.median(moved) < FAR * self.side
        if enough:
            return Moment(corners.ids[seen], corners.last[seen].astype(float), self.width, self.height, False)
        kept, at = corners.ids[seen], corners.last[seen]
        fresh = self._fresh(picture, free, at)
        ids = np.concatenate([kept, self.count + np.arange(len(fresh))])
        self.count += len(fresh)
        at = np.concatenate([at, fresh])
        self.key, self.corners = picture, _Corners(ids, at, at.copy())
        return Moment(ids, at.astype(float), self.width, self.height, True)

    def _follow(self, picture: np.ndarray, free: np.ndarray) -> np.ndarray:
        """`(N,)` which corners are in the picture; where they are is kept. The others are looked for again, as far on
        as those that were seen have gone."""
        corners = self.corners
        if self.key is None or not len(corners.ids):
            return np.zeros(len(corners.ids), bool)
        flow = cv2.calcOpticalFlowPyrLK
        guess = WINDOW | {"flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
        there = corners.there[:, None]
        now, found, _ = flow(self.key, picture, there, corners.last[:, None].copy(), **guess)
        back, returned, _ = flow(picture, self.key, now, there.copy(), **guess)
        at = now[:, 0]
        seen = (found[:, 0] == 1) & (returned[:, 0] == 1) & (np.linalg.norm(back - there, axis=2)[:, 0] < BACK)
        column, row = np.rint(np.nan_to_num(at, nan=-1.0)).clip(-1, 1e6).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < self.width) & (row < self.height)
        seen &= inside
        seen[seen] = free[row[seen], column[seen]] > 0
        on = np.median(at[seen] - corners.last[seen], axis=0) if seen.any() else np.zeros(2, np.float32)
        corners.last = np.where(seen[:, None], at, corners.last + on).astype(np.float32)
        return seen

    def _fresh(self, picture: np.ndarray, free: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """`(M, 2)` new corners away from hands and from those that are followed."""
        wanted, apart = MOST - len(taken), self.side / 40
        if wanted <= 0:
            return np.empty((0, 2), np.float32)
        open_ = free.copy()
        for x, y in taken:
            cv2.circle(open_, (round(float(x)), round(float(y))), round(apart), 0, -1)
        found = cv2.goodFeaturesToTrack(picture, wanted, 0.004, apart, mask=open_)
        return np.empty((0, 2), np.float32) if found is None else found[:, 0].astype(np.float32)


def _smaller(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(h, w)` grey, and by what it is scaled, x and y."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    share = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small = grey if share == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return small, np.array([size[0] / width, size[1] / height])


def _free(shape: tuple[int, ...], landmarks: Sequence[np.ndarray]) -> np.ndarray:
    """`(h, w)` uint8, 255 but for hands and the arms behind them. landmarks: `(21, 2)` of each hand."""
    free = np.full(shape, 255, np.uint8)
    for marks in landmarks:
        wrist, palm = marks[hands.WRIST], marks[list(hands.PALM)]
        longest = float(np.linalg.norm(marks - wrist, axis=1).max())
        along = wrist - palm[1:].mean(0)
        length = max(float(np.linalg.norm(along)), 1e-6)
        elbow = wrist + along / length * FOREARM * longest if length > 0.2 * longest else wrist
        reach = round(min(2 * AROUND * longest, 2.0 * max(shape))) | 1
        hull = cv2.convexHull(np.concatenate([marks, [wrist]]).clip(-4e3, 4e3).astype(np.int32))
        cv2.fillConvexPoly(free, hull, 0)
        cv2.polylines(free, [hull], True, 0, reach)
        ends = [tuple(np.rint(end.clip(-4e3, 4e3)).astype(int).tolist()) for end in (wrist, elbow)]
        cv2.line(free, ends[0], ends[1], 0, reach)
    return free
