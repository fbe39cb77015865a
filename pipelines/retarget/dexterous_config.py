"""What has to be said of a robot's hand so that a human hand can be put onto it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from dataengine import hands
from dataengine.errors import ConfigError
from dataengine.guard.text import read_yaml

Objective = Literal["position", "vector", "dexpilot"]
Vector = tuple[float, float, float]
FARTHEST = 1.0  # [m] from the palm: what is farther was meant in mm
ASTRAY = 1e-3  # [m] by which fingertips that lie where they cannot are told


@dataclass(frozen=True)
class HandConfig:
    """A hand with fingers, described by a file, and how it shall follow.

    model: the file, MJCF or URDF; meshes stand where it says. palm: body or site that stands for the wrist; it does not
    move against the hand's base. fingertips: bodies or sites, the thumb's first, then in order to the little finger's.
    landmarks: by fingertip, which of the 21 it follows; by default the tips of the first fingers.
    links: further bodies or sites and the landmark each follows (position and vector objectives).
    fingers, out: in the palm's frame, where the fingers point when they are straight, and the normal that comes out of
    the palm. origin: in the palm's frame, where the human wrist lies [m].
    side: whose hand it is like. joints: those that are moved, by default all that move a fingertip against the palm.
    objective: see `dexterous_objectives`. scale: robot's lengths for those of the human hand, or "auto": as the
    fingers' lengths, wrist to tip along the bones. speed: the most of every joint, or by joint [rad/s, m/s]; None: 6,
    or less where a URDF says so.
    alpha: share of the way to the new solution that is taken in each frame (low-pass); 1 is no filter.
    huber: from where on the objective grows linearly [m], None as published. keep: weight of staying at the last
    solution, ease: of the middle of every joint's range [1/rad²]. Without ease, as AnyTeleop has it, what several poses
    of a finger would do for drifts until a joint is at its limit and only the other pose would reach.
    """

    model: str
    palm: str
    fingertips: tuple[str, ...]
    landmarks: tuple[int, ...] = ()
    links: Mapping[str, int] = field(default_factory=dict)
    fingers: Vector = (0.0, 1.0, 0.0)
    out: Vector = (0.0, 0.0, 1.0)
    origin: Vector = (0.0, 0.0, 0.0)
    side: str = "right"
    joints: tuple[str, ...] = ()
    objective: Objective = "vector"
    scale: float | Literal["auto"] = "auto"
    speed: float | Mapping[str, float] | None = None
    alpha: float = 1.0
    huber: float | None = None
    keep: float = 4e-3
    ease: float = 1e-4

    def __post_init__(self) -> None:
        if not 2 <= len(self.fingertips) <= 5 or len(set(self.fingertips)) < len(self.fingertips):
            raise ConfigError(f"fingertips: a hand has two to five, each once, not {', '.join(self.fingertips) or '-'}")
        if not self.landmarks:
            object.__setattr__(self, "landmarks", hands.TIPS[: len(self.fingertips)])
        if len(self.landmarks) != len(self.fingertips):
            raise ConfigError(
                f"landmarks: {len(self.landmarks)} of them for {len(self.fingertips)} fingertips; one for each"
            )
        if wrong := [n for n in (*self.landmarks, *self.links.values()) if not 0 < n < len(hands.LANDMARKS)]:
            raise ConfigError(f"landmarks: {wrong[0]} is none; they are 1 ({hands.LANDMARKS[1]}) to 20 (little_tip)")
        if self.objective not in get_args(Objective):
            raise ConfigError(f"objective: {self.objective!r} is none of {', '.join(get_args(Objective))}")
        if self.objective == "dexpilot" and self.links:
            raise ConfigError("links: the dexpilot objective looks at fingertips alone; use vector, or leave them out")
        if self.side not in hands.SIDES:
            raise ConfigError(f"side: {self.side!r} is none of {', '.join(hands.SIDES)}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        along, across = math.hypot(*self.fingers), math.hypot(*self.out)
        parallel = abs(sum(a * b for a, b in zip(self.fingers, self.out, strict=True)))
        if not (0 < along < math.inf and 0 < across < math.inf and parallel < 1e-3 * along * across):
            raise ConfigError(f"fingers and out: {self.fingers} and {self.out} are not two directions at right angles")
        if not math.hypot(*self.origin) < FARTHEST:
            raise ConfigError(f"origin: {self.origin} is no place in a hand; it is in metres")
        if self.scale != "auto" and not 0.1 <= self.scale <= 10:
            raise ConfigError(f'scale: {self.scale} is neither "auto" nor between 0.1 and 10')
        speeds = self.speed.values() if isinstance(self.speed, Mapping) else () if self.speed is None else (self.speed,)
        if not all(0 < speed < math.inf for speed in speeds):
            raise ConfigError(f"speed: {self.speed} is not above zero for every joint")
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"alpha: {self.alpha} is not above 0 and at most 1 (no filter)")
        if self.huber is not None and not 0 < self.huber < math.inf:
            raise ConfigError(f"huber: {self.huber} m is not above zero")
        if not 0 < self.keep < math.inf:
            raise ConfigError(f"keep: {self.keep} is not above zero; without it redundant joints jump")
        if not 0 <= self.ease < math.inf:
            raise ConfigError(f"ease: {self.ease} is below zero")

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Of what a YAML file says; lists become tuples. Raises `ConfigError` for what is unknown, absent or wrong."""
        known = [one.name for one in fields(cls)]
        if unknown := [str(name) for name in given if name not in known]:
            raise ConfigError(f"hand: there is no {', '.join(unknown)}. Known: {', '.join(known)}")
        if absent := [name for name in ("model", "palm", "fingertips") if name not in given]:
            raise ConfigError(f"hand: {', '.join(absent)} has to be given")
        try:
            return cls(**{name: _typed(name, value) for name, value in given.items()})
        except (TypeError, ValueError) as wrong:
            raise ConfigError(f"hand: {wrong}") from wrong

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Of a file; the model's own path is relative to it."""
        given = read_yaml(path)
        if not isinstance(given, dict):
            raise ConfigError(f"{path}: a hand is described by names and values, such as `palm: base_link`")
        if isinstance(given.get("model"), str):
            given["model"] = str(Path(path).parent / given["model"])
        return cls.from_dict(given)


def check_directions(config: HandConfig, *poses: np.ndarray) -> None:
    """poses: points `(P, 3)` of the robot as `HandModel` gives them, as it stands at first and elsewhere. Raises
    `ConfigError` where the fingers lie, in all of them, where no hand has them."""
    count, way = len(config.fingertips), 1.0 if config.side == "right" else -1.0
    if list(config.landmarks) != sorted(config.landmarks):
        return
    if all(points[1:count, 1].mean() < -ASTRAY for points in poses):
        raise ConfigError(
            f"fingers: {config.fingers} points away from the fingertips; it is where the fingers point in the axes of "
            f"{config.palm!r} itself"
        )
    if count > 2 and all(way * (points[1, 0] - points[count - 1, 0]) < -ASTRAY for points in poses):
        raise ConfigError(
            f"out: with fingers {config.fingers} and out {config.out}, {config.fingertips[1]!r} is not on the thumb's "
            f"side of a {config.side} hand: out is the other way, the fingertips are in another order, or it is a hand "
            "of the other side"
        )


def _typed(name: str, value: Any) -> Any:
    """A value as its field has it; `ValueError` says which is wrong."""
    try:
        if name in ("fingertips", "joints"):
            return tuple(_word(one) for one in _listed(value))
        if name == "landmarks":
            return tuple(_whole(one) for one in _listed(value))
        if name == "links":
            return {_word(link): _whole(landmark) for link, landmark in dict(value).items()}
        if name in ("fingers", "out", "origin"):
            x, y, z = (float(one) for one in _listed(value))
            return x, y, z
        if name == "speed" and isinstance(value, Mapping):
            return {_word(joint): float(speed) for joint, speed in value.items()}
        if name in ("speed", "huber") and value is None:
            return None
        if name in ("speed", "huber", "alpha", "keep", "ease") or (name == "scale" and value != "auto"):
            return float(value)
        return _word(value)
    except (TypeError, ValueError) as wrong:
        raise ValueError(f"{name}: {value!r} cannot be used: {wrong}") from wrong


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError("it has to be a list")
    return list(value)


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name has to be text")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a landmark is a whole number")
    return value
