"""Values that are no values: NaN and Inf, and sensors that died for an episode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotators.quality.base import Check, Finding, Verdict, worst_first
from annotators.quality.reference import Reference, median_of_moving, stack
from annotators.quality.tracking import same_dimensions
from annotators.quality.view import Signal, View
from dataengine.runs import runs

# A sensor that changes no oftener than a jump there and back makes it, and one that usually changes this often.
JUMPS, LIVELY = 2, 20


@dataclass(frozen=True)
class NotFinite(Check):
    """NaN or Inf in any numeric column. Value: number of frames in the stretch."""

    name = "nan"
    threshold: float = 1

    def assess(self, view: View, reference: Reference) -> Verdict:
        found: list[Finding] = []
        for key, column in view.episode.frames.items():
            if np.asarray(column).dtype.kind != "f":
                continue
            bad = ~np.isfinite(np.asarray(column).reshape(len(column), -1)).all(axis=1)
            for start, stop in runs(bad):
                reason = f"{stop - start} frames hold NaN or Inf"
                found.append(self.finding(start, stop, stop - start, reason, key))
        return Verdict(worst_first(found), worst=max((f.value for f in found), default=0.0))


@dataclass(frozen=True)
class DeadSensor(Check):
    """A state dimension that never changes in this episode, although it lives in the others.

    One that jumps once and otherwise never changes is as dead, where the others change all the time.

    A robot may well leave an arm alone for an episode, so a still sensor is dead only if its own command moved by
    at least `threshold` of its extent over the set (value: that share), or, where no command is known to belong
    to it, if it lives in every one of at least `witnesses` other episodes and something moves in this one (value: 1).
    """

    name = "dead_sensor"
    threshold: float = 0.05
    witnesses: int = 8

    def measure(self, view: View) -> dict[str, list[int]]:
        """How often each dimension changes."""
        return {s.key: (s.steps != 0).sum(axis=0).tolist() for s in view.of_role("state")}

    def fit(self, measures: Mapping[str, Any]) -> dict[str, list[list[float]]]:
        """Per column: in how many episodes each dimension lives, and how often it usually changes there."""
        keys = sorted({key for measure in measures.values() for key in measure})
        rows = {key: stack([m.get(key) for m in measures.values()]) for key in keys}
        return {k: [(row > 0).sum(axis=0).tolist(), median_of_moving(row).tolist()] for k, row in rows.items()}

    def assess(self, view: View, reference: Reference) -> Verdict:
        if reference.episodes < 2:
            return Verdict(unknown="one episode cannot say which of its sensors are alive in others")
        found: list[Finding] = []
        worst = 0.0
        commands, measured = view.main("action"), view.main("state")
        rests = not any(signal.steps.any() for signal in view.signals.values())
        for signal in view.of_role("state"):
            scale, known = reference.scale(signal), (reference.part(self.name) or {}).get(signal.key)
            if scale is None or known is None or len(known[0]) != signal.values.shape[1]:
                continue
            alive, usual = np.array(known)
            changes = (signal.steps != 0).sum(axis=0)
            still = (changes == 0) | ((changes <= JUMPS) & (usual >= LIVELY))
            command = _commands(commands, signal) if signal is measured else {}
            for dim in np.nonzero(still & (alive > 0))[0]:
                if dim in command:
                    value = float(np.ptp(command[dim]) / max(scale.extent[dim], 1e-12))
                    why = "its command moves"
                else:
                    others = reference.episodes - 1
                    told = others >= self.witnesses and len(view) >= LIVELY and not rests
                    value = float(told and alive[dim] >= others)
                    why = f"it changes in all {others} other episodes"
                worst = max(worst, value)
                if value >= self.threshold:
                    reason = f"{signal.names[dim]} never changes, although {why}"
                    found.append(self.finding(0, len(view), value, reason, signal.key))
        return Verdict(worst_first(found), worst=worst)


def _commands(action: Signal | None, state: Signal) -> dict[int, np.ndarray]:
    """The command `(T,)` of every state dimension that has one."""
    matched = None if action is None else same_dimensions(action, state)
    if action is None or matched is None:
        return {}
    return {s: action.values[:, a] for a, s in zip(*matched, strict=True)}
