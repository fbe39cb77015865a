"""Several embodiments in one space: state and action of chosen elements, cameras of common names and size.

An arm, another arm and a person whose hand was read as a gripper can teach one policy where their numbers mean the
same: a tool's pose in one frame and an opening. This stage brings a dataset to such a space, so that it merges with
others and is scaled with them; who acted stays with every episode (`meta.embodiment`), and the policy's `shares` say
how much of what is learnt each of them gives. Human video as one more embodiment: Kareer et al. 2024 ("EgoMimic",
arXiv:2410.24221).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dataengine.episode import Clip, Episode, Feature, Step
from dataengine.errors import ConfigError, EpisodeError
from dataengine.plugins import Drop, params_of
from pipelines.resized import Resized

STATE, ACTION = "observation.state", "action"
EULER = ("ee.x", "ee.y", "ee.z", "ee.roll", "ee.pitch", "ee.yaw", "gripper.pos")
ANGLES = "extrinsic xyz angles relative to the tool pointing down"  # what `EULER` means here and in the embedded world


@dataclass(frozen=True)
class CommonSpace:
    """Only what datasets of several embodiments have in common.

    elements: by name, that state and action shall have, in this order. rename: an element's own name and its common
    one. cameras: those that stay by their common names, each with what it may be called in a dataset, of which the
    first that is there is taken; all stay as they are by default. size: of their pictures, height and width [pixels].
    frame, rotation: what the features must say of poses, such as `base` and `quaternion_xyzw`, or nothing to take them
    as they are; where a dataset does not say it, that is noted as assumed. Actions must be absolute.
    """

    elements: tuple[str, ...] = EULER
    rename: Mapping[str, str] | None = None
    cameras: Mapping[str, Sequence[str]] | None = None
    size: tuple[int, int] | None = None
    frame: str | None = "base"
    rotation: str | None = ANGLES

    name: ClassVar[str] = "common_space"
    version: ClassVar[str] = "2"
    reads: ClassVar[tuple[str, ...]] = (STATE, ACTION, "clips")

    def __post_init__(self) -> None:
        if not self.elements or len(set(self.elements)) < len(self.elements):
            raise ConfigError("common_space.elements: at least one name, and none of them twice")
        if taken := {STATE, ACTION} & set(self.cameras or {}):
            raise ConfigError(f"common_space.cameras: {sorted(taken)[0]} is the name of a column, not of a camera")
        for name, given in (self.cameras or {}).items():
            if isinstance(given, str) or not given:
                raise ConfigError(f"common_space.cameras: {name} has a list of the cameras it may be, not {given!r}")
        if self.size is not None and not (len(self.size) == 2 and all(16 <= side <= 4096 for side in self.size)):
            raise ConfigError(f"common_space.size: height and width are 16 to 4096 pixels, not {self.size}")

    def run(self, episodes: Iterator[Episode]) -> Iterator[Episode | Drop]:
        for episode in episodes:
            yield self._brought(episode)

    def _brought(self, episode: Episode) -> Episode:
        columns = {key: self._chosen(episode, key) for key in (STATE, ACTION)}
        if (kind := columns[ACTION][0].info.get("kind", "absolute")) != "absolute":
            raise EpisodeError(
                episode.id, f"is {kind}; a common space wants where to be, not the way there", feature=ACTION
            )
        called = {key: self._camera(episode, key, names) for key, names in (self.cameras or {}).items()}
        if self.cameras is None:
            called = {key: key for key in episode.clips}
        pictures = {new: self._sized(episode.features[key], episode.clips[key]) for new, key in called.items()}
        made = replace(
            episode,
            features={key: feature for key, (feature, _) in (columns | pictures).items()},
            frames={key: column for key, (_, column) in columns.items()},
            clips={key: clip for key, (_, clip) in pictures.items()},
        )
        assumed = tuple(self._assumed({key: episode.features[key] for key in (STATE, ACTION)}))
        return made.with_step(Step(self.name, self.version, params_of(self), assumed)).check()

    @staticmethod
    def _camera(episode: Episode, name: str, among: Sequence[str]) -> str:
        for key in among:
            if key in episode.clips:
                return key
        there = ", ".join(episode.clips) or "none"
        raise EpisodeError(episode.id, f"no camera of {', '.join(among)}; there are {there}", feature=name)

    def _chosen(self, episode: Episode, key: str) -> tuple[Feature, np.ndarray]:
        """The elements of a column, `(T, n)` float32, and what describes them."""
        feature = episode.features.get(key)
        if feature is None or feature.names is None or len(feature.shape) != 1:
            raise EpisodeError(episode.id, "is missing or has no names of elements to choose by", feature=key)
        named = {(self.rename or {}).get(name, name): place for place, name in enumerate(feature.names)}
        if len(named) < len(feature.names):
            raise EpisodeError(episode.id, "has two elements of one name after rename", feature=key)
        if lacking := [name for name in self.elements if name not in named]:
            known = ", ".join(feature.names)
            raise EpisodeError(
                episode.id, f"has no {', '.join(lacking)}; it has {known} (rename says what is what)", feature=key
            )
        self._means(episode, key, feature)
        places = [named[name] for name in self.elements]
        column = np.asarray(episode.frames[key], np.float32).reshape(episode.length, -1)[:, places]
        unit = tuple(feature.unit[i] for i in places) if isinstance(feature.unit, tuple) else feature.unit
        info = {what: said for what, said in feature.info.items() if what != "rotations"}  # their places have changed
        return Feature("float32", (len(places),), self.elements, feature.role, unit, info=info), column

    def _means(self, episode: Episode, key: str, feature: Feature) -> None:
        """Raises `EpisodeError` where poses are written otherwise."""
        for what, wanted in self._wanted.items():
            if other := _said(feature, what) - {wanted}:
                raise EpisodeError(
                    episode.id,
                    f"has the {what} {sorted(other)[0]!r}, not {wanted!r} (`{what}` says which is common)",
                    feature=key,
                )

    def _assumed(self, features: Mapping[str, Feature]) -> Iterator[str]:
        for what, wanted in self._wanted.items():
            if silent := [key for key, feature in features.items() if not _said(feature, what)]:
                yield f"{what} of {' and '.join(silent)} = {wanted!r}: the dataset does not say it"

    @property
    def _wanted(self) -> dict[str, str]:
        both = {"frame": self.frame, "rotation": self.rotation}
        return {what: wanted for what, wanted in both.items() if wanted is not None}

    def _sized(self, feature: Feature, clip: Clip) -> tuple[Feature, Clip]:
        if self.size is None or feature.shape[:2] == self.size or feature.role == "depth":
            return feature, clip
        return replace(feature, shape=(*self.size, 3), info={}), Resized(clip, self.size)


def _said(feature: Feature, what: str) -> set[str]:
    """The frames, or ways to write rotations, that a feature names."""
    spans = [span.get("convention") for span in feature.info.get("rotations", ())] if what == "rotation" else []
    return {str(said) for said in (feature.info.get(what), *spans) if said is not None}
