"""Where faults can be put and how columns are changed there: scales of a set, moving places, held and cut rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rearranged import Rearranged

from dataengine.episode import Episode

FREEZE = (10, 20)


@dataclass(frozen=True)
class Scales:
    """Per column `(D,)`: step (robust, see above), largest natural step, and mean non-zero step."""

    step: np.ndarray
    largest: np.ndarray
    mean: np.ndarray


def robust_scales(episodes: Sequence[Episode]) -> dict[str, Scales]:
    found = {}
    for key, feature in episodes[0].features.items():
        if feature.role not in ("state", "environment", "action") or key not in episodes[0].frames:
            continue
        steps = np.concatenate([np.abs(np.diff(matrix(e.frames[key]), axis=0)) for e in episodes])
        step = np.array([np.percentile(s[s > 0], 95) if (s > 0).any() else 0.0 for s in steps.T])
        moving = np.maximum((steps > 0).sum(axis=0), 1)
        found[key] = Scales(step, steps.max(axis=0), steps.sum(axis=0) / moving)
    return found


def matrix(column: np.ndarray) -> np.ndarray:
    return np.asarray(column, np.float64).reshape(len(column), -1)


def keys_of(episode: Episode, *roles: str) -> list[str]:
    return [
        k
        for k, f in episode.features.items()
        if f.role in roles and k in episode.frames and episode.frames[k].dtype.kind == "f"
    ]


def living_dims(episode: Episode, scales: Mapping[str, Scales]) -> list[tuple[str, int]]:
    """Dimensions of state and action that live in this set."""
    return [(k, int(d)) for k in keys_of(episode, "state", "action") for d in np.nonzero(scales[k].step)[0]]


def is_rate(episode: Episode, key: str, dim: int) -> bool:
    names = episode.features[key].names
    return any(word in f"{key} {names[dim] if names else ''}" for word in ("vel", "acc", "effort", "force"))


def moving_place(
    episode: Episode, rng: np.random.Generator, scales: Mapping[str, Scales], keys: Sequence[str]
) -> tuple[int, int] | None:
    """A stretch of 10 to 20 frames over which the robot gets at least 6 average frames further."""
    length = int(min(rng.integers(FREEZE[0], FREEZE[1] + 1), len(episode) // 3))
    far = np.zeros(max(len(episode) - length - 2, 0))
    for key in keys:
        alive = scales[key].mean > 0
        values = matrix(episode.frames[key])[:, alive] / scales[key].mean[alive]
        if alive.any():
            gone = np.abs(values[1 + length : 1 + length + len(far)] - values[1 : 1 + len(far)]).mean(axis=1)
            far = np.maximum(far, gone)
    places = np.nonzero(far >= 6)[0]
    if not places.size:
        return None
    start = int(rng.choice(places)) + 2
    return start, start + length


def hold(episode: Episode, keys: Sequence[str], start: int, stop: int) -> Episode:
    columns = {}
    for key in keys:
        column = episode.frames[key].copy()
        column[start:stop] = column[start - 1]
        columns[key] = column
    return replace(episode, frames={**episode.frames, **columns})


def take_rows(episode: Episode, rows: np.ndarray) -> Episode:
    """Only these rows, in this order, of table and pictures."""
    return replace(
        episode,
        frames={k: v[rows] for k, v in episode.frames.items()},
        clips={k: Rearranged(c, tuple(rows.tolist())) for k, c in episode.clips.items()},
        frame_tasks=None if episode.frame_tasks is None else episode.frame_tasks[rows],
    )


def changed(episode: Episode, key: str, rows: slice, dim: int, change: Callable[[np.ndarray], np.ndarray]) -> Episode:
    column = episode.frames[key].copy()
    if column.ndim == 1:
        column[rows] = change(column[rows])
    else:
        flat = column.reshape(len(column), -1)
        flat[rows, dim] = change(flat[rows, dim])
    return episode.map(key, lambda _: column)
