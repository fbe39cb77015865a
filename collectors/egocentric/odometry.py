"""How the camera moved while it filmed, from what stands still behind the hands.

Picture by picture, from the corners of `background`: a camera whose corners stay where they are has not moved at all,
and its pose is the same to the last digit. Where a turn alone explains them it is a turn, and no path is made up.
Where it does not, the essential matrix says how two pictures stand to one another, points are triangulated, and from
there on every picture is placed by the points that are known (perspective-n-point, OpenCV's) and makes them better
known: each is where the rays of all pictures that show it pass nearest.

One camera sees no size. The path's unit is the median distance of the background where it began to move; it grows apart
from that slowly, and anew where all that was known is out of sight. Turns have no such doubt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from collectors.egocentric.background import Moment
from collectors.egocentric.bundle import adjust, nearest, off_by, resect
from collectors.egocentric.camera import Camera
from collectors.egocentric.twoviews import Step, steps_between, triangulated

FEWEST = 6  # corners that a turn needs
KNOWN = 12  # known points that a pose needs
NOISE = 1.5  # [px] that a corner may be off
STILL, NEAR = 0.3, 0.8  # [px] that the median corner, and half of them, may have moved before a camera that is at rest
AGREE = 0.5  # of the known points must
LINKED = 8  # points known before that say the scale of what is found anew
COMMON = 0.5  # of the corners are in the anchor too; with fewer another picture becomes the anchor
WINDOW = 7  # key pictures that are put right together
WIDE = np.deg2rad(1.5)  # between two rays to a point whose distance is known
APART = 0.1  # of a ray, from its point: what is farther off is another point, or behind the camera
BETWEEN = 5  # pictures in between that a movement has to fit
CLEARLY = 0.8  # of the cost of the next best movement
WAITING = 300  # pictures that a movement found late is told to


class CameraMotion(NamedTuple):
    """pose: `(T, 7)` of `hands.CAMERA_POSE`, in the frame of the first picture's camera; places up to scale, their unit
    the median distance of the background. quality: `(T,)` share of the background that agrees, 0 where the pose is
    that of the picture before for want of a better one. kind: "still", "turns" or "moves". lost: pictures of quality 0.
    restarts: how often the scale had to be found anew."""

    pose: np.ndarray
    quality: np.ndarray
    kind: str
    lost: int
    restarts: int


def camera_motion(moments: Iterable[Moment], camera: Camera) -> CameraMotion:
    """Where the camera was. camera: of the video; any size of its pictures."""
    odometer = _Odometer(camera)
    for moment in moments:
        odometer.add(moment)
    same = np.array(odometer.same, int)
    places = np.array(odometer.places).reshape(-1, 3)[same]
    turns = np.array(odometer.turns).reshape(-1, 3, 3)[same]
    quality = np.array(odometer.quality)
    pose = np.zeros((len(same), 7))
    pose[:, 6] = 1
    if len(same):
        quaternions = Rotation.from_matrix(turns).as_quat()
        flips = np.sign((quaternions[1:] * quaternions[:-1]).sum(1))
        quaternions[1:] *= np.cumprod(np.where(flips == 0, 1, flips))[:, None]
        pose = np.concatenate([places, quaternions * np.where(quaternions[0, 3] < 0, -1, 1)], 1)
    kind = "moves" if (places != 0).any() else "turns" if (same != 0).any() and (turns != turns[0]).any() else "still"
    return CameraMotion(pose, quality, kind, int((quality == 0).sum()), odometer.restarts)


class _View(NamedTuple):
    """Corners of picture `at`, by their rays."""

    at: int
    ids: np.ndarray
    rays: np.ndarray


class _Odometer:
    """turns `(3, 3)` and places `(3,)` of the camera in the world, one for each picture; same: whose holds for it.
    rest: pixels of the picture since which nothing moved. known, points: ids, growing, and places in the world.
    window: key pictures that are put right together. anchor: what a picture is compared with that shows too little that
    is known. waiting: pictures since the newest of these, which are placed again by what is learnt later."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.noise = 0.0
        self.turns: list[np.ndarray] = []
        self.places: list[np.ndarray] = []
        self.same: list[int] = []
        self.quality: list[float] = []
        self.restarts = 0
        self.anchor = self.rest = _View(0, np.empty(0, np.int64), np.empty((0, 2)))
        self.window: deque[_View] = deque(maxlen=WINDOW)
        self.waiting: deque[_View] = deque(maxlen=WAITING)
        self._forget()

    def add(self, moment: Moment) -> None:
        camera = self.camera.scaled(moment.width, moment.height)
        self.noise = NOISE / camera.fx
        view = _View(len(self.same), moment.ids, camera.rays(moment.pixels))
        share = self._resting(moment) if view.at else float(len(view.ids) >= FEWEST)
        if share is not None:
            turn, place = (self.turns[-1], self.places[-1]) if view.at else (np.eye(3), np.zeros(3))
            self._keep(view, turn, place, share)
            self.same[-1] = self.same[-2] if view.at else 0
        elif (found := self._resected(view)) is not None:
            self._keep(view, *found)
            self.waiting.append(view)
            if moment.key:
                self.window.append(view)
                self._put_right(fixed=2)
        elif not self._from_anchor(view):
            self._keep(view, self.turns[-1], self.places[-1], 0.0)
            self._forget()
        self._new_anchor(view, moment)
        self._new_rest(view, moment, moved=share is None)

    def _keep(self, view: _View, turn: np.ndarray, place: np.ndarray, quality: float) -> None:
        self.turns.append(turn)
        self.places.append(place)
        self.same.append(view.at)
        self.quality.append(quality)

    def _forget(self) -> None:
        self.known, self.points = np.empty(0, np.int64), np.empty((0, 3))
        self.window.clear()

    # -- at rest ---------------------------------------------------------------------------------------------------

    def _resting(self, moment: Moment) -> float | None:
        """The share of corners that are where they were when the camera came to rest; None where it moves."""
        here, there = _both(moment.ids, self.rest.ids)
        if len(here) < FEWEST:
            return None
        moved = moment.pixels[here] - self.rest.rays[there]
        share = float((np.linalg.norm(moved, axis=1) < NEAR).mean())
        return share if share > AGREE and np.linalg.norm(np.median(moved, axis=0)) < STILL else None

    def _new_rest(self, view: _View, moment: Moment, *, moved: bool) -> None:
        if moved or not view.at:
            self.rest = view._replace(rays=moment.pixels)
        elif moment.key:
            fresh, kept = ~np.isin(view.ids, self.rest.ids), np.isin(self.rest.ids, view.ids)
            ids = np.concatenate([self.rest.ids[kept], view.ids[fresh]])
            self.rest = _View(self.rest.at, ids, np.concatenate([self.rest.rays[kept], moment.pixels[fresh]]))

    # -- by known points -------------------------------------------------------------------------------------------

    def _resected(self, view: _View, start: int = -1) -> tuple[np.ndarray, np.ndarray, float] | None:
        """Turn, place and quality of the camera where it sees the known points as it does. start: the picture whose
        pose is tried first."""
        here, there = _both(view.ids, self.known)
        if len(here) < KNOWN:
            return None
        turn, place = self.turns[start], self.places[start]
        found = resect(self.points[there], view.rays[here], turn, place, self.noise)
        share = float((found[2] < self.noise).mean()) if found is not None else 0.0
        return (found[0], found[1], share) if found is not None and share >= AGREE else None

    def _put_right(self, fixed: int) -> None:
        """Points and poses of the window, but for those of its first pictures; then the pictures that wait."""
        views = list(self.window)
        ids = np.unique(np.concatenate([view.ids for view in views]))
        rays: np.ndarray = np.full((len(views), len(ids), 2), np.nan)
        for row, view in zip(rays, views, strict=True):
            row[np.searchsorted(ids, view.ids)] = view.rays
        several = np.isfinite(rays[..., 0]).sum(0) > 1
        ids, rays = ids[several], rays[:, several]
        turns, places = (np.stack([kept[view.at] for view in views]) for kept in (self.turns, self.places))
        points, wide = nearest(rays, turns, places)
        near, there = _both(ids, self.known)
        points[near] = self.points[there]
        good = (wide > WIDE) & (np.nanmax(off_by(rays, turns, places, points), axis=0) < APART)
        if good.sum() < KNOWN:
            return
        made = adjust(rays[:, good], turns, places, points[good], self.noise, min(fixed, len(views) - 1))
        fine = np.nanmax(made.off, axis=0) < 2 * self.noise
        self.known, self.points = ids[good][fine], made.points[fine]
        for view, turn, place in zip(views, made.turns, made.places, strict=True):
            self.turns[view.at], self.places[view.at] = turn, place
        for view in self.waiting:
            self._placed_again(view)
        self.waiting.clear()

    def _placed_again(self, view: _View) -> bool:
        found = self._resected(view, view.at)
        if found is not None:
            self.turns[view.at], self.places[view.at], self.quality[view.at] = found
        return found is not None

    def _some_waiting(self) -> list[_View]:
        """Spread over those that wait."""
        spread = np.linspace(0, len(self.waiting), BETWEEN + 1)[:-1].astype(int)
        return [self.waiting[n] for n in np.unique(spread)] if self.waiting else []

    # -- from another picture --------------------------------------------------------------------------------------

    def _from_anchor(self, view: _View) -> bool:
        """Place the camera by how the anchor's picture and this one stand to one another."""
        here, there = _both(view.ids, self.anchor.ids)
        if len(here) < FEWEST:
            return False
        a, b = self.anchor.rays[there], view.rays[here]
        steps = steps_between(a, b, self.noise)
        if not steps:
            return False
        step = self._likeliest(steps, a, self.anchor.ids[there], b)
        turn, place = self.turns[self.anchor.at] @ step.turn.T, self.places[self.anchor.at]
        quality = float(step.agree.mean())
        if not step.shift.any():
            self._keep(view, turn, place, quality)
            self.waiting.append(view)
            return True
        points = triangulated(a, b, step.turn, step.shift)
        scale = self._scale(view.ids[here], points, step)
        self._keep(view, turn, place - scale * turn @ step.shift, quality)
        self._forget()
        self.known = view.ids[here][step.agree]
        self.points = scale * points[step.agree] @ self.turns[self.anchor.at].T + place
        self.window.append(self.anchor)
        for between in self._some_waiting():
            if self._placed_again(between):
                self.window.append(between)
        self.window.append(view)
        self._put_right(fixed=1)
        return True

    def _likeliest(self, steps: list[Step], a: np.ndarray, ids: np.ndarray, b: np.ndarray) -> Step:
        """Of the movements that two pictures allow the one that those in between allow too. Where that is not clear yet
        it is a turn, for now."""
        if len(steps) == 1:
            return steps[0]
        some, cost = self._some_waiting(), []
        for step in steps:
            points = triangulated(a, b, step.turn, step.shift)[step.agree]
            off = [np.full(1, self.noise)]
            for view in some:
                here, there = _both(view.ids, ids[step.agree])
                turn = self.turns[self.anchor.at].T @ self.turns[view.at]
                if len(here) >= KNOWN:
                    found = resect(points[there], view.rays[here], turn, np.zeros(3), self.noise)
                    off.append(found[2] if found is not None else np.full(len(here), 10 * self.noise))
            cost.append(float(np.minimum(np.concatenate(off), 10 * self.noise).mean()))
        order = np.argsort(cost)
        best = steps[order[0]]
        return best if cost[order[0]] < CLEARLY * cost[order[1]] else best._replace(shift=np.zeros(3))

    def _scale(self, ids: np.ndarray, points: np.ndarray, step: Step) -> float:
        """Of a step of length one, in whose first camera's frame the points are: that of the points known before, or
        one that makes the median distance one."""
        distance = np.linalg.norm(points, axis=1)
        here, there = _both(ids, self.known)
        usable = step.agree[here]
        if usable.sum() >= LINKED:
            true = np.linalg.norm(self.points[there[usable]] - self.places[self.anchor.at], axis=1)
            return float(np.median(true / distance[here[usable]]))
        self.restarts += any(place.any() for place in self.places)
        return float(1 / np.median(distance[step.agree]))

    def _new_anchor(self, view: _View, moment: Moment) -> None:
        lost = self.quality[-1] == 0
        known = len(_both(view.ids, self.known)[0]) >= KNOWN
        if not view.at or lost or (moment.key and (known or np.isin(view.ids, self.anchor.ids).mean() < COMMON)):
            self.anchor = view
            self.waiting.clear()


def _both(ids: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in each those are that are in both."""
    return np.intersect1d(ids, others, assume_unique=True, return_indices=True)[1:]
