"""Recordings that stand still while the robot does not: frozen proprioception, frozen cameras.

A robot that rests repeats its state and its picture too. What tells a fault is the motion that happened in the
meantime, counted in average frames of motion of this set (`Scale.travel`), against what the set's other episodes
ever move while they repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotators.quality.base import Check, Finding, Verdict, worst_first
from annotators.quality.reference import Reference, Scale, fit_peers, mean_step, peers
from annotators.quality.view import Signal, View
from dataengine.runs import runs

# A repeat this short is a dropped or doubled frame of an ordinary recording, not a freeze.
SHORTEST = 3
# How many frames of NaN or of one teleported dimension a freeze may hold and still be one.
INTERRUPTED = 5
# Two pictures are the same, possibly re-encoded, when they differ by less than this share of what the camera's
# pictures usually change, and by less than this many grey levels. Of a frozen scene AV1 makes pictures that are
# equal, x264 such that differ by 0 to 0.03 levels and are equal most of the time; lossy single pictures of a
# moving scene (JPEG XL, UMI's masked gripper) may come as near, but are never equal: half of them must be.
SAME_SHARE, SAME_LEVELS = 0.03, 0.05


@dataclass(frozen=True)
class FrozenState(Check):
    """All dimensions of a state column repeat to the last bit while the robot moves.

    Value: the motion that is missing, in average frames: what the commands did meanwhile, or how far the state
    leaps when it comes back, beyond twice what the other episodes show in their own repeats.
    """

    name = "frozen_state"
    threshold: float = 3.0

    def measure(self, view: View) -> dict[str, list[float]]:
        """The worst motion during a repeat, in this episode's own average frames."""
        return {
            s.key: [max((_missed(view, s, run, _own_scale) for run in _repeats(s)), default=0.0)]
            for s in view.of_role("state")
        }

    def fit(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        keys = sorted({key for measure in measures.values() for key in measure})
        return {key: fit_peers([m.get(key) for m in measures.values()]) for key in keys}

    def assess(self, view: View, reference: Reference) -> Verdict:
        found: list[Finding] = []
        worst, part = 0.0, reference.part(self.name) or {}
        for signal in view.of_role("state"):
            scale = reference.scale(signal)
            if scale is None or not (scale.step > 0).any():
                continue
            own = max((_missed(view, signal, run, _own_scale) for run in _repeats(signal)), default=0.0)
            usual = peers(part.get(signal.key), np.array([own]))
            allowed = 2 * float(usual[0]) if usual is not None else 0.0
            for start, stop in _repeats(signal):
                value = _missed(view, signal, (start, stop), reference.scale) - allowed
                worst = max(worst, value)
                if value >= self.threshold:
                    reason = f"all {signal.values.shape[1]} dimensions repeat for {stop - start} frames in motion"
                    found.append(self.finding(start, stop, value, reason, signal.key))
        return Verdict(worst_first(found), worst=worst)


@dataclass(frozen=True)
class FrozenCamera(Check):
    """A picture that repeats while the robot moves.

    Value: how far state and action range meanwhile, in average frames of motion, beyond twice what the other
    episodes range while this camera repeats.
    """

    name = "frozen_camera"
    threshold: float = 3.0

    def measure(self, view: View) -> dict[str, list[float]]:
        """Per camera: the worst motion during a repeat in own average frames, and the usual change of the picture."""
        found = {}
        for key, seen in view.traces.items():
            change = float(np.median(seen.change[1:])) if len(view) > 1 else 0.0
            found[key] = [self._worst(view, key, change), change]
        return found

    def fit(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        keys = sorted({key for measure in measures.values() for key in measure})
        return {key: fit_peers([m.get(key) for m in measures.values()]) for key in keys}

    def assess(self, view: View, reference: Reference) -> Verdict:
        if not view.traces:
            return Verdict(unknown="there is no camera")
        if not view.of_role("state", "action"):
            return Verdict(unknown="there is neither state nor action to tell motion from rest")
        found: list[Finding] = []
        worst, part = 0.0, reference.part(self.name) or {}
        for key in view.traces:
            own = np.array(self.measure(view)[key])
            usual = peers(part.get(key), own)
            allowed, change = (2 * float(usual[0]), float(usual[1])) if usual is not None else (0.0, float(own[1]))
            for start, stop in _still(view, key, change):
                value = _travel(view, start - 1, stop, reference.scale) - allowed
                worst = max(worst, value)
                if value >= self.threshold:
                    reason = f"the picture repeats for {stop - start} frames while the robot moves"
                    found.append(self.finding(start, stop, value, reason, key))
        return Verdict(worst_first(found), worst=worst)

    def _worst(self, view: View, key: str, change: float) -> float:
        return max((_travel(view, a - 1, b, _own_scale) for a, b in _still(view, key, change)), default=0.0)


# A signal's scale, by the set or by the episode itself.
ScaleOf = Callable[[Signal], Scale | None]


def _own_scale(signal: Signal) -> Scale:
    step = mean_step(signal)
    return Scale(step, np.ptp(signal.values, axis=0), (step > 0).astype(float))


def _repeats(signal: Signal) -> list[tuple[int, int]]:
    """Stretches where every frame equals the one before; the first frame of a freeze is still a true one.

    A few frames of something else do not end a stretch when all dimensions, or all but one, go on repeating after it.
    """
    joined: list[tuple[int, int]] = []
    for start, stop in runs(signal.repeats):
        before = joined[-1] if joined else None
        if before and start - before[1] <= INTERRUPTED:
            changed = signal.values[start - 1] != signal.values[before[1] - 1]
            if changed.sum() <= min(1, len(changed) - 1):
                joined[-1] = before[0], stop
                continue
        joined.append((start, stop))
    valid: np.ndarray = np.any(signal.finite, axis=1)
    return [(a, b) for a, b in joined if valid[a:b].sum() >= SHORTEST]


def _still(view: View, camera: str, usual: float) -> list[tuple[int, int]]:
    """Stretches of repeated pictures; `usual` is the median change from picture to picture."""
    change, blank = view.traces[camera].change, view.traces[camera].blank
    same = (change <= min(SAME_LEVELS, SAME_SHARE * usual)) | blank
    same[:1] = False
    shown = [(a, b, change[a:b][~blank[a:b]]) for a, b in runs(same)]
    return [(a, b) for a, b, kept in shown if b - a >= SHORTEST and len(kept) and (kept == 0).mean() >= 0.5]


def _missed(view: View, signal: Signal, run: tuple[int, int], scale_of: ScaleOf) -> float:
    """Motion a repeat hides, in average frames: the commands' range meanwhile, or the leap at its end.

    A robot may well set off at full speed: a leap is what goes beyond the step that follows it. And where all commands
    rested too until the last one, the leap is what that one asked for.
    """
    start, stop = run
    commanded = _travel(view, start - 1, stop, scale_of, roles=("action",))
    scale = scale_of(signal)
    if scale is None or stop >= len(signal.values) or _answers(view, start, stop):
        return commanded
    leap = np.abs(signal.steps[stop - 1])
    after = np.abs(signal.steps[stop]) if stop < len(signal.steps) else np.zeros_like(leap)
    return max(commanded, scale.frames_of(np.maximum(leap - after, 0)))


def _answers(view: View, start: int, stop: int) -> bool:
    """Whether the commands repeat as long as the state does, and then change."""
    actions = [action.repeats for action in view.of_role("action")]
    resting = all(repeats[start : stop - 1].all() for repeats in actions)
    return bool(actions) and resting and not all(repeats[stop - 1] for repeats in actions)


def _travel(
    view: View, start: int, stop: int, scale_of: ScaleOf, roles: tuple[str, ...] = ("state", "action")
) -> float:
    """How far the signals range between two frames, in average frames of motion; the largest of the signals.

    The last command does not count: what it moves is seen in the next frame, so the command that ends a rest is no
    motion that the rest hides.
    """
    found, start = 0.0, max(start, 0)
    for signal in view.of_role(*roles):
        scale, end = scale_of(signal), stop - (signal.role == "action")
        if scale is not None and not signal.repeats[start + 1 : end].all():
            found = max(found, scale.travel(signal.values[start:end]))
    return found
