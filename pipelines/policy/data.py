"""A store as arrays: every frame's numbers in memory, its pictures in a mapped file, and batches of chunks from them.

Which frames step `k` sees, how they are shifted and what noise is drawn depend on `(seed, k)` alone. So nothing
random needs saving, and a resumed run continues exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dataengine.episode import Episode, Feature
from dataengine.errors import ConfigError
from pipelines.policy.config import PolicyConfig
from pipelines.policy.pictures import Counter, cached_pictures, no_counter
from pipelines.tokenizers.chunks import held_out

if TYPE_CHECKING:
    from dataengine.store import Store

STATE = "observation.state"
HELD_OUT_SPLITS = ("val", "valid", "validation", "test", "eval", "held_out")


@dataclass(frozen=True)
class Frames:
    """All N frames of E episodes.

    state: `(N, S)` float32, `observation.state` first, then the other numeric inputs in the order of `inputs`.
    action: `(N, A)` float32. instruction: `(N,)` int64 into `instructions`. start, stop: `(E,)` frame numbers.
    embodiments: of every episode. train: `(E,)` bool. pictures: `(N, size, size, 3)` uint8 by camera. notes: what was
    decided on the way.
    """

    fps: float
    features: dict[str, Feature]
    inputs: tuple[str, ...]
    state: np.ndarray
    action: np.ndarray
    instruction: np.ndarray
    instructions: tuple[str, ...]
    ids: tuple[str, ...]
    embodiments: tuple[str, ...]
    start: np.ndarray
    stop: np.ndarray
    train: np.ndarray
    pictures: dict[str, np.ndarray]
    notes: tuple[str, ...]

    @property
    def episode(self) -> np.ndarray:
        """`(N,)` the episode of every frame."""
        return np.repeat(np.arange(len(self.ids)), self.stop - self.start)

    def frames_of(self, *, train: bool) -> np.ndarray:
        """Frame numbers of the training or of the held-out episodes."""
        return np.flatnonzero(self.train[self.episode] == train)

    def chunks(self, at: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Actions `(n, length, A)` from frames `at` on and whether they lie inside the episode `(n, length)`;
        past its end the last action repeats."""
        last = self.stop[self.episode[at]] - 1
        rows = at[:, None] + np.arange(length)
        return self.action[np.minimum(rows, last[:, None])], rows <= last[:, None]

    def waypoints(self, grippers: list[int]) -> np.ndarray:
        """`(N,)` the frame at which what is under way will be done: where a gripper next opens or closes, or the
        episode ends (key frames as in James and Davison 2022, "Q-attention"). grippers: elements of the action."""
        grip = self.action[:, grippers]
        closed = grip > (grip.min(0) + grip.max(0)) / 2 if len(grip) else np.zeros(grip.shape, bool)
        here = np.arange(len(grip))
        turns = np.zeros(len(grip), bool)
        turns[1:] = (closed[1:] != closed[:-1]).any(1)
        turns[self.start] = False  # another episode's gripper says nothing
        turns[self.stop - 1] = True
        following = np.minimum.accumulate(np.where(turns, here, len(grip))[::-1])[::-1]
        return np.minimum(np.append(following[1:], len(grip) - 1), self.stop[self.episode] - 1)

    def look(self, at: np.ndarray) -> np.ndarray:
        """Pictures `(n, C, size, size, 3)` uint8 of frames `at`."""
        if not self.pictures:
            return np.zeros((len(at), 0, 1, 1, 3), np.uint8)
        return np.stack([pictures[at] for pictures in self.pictures.values()], axis=1)


class Batch(NamedTuple):
    """Arrays of one training step; targets and states still in physical units."""

    at: np.ndarray
    pictures: np.ndarray
    state: np.ndarray
    instruction: np.ndarray
    chunk: np.ndarray
    valid: np.ndarray


def pools(frames: Frames, config: PolicyConfig) -> list[tuple[float, np.ndarray]]:
    """The training frames, and with `config.shares` those of each embodiment with its share of a batch, of sum 1.

    Raises `ConfigError` where the shares and the episodes do not name the same embodiments.
    """
    pool = frames.frames_of(train=True)
    if config.shares is None:
        return [(1.0, pool)]
    there = np.array(frames.embodiments)[frames.episode[pool]]
    known, asked = set(there.tolist()), {name for name, share in config.shares.items() if share > 0}
    if known - set(config.shares) or asked - known:
        raise ConfigError(
            f"shares name {', '.join(config.shares)}; the episodes to train on are of {', '.join(sorted(known))}"
        )
    total = sum(config.shares.values())
    return [(config.shares[name] / total, pool[there == name]) for name in config.shares if name in asked]


def batch(frames: Frames, drawn_from: Sequence[tuple[float, np.ndarray]], config: PolicyConfig, step: int) -> Batch:
    """The frames of one step, from each of `pools` as many as its share says, up to one more."""
    rng = np.random.default_rng([config.seed, step])
    if len(drawn_from) == 1:
        at = rng.choice(drawn_from[0][1], config.batch)
    else:
        edges = np.cumsum([share for share, _ in drawn_from])[:-1]
        even = (np.arange(config.batch) + rng.random()) / config.batch
        counts = np.bincount(np.searchsorted(edges, even, "right"), minlength=len(drawn_from))
        at = np.concatenate([rng.choice(pool, n) for n, (_, pool) in zip(counts, drawn_from, strict=True)])
    at.sort()  # neighbours share pages of the mapped file
    chunk, valid = frames.chunks(at, config.chunk)
    pictures = shift(frames.look(at), config.shift, rng)
    return Batch(at, pictures, frames.state[at], frames.instruction[at], chunk, valid)


def shift(pictures: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Each picture of `(n, C, H, W, 3)` moved by up to `most` pixels in both directions, its border repeated."""
    n, cameras, height, width, _ = pictures.shape
    if not most or not cameras:
        return pictures
    from_above, from_left = most + rng.integers(-most, most + 1, (2, n, cameras))
    room = np.pad(pictures, ((0, 0), (0, 0), (most, most), (most, most), (0, 0)), "edge")
    moved = np.empty_like(pictures)
    for at in np.ndindex(n, cameras):
        y, x = from_above[at], from_left[at]
        moved[at] = room[at][y : y + height, x : x + width]
    return moved


def gather(store: Store, config: PolicyConfig, cache: Path, counter: Counter = no_counter) -> Frames:
    """Read a store for training; videos are decoded only where `cache` does not hold them yet.

    Raises `ConfigError` that lists every reason why this dataset cannot train the policy.
    """
    inputs, cameras = _inputs(store.features, config)
    kept, notes = _select(store, config, inputs, cameras)
    train, how = _split(kept, config.holdout)
    notes.append(how)
    lengths = np.array([episode.length for episode in kept])
    instruction, instructions = _instructions(kept)
    if instructions == ("",):
        notes.append("no episode says its task: the policy learns without an instruction")
    return Frames(
        fps=store.fps,
        features={key: store.features[key] for key in (*inputs, *cameras, "action")},
        inputs=inputs,
        state=np.concatenate([_column(e, inputs) for e in kept]),
        action=np.concatenate([_column(e, ("action",)) for e in kept]),
        instruction=instruction,
        instructions=instructions,
        ids=tuple(episode.id for episode in kept),
        embodiments=tuple(episode.meta.embodiment or "" for episode in kept),
        start=np.cumsum(lengths) - lengths,
        stop=np.cumsum(lengths),
        train=train,
        pictures={
            camera: cached_pictures([(e.id, e.clips[camera]) for e in kept], config.image_size, cache, counter)
            for camera in cameras
        },
        notes=tuple(notes),
    )


def _inputs(features: dict[str, Feature], config: PolicyConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Numeric inputs and colour cameras the policy looks at, checked against the configuration."""
    numeric = [k for k, f in features.items() if k.startswith("observation.") and _numeric(f)]
    numeric.sort(key=lambda key: (key != STATE, key))
    colour = [k for k, f in features.items() if f.is_camera and f.role != "depth" and f.shape[-1] == 3]
    problems = []
    for wanted, there, what in (
        (config.observations, numeric, "numeric observation"),
        (config.cameras, colour, "colour camera"),
    ):
        for key in wanted or ():
            if key not in there:
                problems.append(f"{key!r} is no {what} here; there are: {', '.join(there) or 'none'}")
    inputs = tuple(numeric if config.observations is None else config.observations)
    cameras = tuple(colour if config.cameras is None else config.cameras)
    action = features.get("action")
    if action is None:
        problems.append("it has no 'action'; convert with `action: {derive: next_pose}` if the source has none")
    elif not _numeric(action):
        problems.append(f"'action' is {action.dtype}, not numbers")
    if not inputs and not cameras:
        problems.append("nothing to look at: no colour camera and no numeric observation")
    if problems:
        raise ConfigError("this dataset cannot train the policy: " + "; ".join(problems))
    return inputs, cameras


def _numeric(feature: Feature) -> bool:
    return not feature.is_camera and feature.role != "depth" and np.dtype(_dtype(feature.dtype)).kind in "fiub"


def _dtype(name: str) -> str:
    try:
        np.dtype(name)
    except TypeError:
        return "O"
    return name


def _column(episode: Episode, keys: tuple[str, ...]) -> np.ndarray:
    """Columns beside each other, `(T, …)` float32."""
    columns = [np.asarray(episode.frames[k], np.float32).reshape(episode.length, -1) for k in keys]
    return np.concatenate(columns, axis=1) if columns else np.zeros((episode.length, 0), np.float32)


def _select(
    store: Store, config: PolicyConfig, inputs: tuple[str, ...], cameras: tuple[str, ...]
) -> tuple[list[Episode], list[str]]:
    """Episodes to learn from, with only what is looked at; and what was left out and why."""
    kept, failed, broken = [], 0, []
    for episode in store.episodes():
        if episode.meta.success is False and not config.include_failed:
            failed += 1
        elif not np.isfinite(_column(episode, (*inputs, "action"))).all():
            broken.append(episode.id)
        elif episode.length:
            kept.append(episode.select([*inputs, *cameras, "action"]))
    notes = []
    if failed:
        notes.append(f"{failed} of {len(store)} episodes failed and were left out (include_failed keeps them)")
    if broken:
        notes.append(f"{len(broken)} episodes hold NaN or Inf and were left out: {', '.join(broken[:5])}")
    if not kept:
        raise ConfigError(f"this dataset cannot train the policy: none of its {len(store)} episodes is usable. {notes}")
    return kept, notes


def _split(episodes: list[Episode], holdout: float) -> tuple[np.ndarray, str]:
    """`(E,)` bool, true where an episode is for training, and how that was decided."""
    splits = [episode.meta.split for episode in episodes]
    if any(split in HELD_OUT_SPLITS for split in splits) and not all(split in HELD_OUT_SPLITS for split in splits):
        train = np.array([split not in HELD_OUT_SPLITS for split in splits])
        return train, f"split: the dataset's own, {train.sum()} episodes to train, {(~train).sum()} held out"
    if len(episodes) < 2 or not holdout:
        return np.ones(len(episodes), bool), f"split: none, all {len(episodes)} episodes train, so no held-out error"
    train = np.array([not held_out(episode.id, holdout) for episode in episodes])
    if train.all() or not train.any():  # few episodes: hold out exactly one, chosen by its id
        train = np.ones(len(episodes), bool)
        train[min(range(len(episodes)), key=lambda i: episodes[i].id)] = False
    return train, f"split: by hash of the episode id, {train.sum()} episodes to train, {(~train).sum()} held out"


def _instructions(episodes: list[Episode]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The instruction of every frame as a number, and all instructions."""
    numbers: dict[str, int] = {}
    found = []
    for episode in episodes:
        tasks = episode.meta.tasks or ("",)
        places = np.array([numbers.setdefault(task, len(numbers)) for task in tasks])
        which = np.zeros(episode.length, np.int64) if episode.frame_tasks is None else episode.frame_tasks
        found.append(places[which])
    return np.concatenate(found).astype(np.int64), tuple(numbers)
