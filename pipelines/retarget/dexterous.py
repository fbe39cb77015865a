"""Human hand to robot hand with fingers: 21 landmarks a frame become joint angles.

The landmarks are put into the frame of the palm, scaled, and followed by the robot's fingertips as one of the
published objectives says (`dexterous_objectives`); every frame starts from the last one's solution and goes no farther
than the joints' limits and speeds let it. Where that is not enough the fingertips stay behind, and `residual` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dataengine import hands
from dataengine.errors import ConfigError, DataEngineError
from pipelines.retarget.dexterous_config import HandConfig
from pipelines.retarget.dexterous_model import HandModel
from pipelines.retarget.dexterous_objectives import Terms, dexpilot, position, vector
from pipelines.retarget.dexterous_solve import Least, least

STARTS = 6  # the first frame has no frame before it: so many are tried, and the best taken
FIRST_KEEP = 1e-3  # of the usual pull, there to the middle of the ranges


class Retargeted(NamedTuple):
    """joints: `(T, J)` of `DexterousHand.names` [rad, m]. residual: `(T,)` how far the fingertips are from where the
    scaled hand has its own, the mean over fingers [m]. objective: `(T,)` its value at the solution, the pulls to the
    last one and to the middle included, before the low-pass filter. NaN where the hand is."""

    joints: np.ndarray
    residual: np.ndarray
    objective: np.ndarray


class DexterousHand:
    """A robot's hand that follows a human one. names: of its joints, those that follow others included."""

    def __init__(self, config: HandConfig) -> None:
        """Raises `ConfigError` where the description and the file do not fit."""
        self.config = config
        self.model = HandModel(config)
        self.names = self.model.names

    def retarget(
        self,
        landmarks: np.ndarray,
        rotation: np.ndarray | None = None,
        *,
        fps: float = 30.0,
        start: np.ndarray | None = None,
    ) -> Retargeted:
        """Joint angles of a clip.

        landmarks: `(T, 21, 3)` [m] in any frame that does not turn within a picture, NaN where there is no hand.
        rotation: `(T, 3, 3)` of the palm in that frame, axes of `hands.RIGHT_PALM` as columns; found from the landmarks
        where it is not given. fps: frames a second. start: `(J,)` where the robot is one frame before the first; else
        it starts in the first one's pose. After frames without a hand it may have gone as far as its speed lets it.

        Raises `DataEngineError` for arrays of other shapes, `ConfigError` for a rate or start that is none.
        """
        human = self.seen(landmarks, rotation)
        if not 0 < fps < np.inf:
            raise ConfigError(f"fps: {fps} is no rate")
        wanted, terms = self.aims(human)
        count = len(human)
        joints = np.full((count, len(self.names)), np.nan)
        residual, objective = np.full(count, np.nan), np.full(count, np.nan)
        present = np.flatnonzero(np.isfinite(wanted).all((1, 2)))
        last, at = self._start(start), -1
        out = last
        for frame in present:
            if last is None or out is None:
                solved = self._first(terms, frame)
                last = out = solved.x
            else:
                far = self.model.speed * (frame - at) / fps
                solved = self._next(terms, frame, last, far)
                last = solved.x
                out = out + np.clip(self.config.alpha * (last - out), -far, far)
            at = frame
            joints[frame], objective[frame] = self.model.joints(out), solved.value
            apart = self.model.points(out) - wanted[frame]
            residual[frame] = np.linalg.norm(apart[: len(self.config.fingertips)], axis=1).mean()
        return Retargeted(joints, residual, objective)

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

    def aims(self, human: np.ndarray) -> tuple[np.ndarray, Terms]:
        """Where the points of the robot should be, `(T, P, 3)` in the palm's frame, and the objective that says so.
        human: as `seen` gives it."""
        chosen: np.ndarray = human[:, [*self.config.landmarks, *self.config.links.values()]]
        there = np.isfinite(chosen).all((1, 2))
        scale = self.scale(human) if there.any() else 1.0
        if self.config.objective == "dexpilot":
            return scale * chosen, dexpilot(chosen, scale, self.config.huber)
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
        """The pose a clip starts in: as if the robot had come to rest there, so next to nothing pulls it elsewhere."""
        model = self.model
        pulled = Following(model, terms, frame, model.middle, FIRST_KEEP * self.config.keep, self.config.ease)
        shares = np.random.default_rng(0).uniform(-0.6, 0.6, (STARTS, len(model.middle)))
        shares[0] = 0.0
        half = np.where(np.isfinite(model.upper - model.lower), (model.upper - model.lower) / 2, 1.0)
        found = [least(pulled, model.middle + share * half, model.lower, model.upper) for share in shares]
        best = min(found, key=lambda one: one.value)
        at_rest = Following(model, terms, frame, best.x, self.config.keep, self.config.ease)
        return Least(best.x, at_rest.value(best.x), best.steps)

    def _next(self, terms: Terms, frame: int, last: np.ndarray, far: np.ndarray) -> Least:
        """far: how much every joint may have moved since."""
        lower, upper = np.maximum(self.model.lower, last - far), np.minimum(self.model.upper, last + far)
        return least(Following(self.model, terms, frame, last, self.config.keep, self.config.ease), last, lower, upper)


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
