"""What a policy is besides its weights: what it looks at, what its numbers mean, how they are scaled, what it can
read. Kept as JSON beside the weights; training and inference build the same model from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dataengine.errors import ConfigError
from pipelines.policy.actions import ActionSpace, understand
from pipelines.policy.config import PolicyConfig
from pipelines.policy.data import STATE, Frames
from pipelines.policy.text import Vocabulary

FORMAT = 1


class Scale(NamedTuple):
    """Mean and standard deviation of each number, `(D,)` float64; 1 where a number never changes."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Scale:
        values = values.reshape(-1, values.shape[-1]).astype(np.float64)
        mean, std = values.mean(0), values.std(0)
        return cls(mean, np.where(std > 1e-5 * (1e-3 + np.abs(mean)), std, 1.0))

    def fits(self, size: int) -> bool:
        """Whether it scales this many numbers to finite float32."""
        small, large = np.finfo(np.float32).tiny, np.finfo(np.float32).max
        right = self.mean.shape == self.std.shape == (size,)
        return right and bool(((abs(self.mean) < large) & (self.std > small) & (self.std < large)).all())

    def normalise(self, values: np.ndarray) -> np.ndarray:
        return ((values - self.mean) / self.std).astype(np.float32)

    def restore(self, values: np.ndarray) -> np.ndarray:
        return values.astype(np.float64) * self.std + self.mean


@dataclass(frozen=True)
class Spec:
    """inputs: numeric observations and their sizes, in the order the model takes them. cameras: by key."""

    config: PolicyConfig
    fps: float
    inputs: tuple[tuple[str, int], ...]
    cameras: tuple[str, ...]
    space: ActionSpace
    vocabulary: Vocabulary
    state: Scale
    target: Scale

    @property
    def state_size(self) -> int:
        return sum(size for _, size in self.inputs)

    def targets(self, chunks: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Actions `(N, H, A)` and states `(N, S)` in physical units → normalised targets `(N, H, D)` float32."""
        return self.target.normalise(self.space.encode(chunks, state))

    def actions(self, targets: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The inverse of `targets`, `(N, H, A)` float64."""
        return self.space.decode(self.target.restore(targets), state)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "config": self.config.to_json(),
            "fps": self.fps,
            "inputs": dict(self.inputs),
            "cameras": list(self.cameras),
            "action": self.space.to_json(),
            "vocabulary": list(self.vocabulary.known),
            "normalization": {
                name: {"mean": scale.mean.tolist(), "std": scale.std.tolist()}
                for name, scale in (("state", self.state), ("target", self.target))
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spec:
        """Raises `ConfigError` when the JSON is not a policy of this format."""
        try:
            if data["format"] != FORMAT:
                raise ConfigError(f"the policy has format {data['format']}, this version reads {FORMAT}")
            state, target = (
                Scale(np.asarray(scale["mean"], np.float64), np.asarray(scale["std"], np.float64))
                for scale in (data["normalization"]["state"], data["normalization"]["target"])
            )
            spec = cls(
                config=PolicyConfig.from_json({"waypoint": 0.0, **data["config"]}),  # older policies have none
                fps=float(data["fps"]),
                inputs=tuple((str(k), int(v)) for k, v in data["inputs"].items()),
                cameras=tuple(map(str, data["cameras"])),
                space=ActionSpace.from_json(data["action"]),
                vocabulary=Vocabulary(tuple(map(str, data["vocabulary"]))),
                state=state,
                target=target,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"is not the description of a policy: {type(error).__name__} {error}") from error
        if len(spec.cameras) > 64:
            raise ConfigError(f"is not the description of a policy: {len(spec.cameras)} cameras")
        if not 0 < spec.fps < float("inf") or max(spec.space.state) >= spec.state_size:
            raise ConfigError("is not the description of a policy: its rate or its actions' places in the state")
        if not spec.state.fits(spec.state_size) or not spec.target.fits(spec.space.target_size):
            raise ConfigError("is not the description of a policy: its normalisation does not fit its inputs")
        return spec


def continued(spec: Spec, begun: Spec, instructions: tuple[str, ...]) -> tuple[Spec, list[str]]:
    """The spec of a run that begins with another's weights, and what a person should know: words and scales stay what
    they were, or the weights would mean something else.

    Raises `ConfigError` when the dataset has other inputs, cameras or actions.
    """
    for what in ("inputs", "cameras", "space", "fps"):
        if (mine := getattr(spec, what)) != (theirs := getattr(begun, what)):
            raise ConfigError(f"the policy to begin with has other {what}: {theirs}, this dataset {mine}")
    unread = sorted({word for text in instructions for word in begun.vocabulary.unknown(text)})
    notes = [f"words that it does not know are not read: {', '.join(unread)}"] if unread else []
    return replace(begun, config=spec.config), notes


def specify(frames: Frames, config: PolicyConfig) -> tuple[Spec, list[str]]:
    """Understand a dataset's action space and scales from its training frames; also what a person should know.

    Raises `ConfigError` when the actions cannot be learned from.
    """
    pool = frames.frames_of(train=True)
    state_feature = frames.features[STATE] if STATE in frames.inputs else None
    state, action = frames.state[pool], frames.action[pool]
    space, notes = understand(frames.features["action"], state_feature, config.relative, action, state)
    moving = np.ptp(action, axis=0) > 0
    if not moving.any():
        raise ConfigError("this dataset cannot train the policy: no element of 'action' ever changes")
    if still := [name for name, moves in zip(space.names, moving, strict=True) if not moves]:
        notes.append(f"never changes, is predicted as it is: {', '.join(still)}")
    known = [f"{n} [{u}]" for n, u in zip(space.names, space.units, strict=True) if u]
    unknown = [n for n, u in zip(space.names, space.units, strict=True) if not u]
    notes.append(f"{space.size} actions at {frames.fps:g} Hz: {', '.join(known) or 'units unknown'}")
    if known and unknown:
        notes.append(f"unit unknown: {', '.join(unknown)}")
    notes.append(
        f"relative to the state at the chunk's start: {', '.join(space.relative)}"
        if space.relative
        else "all actions are predicted as they are stored"
    )
    notes.append(f"a chunk is {config.chunk / frames.fps:.2g} s, {config.execute / frames.fps:.2g} s of it are run")
    chunks, valid = frames.chunks(pool, config.chunk)
    sizes = {key: frames.features[key].size for key in frames.inputs}
    return (
        Spec(
            config=config,
            fps=frames.fps,
            inputs=tuple(sizes.items()),
            cameras=tuple(frames.pictures),
            space=space,
            vocabulary=Vocabulary.of({frames.instructions[i] for i in np.unique(frames.instruction[pool])}),
            state=Scale.of(state),
            target=Scale.of(space.encode(chunks, state)[valid]),
        ),
        notes,
    )
