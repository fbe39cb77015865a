"""The retargeted robot drawn over the video it was retargeted from: to judge it by, and as pictures to train on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dataengine import hands
from dataengine.episode import Episode, Feature, Step, derived_id, hash_array
from dataengine.errors import ConfigError, EpisodeError
from dataengine.lens import Lens
from dataengine.plugins import Drop, build
from pipelines.egocentric.lens import lens_of
from pipelines.egocentric.overlay import ADDED, OverVideo, filmed
from pipelines.egocentric.told import arms_of, cameras, told
from pipelines.retarget.arm import Arm

if TYPE_CHECKING:
    from pipelines.retarget.robot import RobotModel


@dataclass(frozen=True)
class RobotDrawn(OverVideo):
    """The episode's camera with its robot over it. model: the file of the robot that the stage `retarget` was given;
    None where it wrote poses, for which a plain gripper is drawn. height: of the pictures [px], even. opacity: of the
    robot, 0 to 1. background: the video; without it the robot stands before black."""

    episode: Episode
    model: Path | None = None
    height: int = 360  # type: ignore[assignment]
    opacity: float = 1.0
    background: bool = True

    @property
    def robot(self) -> RobotModel | None:
        """Raises `ConfigError` where a model is there and no arm, or an arm and no model."""
        return robot_of(self.episode, self.model)

    @property
    def lens(self) -> Lens:
        """Raises `EpisodeError` where the episode does not say it."""
        found = lens_of(self.episode, self.width, self.height)
        if found is None:
            raise EpisodeError(self.episode.id, "its meta says no camera, so nobody knows where the robot is seen")
        return found

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        last = self.length if stop is None else min(stop, self.length)
        yield from self._drawn(range(start, last), self.source.frames(start, last) if self.background else iter(()))

    def some(self, at: Sequence[int]) -> Iterator[np.ndarray]:
        """These frames: with one painter, which takes longer to make than a picture."""
        yield from self._drawn(at, map(self.source.frame, at))

    def _drawn(self, at: Sequence[int], pictures: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        from PIL import Image

        from pipelines.egocentric.painter import Painter, over

        robot, views = self.robot, cameras(self.episode)
        does = told(self.episode, robot)
        with Painter(self.lens, robot, tuple(does)) as painter:
            for frame in at:
                if self.background:
                    beneath = np.asarray(Image.fromarray(next(pictures)).resize((self.width, self.height)))
                else:
                    beneath = np.zeros((self.height, self.width, 3), np.uint8)
                view = views if len(views.point) == 1 else views.cut(frame, frame + 1)
                yield over(beneath, painter.paint(does, frame, view), self.opacity)

    @property
    def fingerprint(self) -> str:
        state = hash_array(self.episode.frames["observation.state"])
        lens, model = asdict(self.lens), _content(self.model) if self.model else ""
        told = [vars(step) for step in self.episode.meta.lineage if step.name == "retarget"]
        said = [self.source.fingerprint, state, lens, model, told, self.height, self.opacity, self.background]
        return derived_id(self.episode.id, f"robot:{json.dumps(said, sort_keys=True, default=str)}")


@dataclass(frozen=True)
class RobotOverlay:
    """Adds pictures `observation.images.robot_overlay`: the video with the robot where the hand is.

    model: the file of the robot that the stage `retarget` was given, where it was given one. height: of the pictures
    [px], as the video's where it is None. opacity: of the robot, 0 to 1.
    """

    model: Path | None = None
    height: int | None = None
    opacity: float = 1.0

    name: ClassVar[str] = "robot_overlay"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("observation.state", hands.CAMERA_POSE, "label:retarget_cuts", "clips")

    def __post_init__(self) -> None:
        if not 0 < self.opacity <= 1:
            raise ConfigError(f"robot_overlay.opacity: {self.opacity} is not above 0, at most 1")
        if self.height is not None and not (64 <= self.height <= 2160 and self.height % 2 == 0):
            raise ConfigError(f"robot_overlay.height: {self.height} is even, 64 to 2160")
        if self.model is not None and not self.model.is_file():
            raise ConfigError(f"robot_overlay.model: there is no file {self.model}")

    def run(self, episodes: Iterator[Episode]) -> Iterator[Episode | Drop]:
        for episode in episodes:
            source = filmed(episode)
            height = self.height or source.height - source.height % 2
            clip = RobotDrawn(episode, self.model, height, self.opacity)
            _ = clip.lens, clip.robot, cameras(episode), told(episode, clip.robot)  # what is wrong is said here
            shape = (clip.height, clip.width, 3)
            feature = Feature("video", shape, ("height", "width", "channels"), "image")
            step = Step(self.name, self.version, {"height": height, "opacity": self.opacity})
            yield replace(
                episode, features={**episode.features, ADDED: feature}, clips={**episode.clips, ADDED: clip}
            ).with_step(step)


def robot_of(episode: Episode, model: Path | None) -> RobotModel | None:
    """The robot whose joints the episode holds; None where it holds poses."""
    arms = arms_of(episode)
    if not arms:
        return None
    if model is None:
        said = next((s.params.get("model") for s in episode.meta.lineage[::-1] if s.name == "retarget"), None)
        raise ConfigError(f"episode {episode.id} holds joints of a robot; its model is needed to draw it: {said}")
    return _loaded(model, json.dumps({side: asdict(arm) for side, arm in arms.items()}, sort_keys=True))


@lru_cache(maxsize=4)
def _loaded(path: Path, arms: str) -> RobotModel:
    from pipelines.retarget.robot import RobotModel

    return RobotModel(path, {side: build(Arm, arm, "an arm", "arm") for side, arm in json.loads(arms).items()})


@lru_cache(maxsize=4)
def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
