"""Faults put into clean episodes on purpose: one function per fault, `(episode, rng, scales) -> Injected`.

Places are random. A place where the fault changes nothing (a freeze while the robot rests) is no fault, so places
are drawn where it does. Severities are multiples of a dimension's own *robust step scale*: the 95th percentile of
its non-zero changes from frame to frame over the whole set (`robust_scales`), computed here and nowhere near the
detectors. A function returns None where the episode cannot have the fault (no camera, no state).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from fault_places import (
    Scales,
    changed,
    hold,
    is_rate,
    keys_of,
    living_dims,
    matrix,
    moving_place,
    take_rows,
)
from rearranged import Rearranged, held_order

from dataengine.episode import CAPTURE_TIME, Episode, Feature, derived_id

JUMP, NOISE = 15.0, 3.0
LAG = (5, 10)


@dataclass(frozen=True)
class Injected:
    """A faulty episode, and the frames that are wrong. extra: a second episode that the fault adds to the set."""

    episode: Episode
    start: int
    stop: int
    feature: str | None = None
    extra: Episode | None = None


Fault = Callable[[Episode, np.random.Generator, Mapping[str, Scales]], Injected | None]


def frozen_state(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """All proprioception repeats for 10 to 20 frames while the commands go on."""
    keys = [k for k in keys_of(episode, "state", "environment") if scales[k].mean.any()]
    if not any(episode.features[k].role == "state" for k in keys):
        return None
    place = moving_place(episode, rng, scales, keys)
    return place and Injected(hold(episode, keys, *place), *place, keys[0])


def frozen_rows(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """The recorder writes the same row – states, actions, pictures – for 10 to 20 frames."""
    keys = keys_of(episode, "state", "environment", "action")
    states = [k for k in keys if episode.features[k].role == "state" and scales[k].mean.any()]
    place = moving_place(episode, rng, scales, states) if states else None
    if place is None:
        return None
    held = hold(episode, keys, *place)
    order = held_order(len(episode), *place)
    clips = {k: Rearranged(c, order) for k, c in episode.clips.items()}
    return Injected(replace(held, clips=clips), *place)


def jump(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """One dimension is off by 15 robust steps, for one frame or from there on.

    Dimensions whose own largest step is beyond half of that jump by nature (grippers that switch, contacts), and
    velocities, accelerations and forces may change at once.
    """
    dims = [
        (k, d)
        for k, d in living_dims(episode, scales)
        if scales[k].largest[d] < JUMP / 2 * scales[k].step[d] and not is_rate(episode, k, d)
    ]
    if not dims or len(episode) < 8:
        return None
    key, dim = dims[rng.integers(len(dims))]
    at = int(rng.integers(2, len(episode) - 2))
    stop = at + 1 if rng.random() < 0.5 else len(episode)
    size = JUMP * scales[key].step[dim] * rng.choice([-1, 1])
    return Injected(changed(episode, key, slice(at, stop), dim, lambda x: x + size), at, at + 1, key)


def noise(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """White noise of 3 robust steps on one dimension, for at least 24 frames or a third of the episode.

    Not on velocities, accelerations and forces, which tremble by nature.
    """
    dims = [(k, d) for k, d in living_dims(episode, scales) if not is_rate(episode, k, d)]
    length = max(24, len(episode) // 3)
    if not dims or length > len(episode):
        return None
    key, dim = dims[rng.integers(len(dims))]
    start = int(rng.integers(0, len(episode) - length + 1))
    size = NOISE * scales[key].step[dim]
    column = changed(
        episode, key, slice(start, start + length), dim, lambda x: x + rng.normal(0, size, length).astype(x.dtype)
    )
    return Injected(column, start, start + length, key)


def not_a_number(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """NaN or Inf in one dimension for one to five frames."""
    dims = living_dims(episode, scales)
    if not dims:
        return None
    key, dim = dims[rng.integers(len(dims))]
    start = int(rng.integers(0, len(episode) - 5))
    stop = start + int(rng.integers(1, 6))
    value = rng.choice([np.nan, np.inf])
    return Injected(changed(episode, key, slice(start, stop), dim, lambda x: np.full_like(x, value)), start, stop, key)


def dead_sensor(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """One measured dimension stands at its first value; its command moves by half of its own usual range."""
    if not {"action", "observation.state"} <= set(episode.frames):
        return None
    action, state = matrix(episode.frames["action"]), matrix(episode.frames["observation.state"])
    commands, sensors = episode.features["action"].names, episode.features["observation.state"].names
    if commands and sensors:
        pairs = [(commands.index(name), at) for at, name in enumerate(sensors) if name in commands]
    else:
        pairs = [(at, at) for at in range(action.shape[1])] if action.shape == state.shape else []
    moved = np.ptp(action, axis=0)
    range_ = np.ptp(state, axis=0)
    dims = [s for a, s in pairs if range_[s] > 0 and moved[a] > 0.5 * range_[s]]
    if not dims:
        return None
    dim = int(rng.choice(dims))
    whole = slice(0, len(episode))
    still = changed(episode, "observation.state", whole, dim, lambda x: np.full_like(x, x[0]))
    return Injected(still, 0, len(episode), "observation.state")


def gap(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """One to ten frames are missing; the capture clock shows it, where there is one."""
    lost = int(rng.integers(1, 11))
    if len(episode) < lost + 20:
        return None
    at = int(rng.integers(5, len(episode) - lost - 5))
    keep = np.delete(np.arange(len(episode)), slice(at, at + lost))
    return Injected(take_rows(episode, keep), at - 1, at + 1, CAPTURE_TIME)


def doubled_time(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """A frame carries its predecessor's time, or an earlier one."""
    if CAPTURE_TIME not in episode.frames:
        return None
    at = int(rng.integers(2, len(episode)))
    times = episode.frames[CAPTURE_TIME].copy()
    times[at] = times[at - rng.integers(1, 3)]
    return Injected(episode.map(CAPTURE_TIME, lambda _: times), at - 1, at + 1, CAPTURE_TIME)


def extra_lag(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """Actions stand 5 to 10 frames later, or earlier, than they should; in episodes of five times that and more."""
    frames = int(rng.integers(LAG[0], LAG[1] + 1))
    actions = keys_of(episode, "action")
    if not actions or not keys_of(episode, "state") or len(episode) < 5 * frames:
        return None
    early, late = np.arange(len(episode) - frames), np.arange(frames, len(episode))
    mine, other = (early, late) if rng.random() < 0.5 else (late, early)
    moved = take_rows(episode, other)
    columns = {k: episode.frames[k][mine] for k in actions}
    return Injected(replace(moved, frames={**moved.frames, **columns}), 0, len(moved))


def frozen_camera(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """One camera repeats a picture for 10 to 20 frames while the robot moves."""
    keys = keys_of(episode, "state", "action")
    cameras = sorted(episode.clips)
    place = moving_place(episode, rng, scales, keys) if keys and cameras else None
    if place is None:
        return None
    camera = cameras[rng.integers(len(cameras))]
    clip = Rearranged(episode.clips[camera], held_order(len(episode), *place))
    return Injected(replace(episode, clips={**episode.clips, camera: clip}), *place, camera)


def black_camera(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """One camera is black for one frame up to the whole episode."""
    if not episode.clips:
        return None
    camera = sorted(episode.clips)[rng.integers(len(episode.clips))]
    length = int(rng.choice([1, 5, 20, len(episode)]))
    start = int(rng.integers(0, max(len(episode) - length, 0) + 1))
    order = np.arange(len(episode))
    order[start : start + length] = -1
    clip = Rearranged(episode.clips[camera], tuple(order.tolist()))
    stop = min(start + length, len(episode))
    return Injected(replace(episode, clips={**episode.clips, camera: clip}), start, stop, camera)


def swapped_cameras(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """Two cameras of one shape stand under each other's name."""
    names = sorted(episode.clips)
    shape = {n: (episode.clips[n].height, episode.clips[n].width, episode.clips[n].kind) for n in names}
    pairs = [(a, b) for a in names for b in names if a < b and shape[a] == shape[b]]
    if not pairs:
        return None
    a, b = pairs[rng.integers(len(pairs))]
    clips = {**episode.clips, a: episode.clips[b], b: episode.clips[a]}
    return Injected(replace(episode, clips=clips), 0, len(episode), a)


def reversed_episode(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """All columns and pictures in the opposite order; the clock goes on forwards."""
    back = np.arange(len(episode))[::-1]
    turned = take_rows(episode, back)
    if CAPTURE_TIME in episode.frames:
        turned = turned.map(CAPTURE_TIME, lambda _: episode.frames[CAPTURE_TIME])
    return Injected(turned, 0, len(episode))


def duplicated_episode(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """The episode stands in the set again under another id, as it is or rounded to float32."""
    copy = replace(episode, id=derived_id(episode.id, "copy"))
    if rng.random() < 0.5:
        for key in keys_of(episode, "state", "environment", "action"):
            copy = copy.map(key, lambda x: x.astype(np.float32).astype(x.dtype))
    return Injected(episode, 0, len(episode), extra=copy)


def empty_task(episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales]) -> Injected | None:
    """No task text, blanks, or a placeholder."""
    options: list[tuple[str, ...]] = [(), ("",), ("  ",), ("none",), ("TODO",)]
    empty = options[rng.integers(len(options))]
    frame_tasks = episode.frame_tasks * 0 if empty and episode.frame_tasks is not None else None
    return Injected(replace(episode.with_meta(tasks=empty), frame_tasks=frame_tasks), 0, len(episode))


def with_clock(episode: Episode) -> Episode:
    """The episode with capture times, as a source with a clock of its own gives them."""
    if CAPTURE_TIME in episode.frames:
        return episode
    feature = Feature("float64", (1,), role="time", unit="s")
    return episode.with_columns({CAPTURE_TIME: feature}, {CAPTURE_TIME: np.arange(len(episode)) / episode.fps})


# Every fault, and the checks whose finding counts as having found it.
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "frozen_state": (frozen_state, ("frozen_state",)),
    "frozen_rows": (frozen_rows, ("frozen_state",)),
    "jump": (jump, ("jump",)),
    "noise": (noise, ("noise",)),
    "gap": (gap, ("gap",)),
    "doubled_time": (doubled_time, ("doubled_time",)),
    "nan": (not_a_number, ("nan",)),
    "dead_sensor": (dead_sensor, ("dead_sensor",)),
    "extra_lag": (extra_lag, ("lag", "reversed")),
    "frozen_camera": (frozen_camera, ("frozen_camera",)),
    "black_camera": (black_camera, ("blank_picture",)),
    "swapped_cameras": (swapped_cameras, ("swapped_cameras",)),
    "reversed_episode": (reversed_episode, ("reversed", "lag")),
    "duplicated_episode": (duplicated_episode, ("duplicate",)),
    "empty_task": (empty_task, ("empty_task",)),
}
