"""A robot's hand with fingers as the stage has it: where its palm is carried, and its joints over an episode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataengine import hands
from dataengine.errors import ConfigError, DataEngineError, EpisodeError
from pipelines.retarget.dexterous import DexterousHand
from pipelines.retarget.dexterous_config import HandConfig
from pipelines.retarget.hand import Hand, Poses


class Fingered(NamedTuple):
    """joints: `(T, N)` of `Fingers.names`. residual: `(T,)` how far the fingertips are from where the scaled hand has
    them. late: `(T,)` how far they would be behind if the frame owed something to the one before, for want of speed;
    both the mean over fingers [m], NaN as the joints where a frame was not wanted. scale: the robot's lengths for those
    of the hand. touches: by frame in which fingers reach too deep into one another or into the palm, how deep [m] and
    what in what."""

    joints: np.ndarray
    residual: np.ndarray
    late: np.ndarray
    scale: float
    touches: Mapping[int, tuple[float, str]]


class Fingers:
    """A hand of one side. names, units: of the joints that do not follow others; only these are told.

    palm: one pose, of the robot's palm in the frame of the human one.
    """

    def __init__(self, side: str, model: Path, given: Mapping[str, Any], depth: float | None) -> None:
        """given: fields of `HandConfig` but for the model. depth: how deep fingers may reach into one another [m],
        None: that is not looked at. Raises `ConfigError` where they do not fit the file."""
        if other := given.keys() & {"model", "side"}:
            raise ConfigError(f"retarget.robot_hand: {min(other)} does not belong there; give it to retarget itself")
        self.side, self.depth, self._file = side, depth, model.name
        config = HandConfig.from_dict({**given, "model": str(model), "side": side})
        self.robot = DexterousHand(config, shapes=depth is not None)
        self.names, self.units = self.robot.model.free_names, self.robot.model.free_units
        point, turn = self.robot.model.palm
        self.palm = Poses(point[None], turn[None])

    def follow(
        self, hand: Hand, wanted: np.ndarray, begins: np.ndarray, fps: float, latest: float, episode: str
    ) -> Fingered:
        """wanted: `(T,)` bool, other frames are not looked at. begins: `(T,)` bool, frames that owe nothing to those
        before, as the first after a frame that is not wanted. latest: [m], see `DexterousHand.retarget`.

        Raises `EpisodeError` where the landmarks do not show how long the fingers are.
        """
        landmarks = np.where(wanted[:, None, None], hand.landmarks, np.nan)
        anew = begins | (wanted & ~np.concatenate([[False], wanted[:-1]]))
        try:
            found = self.robot.retarget(landmarks, hand.wrist.turn, fps=fps, begins=anew, latest=latest)
            scale = self.robot.scale(self.robot.seen(landmarks, hand.wrist.turn)) if wanted.any() else 1.0
        except DataEngineError as problem:
            key = hands.column(self.side, "landmarks")
            raise EpisodeError(episode, str(problem), feature=key) from problem
        robot, touches = self.robot.model, {}
        if self.depth is not None:
            for t in np.flatnonzero(np.isfinite(found.residual)).tolist():
                if (deepest := robot.deepest(found.joints[t], self.depth)) is not None:
                    touches[t] = deepest
        return Fingered(robot.free(found.joints), found.residual, found.late, scale, touches)

    def all_joints(self, fingered: Fingered) -> dict[str, np.ndarray]:
        """By name `(T,)`, those that follow others included; NaN where a frame was not wanted."""
        return dict(zip(self.robot.names, self.robot.model.joints(fingered.joints).T, strict=True))

    def assumed(self) -> list[str]:
        """What is taken for true of its speeds and collisions, in words."""
        found, robot = [], self.robot.model
        if self.robot.config.speed is None:
            most = ", ".join(f"{speed:g}" for speed in robot.speed)
            found.append(f"{self.side} finger joints do at most {most} [rad/s, m/s]")
        if self.depth is None:
            return [*found, f"{self.side} fingers may reach into one another"]
        if not robot.collides:
            return [*found, f"nothing of the {self.side} fingers can collide in {self._file}"]
        return found + [f"{pair} touch in any posture, which is no collision" for pair in robot.contacts.always]


def fingers_of(
    given: Mapping[str, Any], models: Mapping[str, Path | None], sides: tuple[str, ...], depth: float | None
) -> dict[str, Fingers]:
    """By side. given: a description, or for both hands one under `left` and one under `right`. models: by side.
    depth: see `Fingers`.

    Raises `ConfigError` where one is lacking or does not fit its file.
    """
    each: Mapping[str, Any] = given if len(sides) > 1 else {sides[0]: given}
    if set(each) != set(sides) or not all(isinstance(one, Mapping) for one in each.values()):
        raise ConfigError(
            f"retarget.robot_hand: both hands need 'left' and 'right', each with its palm and fingertips, not "
            f"{', '.join(map(str, each))}"
        )
    found = {}
    for side in sides:
        model = models[side]
        if model is None:
            raise ConfigError(f"retarget: the file of the {side} hand is not given; it is {side}_model, or model")
        found[side] = Fingers(side, model, each[side], depth)
    return found
