"""Human hand to robot hand with fingers: 21 landmarks a frame become joint angles.

The landmarks are put into the frame of the palm, scaled, and followed by the robot's fingertips as one of the
published objectives says (`dexterous_objectives`); every frame starts from the last one's solution and goes no farther
than the joints' limits and speeds let it. Where that is not enough the fingertips stay behind, and `residual` says so;
how much of that is for want of speed says `late`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dataengine import hands
from dataengine.errors import ConfigError, DataEngineError
from pipelines.retarget.dexterous_config import HandConfig
from pipelines.retarget.dexterous_model import HandModel
from pipelines.retarget.dexterous_objectives import Terms, dexpilot, position, vector
from pipelines.retarget.dexterous_solve import Least, least

STARTS = 6  # where the frame before tells little: so many are tried, and the best taken
FIRST_KEEP = 1e-3  # of the usual pull, where nothing came before


class Retargeted(NamedTuple):
    """joints: `(T, J)` of `DexterousHand.names` [rad, m]. residual: `(T,)` how far the fingertips are from where the
    scaled hand has its own, the mean over fingers [m]. objective: `(T,)` its value at the solution, the pulls to the
    last one and to the middle included, before the low-pass filter. late: `(T,)` how far the fingertips are from where
    joints of any speed would bring them, the mean over fingers [m]. NaN where the hand is."""

    joints: np.ndarray
    residual: np.ndarray
    objective: np.ndarray
    late: np.ndarray


class DexterousHand:
    """A robot's hand that follows a human one. names: of its joints, those that follow others included."""

    def __init__(self, config: HandConfig, *, shapes: bool = False) -> None:
        """shapes: as for `HandModel`. Raises `ConfigError` where the description and the file do not fit."""
        self.config = config
        self.model = HandModel(config, shapes=shapes)
        self.names = self.model.names

    def retarget(
        self,
        landmarks: np.ndarray,
        rotation: np.ndarray | None = None,
        *,
        fps: float = 30.0,
        start: np.ndarray | None = None,
        begins: np.ndarray | None = None,
        latest: float = np.inf,
    ) -> Retargeted:
        """Joint angles of a clip.

        landmarks: `(T, 21, 3)` [m] in any frame that does not turn within a picture, NaN where there is no hand.
        rotation: `(T, 3, 3)` of the palm in that frame, axes of `hands.RIGHT_PALM` as columns; found from the landmarks
        where it is not given. fps: frames a second. start: `(J,)` where the robot is one frame before the first; else
        it starts in the first one's pose. After frames without a hand it may have gone as far as its speed lets it.
        begins: `(T,)` bool, frames that owe nothing to those before them: each starts as a clip does. latest: a frame
        for which the fingertips would be later than this [m] owes nothing to the one before either, but goes on near
        it; its `late` still says how late they would have been.

        Raises `DataEngineError` for arrays of other shapes, `ConfigError` for a rate or start that is none.
        """
        human = self.seen(landmarks, rotation)
        if not 0 < fps < np.inf:
            raise ConfigError(f"fps: {fps} is no rate")
        anew = np.zeros(len(human), bool) if begins is None else np.asarray(begins, bool)
        if anew.shape != (len(human),):
            raise DataEngineError(f"begins of {len(human)} frames have the shape (T,), not {anew.shape}")
        wanted, terms = self.aims(human, anew)
        count, tips = len(human), len(self.config.fingertips)
        joints = np.full((count, len(self.names)), np.nan)
        residual, objective, late = np.full((3, count), np.nan)
        present = np.flatnonzero(np.isfinite(wanted).all((1, 2)))
        run = np.cumsum(anew)
        last, at = self._start(start), -1
        out = last
        for frame in present:
            late[frame] = 0.0
            if last is None or out is None or (at >= 0 and run[frame] > run[at]):
                solved = self._first(terms, frame)
                last = out = solved.x
            else:
                far = self.model.speed * (frame - at) / fps
                other = at >= 0 and bool((terms.weight[frame] != terms.weight[at]).any())
                solved, free = self._next(terms, frame, last, far, other)
                if free is not None:
                    late[frame] = _apart(self.model.points(solved.x), self.model.points(free.x), tips)
                if free is not None and late[frame] > latest:
                    solved = self._rested(terms, frame, [free.x], free.x)
                    out = solved.x
                else:
                    out = out + np.clip(self.config.alpha * (solved.x - out), -far, far)
                last = solved.x
            at = frame
            joints[frame], objective[frame] = self.model.joints(out), solved.value
            residual[frame] = _apart(self.model.points(out), wanted[frame], tips)
        return Retargeted(joints, residual, objective, late)

    def seen(self, landmarks: np.ndarray, rotation: np.ndarray | None = None) -> np.ndarray:
        """`(T, 21, 3)` from the wrist in the palm's frame; arguments as for `retarget`."""
        landmarks = np.asarray(landmarks, np.float64)
        if landmarks.ndim != 3 or landmarks.shape[1:] != (21, 3):
            raise DataEngineError(f"landmarks have the shape (T, 21, 3), not {landmarks.shape}")
        if rotation is None:
            rotation = hands.palm_rotation(landmarks, right=self.config.side == "right")
        rotation = np.asarray(rotation, np.float64)
        if rotation.shape != (len(landmarks), 3, 3):
            raise DataEngineError(f"rotations of {len(landmarks)} frames have the shape (T, 3, 3): {rotation.shape}")
        return (landmarks - landmarks[:, :1]) @ rotation

    def scale(self, human: np.ndarray) -> float:
        """Robot's lengths for those of a hand in the palm's frame, `(T, 21, 3)`; "auto" is of this clip.

        Raises `DataEngineError` where the clip does not show how long the fingers are.
        """
        if self.config.scale != "auto":
            return float(self.config.scale)
        parents = {child: parent for parent, child, _ in hands.PHALANGES}
        ratio = []
        for length, landmark in zip(self.model.lengths, self.config.landmarks, strict=False):
            along, child = 0.0, landmark
            while child:
                parent = parents.get(child, hands.WRIST)
                bones = np.linalg.norm(human[:, child] - human[:, parent], axis=1)
                along += float(np.median(bones[np.isfinite(bones)])) if np.isfinite(bones).any() else np.nan
                child = parent
            ratio.append((length, along))
        robot, person = np.sum(ratio, 0)
        if not 0 < person < np.inf:
            raise DataEngineError("the landmarks do not show how long the fingers are; give `scale` as a number")
        return float(robot / person)

    def aims(self, human: np.ndarray, begins: np.ndarray | None = None) -> tuple[np.ndarray, Terms]:
        """Where the points of the robot should be, `(T, P, 3)` in the palm's frame, and the objective that says so.
        human: as `seen` gives it; begins: as for `retarget`."""
        chosen: np.ndarray = human[:, [*self.config.landmarks, *self.config.links.values()]]
        there = np.isfinite(chosen).all((1, 2))
        scale = self.scale(human) if there.any() else 1.0
        if self.config.objective == "dexpilot":
            return scale * chosen, dexpilot(chosen, scale, self.config.huber, begins)
        make = position if self.config.objective == "position" else vector
        return scale * chosen, make(scale * chosen, self.config.huber)

    def _start(self, given: np.ndarray | None) -> np.ndarray | None:
        if given is None:
            return None
        free = self.model.free(np.asarray(given, np.float64)) if np.shape(given) == (len(self.names),) else None
        if free is None or not np.isfinite(free).all():
            raise ConfigError(f"start: {len(self.names)} joints have to be given: {', '.join(self.names)}")
        if (np.clip(free, self.model.lower - 1e-6, self.model.upper + 1e-6) != free).any():
            raise ConfigError("start: a joint is outside its limits")
        return np.clip(free, self.model.lower, self.model.upper)

    def _first(self, terms: Terms, frame: int) -> Least:
        """The pose a clip starts in."""
        return self._rested(terms, frame, self._starts, self.model.middle)

    def _rested(self, terms: Terms, frame: int, starts: Iterable[np.ndarray], near: np.ndarray) -> Least:
        """As if the robot had come to rest there, so next to nothing pulls it elsewhere: towards `near` `(N,)`."""
        model, config = self.model, self.config
        pulled = Following(model, terms, frame, near, FIRST_KEEP * config.keep, config.ease)
        best = _best(pulled, starts, model.lower, model.upper)
        at_rest = Following(model, terms, frame, best.x, config.keep, config.ease)
        return Least(best.x, at_rest.value(best.x), best.steps)

    def _next(
        self, terms: Terms, frame: int, last: np.ndarray, far: np.ndarray, other: bool
    ) -> tuple[Least, Least | None]:
        """far: how much every joint may have moved since. other: fingers begin or cease to be drawn together, which
        makes another function with valleys of its own. Where the speed holds a joint back, also what limits alone
        allow."""
        model = self.model
        lower, upper = np.maximum(model.lower, last - far), np.minimum(model.upper, last + far)
        function = Following(model, terms, frame, last, self.config.keep, self.config.ease)
        starts = [last, *self._starts] if other else [last]
        found = _best(function, starts, lower, upper)
        held = (found.x <= lower) & (lower > model.lower) | (found.x >= upper) & (upper < model.upper)
        return found, _best(function, [found.x, *starts[1:]], model.lower, model.upper) if held.any() else None

    @cached_property
    def _starts(self) -> np.ndarray:
        """`(STARTS, N)`: the middle of the ranges, and some about it."""
        model = self.model
        shares = np.random.default_rng(0).uniform(-0.6, 0.6, (STARTS, len(model.middle)))
        shares[0] = 0.0
        half = np.where(np.isfinite(model.upper - model.lower), (model.upper - model.lower) / 2, 1.0)
        return np.asarray(model.middle + shares * half)


@dataclass(slots=True)
class Following:
    """The objective of one frame as a function of the free joints."""

    model: HandModel
    terms: Terms
    frame: int
    centre: np.ndarray
    keep: float
    ease: float

    def value(self, x: np.ndarray) -> float:
        away, tense = x - self.centre, x - self.model.middle
        pulls = self.keep * float(away @ away) + self.ease * float(tense @ tense)
        return self.terms.value(self.frame, self.model.points(x)) + pulls

    def derivatives(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # The last place that was tried may have been a worse one.
        points = self.model.points(x)
        linear, angular, coupling = self.model.slopes(x)
        first, second = self.terms.derivatives(self.frame, points)
        flat = linear.reshape(-1, linear.shape[2])
        bend = flat.T @ second @ flat + self.model.curvature(first, linear, angular)
        slope = coupling.T @ (flat.T @ first.ravel())
        slope += 2 * self.keep * (x - self.centre) + 2 * self.ease * (x - self.model.middle)
        whole = coupling.T @ bend @ coupling
        whole.flat[:: len(whole) + 1] += 2 * (self.keep + self.ease)
        return slope, whole


def _best(function: Following, starts: Iterable[np.ndarray], lower: np.ndarray, upper: np.ndarray) -> Least:
    """The least of those that are found from the starts `(N,)`."""
    return min((least(function, start, lower, upper) for start in starts), key=lambda one: one.value)


def _apart(points: np.ndarray, others: np.ndarray, count: int) -> float:
    """Mean distance of the first so many of points `(P, 3)` [m]."""
    return float(np.linalg.norm((points - others)[:count], axis=1).mean())
