"""Faults of order in time: actions and states that are shifted against each other, and episodes that run backwards.

Robots follow their commands after a natural lag of some frames (8 on a Unitree G1, 6 on ALOHA, 1 in some
simulators), so a lag is a fault only against the set's own. Backwards is recognised by cause and effect: a
measured joint moves *towards* its command; in a reversed episode it moves away from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotators.quality import tracking
from annotators.quality.base import Check, Verdict
from annotators.quality.reference import Reference
from annotators.quality.view import View

# Largest shift that is looked for, in frames, and how far around the usual one counts as natural.
REACH = 24
NATURAL = 2


@dataclass(frozen=True)
class Lag(Check):
    """Action and state are shifted against each other, compared with the set. Value: frames of extra shift.

    Clean episodes of nine real and simulated sets differ from their peers by at most 2 frames. The model must fit
    clearly better at the shift (`gain`: its error over the error without shift), else the shift means nothing.
    """

    name = "lag"
    severity = "critical"
    threshold: float = 3.0
    gain: float = 0.85

    def measure(self, view: View) -> dict[str, Any] | None:
        data = tracking.pairing(view)
        return None if isinstance(data, str) else tracking.measure(data)

    def fit(self, measures: Mapping[str, Any]) -> dict[str, Any] | None:
        return tracking.fit(measures)

    def assess(self, view: View, reference: Reference) -> Verdict:
        part = reference.part(self.name)
        data = tracking.pairing(view, part)
        if isinstance(data, str):
            return Verdict(unknown=data)
        model = tracking.model_of_peers(part, view.episode.id, data)
        if isinstance(model, str):
            return Verdict(unknown=model)
        if model.episodes < 2:
            return Verdict(unknown="two episodes cannot say which of them has the usual lag")
        reach = min(REACH, len(view) // 3)
        shifts = np.arange(-reach, reach + 1)
        errors = model.errors(data, shifts)
        if not np.isfinite(errors[reach]):
            return Verdict(unknown="the state moves in too few frames")
        if _backwards(model, data, errors, shifts):
            return Verdict(unknown="the episode runs backwards")
        extra = int(shifts[np.nanargmin(errors)])
        # A minimum at the edge is none: errors that only fall say that the actions hardly matter.
        better = abs(extra) < reach and np.nanmin(errors) <= self.gain * errors[reach]
        value = float(abs(extra)) if better else 0.0
        if value < self.threshold:
            return Verdict(worst=value)
        late = "actions stand later" if extra > 0 else "states stand later"
        reason = f"{late} than in the other episodes by {value:.0f} frames ({value / view.episode.fps:.3g} s)"
        return Verdict((self.finding(0, len(view), value, reason),), worst=value)


@dataclass(frozen=True)
class Reversed(Check):
    """The episode runs backwards. Value: 0.5 is undecided, 1 certain.

    Three kinds of evidence, the strongest counts: the end is marked on the first frame and not on the last;
    measured joints move away from their commands (needs no other episode); the peers' model of how states follow
    actions fits the reversed episode and no shift of the episode as it stands.
    """

    name = "reversed"
    severity = "critical"
    threshold: float = 0.65

    def assess(self, view: View, reference: Reference) -> Verdict:
        values = {
            "the episode's end is marked on its first frame": _marked_first(view),
            "states move away from their commands": _acausal(view, reference),
            "the other episodes' dynamics fit it only backwards": _fits_backwards(view, reference),
        }
        known = {why: value for why, value in values.items() if value is not None}
        if not known:
            data = tracking.pairing(view)
            why = data if isinstance(data, str) else "no end is marked, and actions do not show which way time runs"
            return Verdict(unknown=why)
        why, value = max(known.items(), key=lambda item: item[1])
        if value < self.threshold:
            return Verdict(worst=value)
        reason = f"runs backwards, or action and state are shifted: {why}"
        return Verdict((self.finding(0, len(view), value, reason),), worst=value)


def _marked_first(view: View) -> float | None:
    for key in view.episode.keys_of("done"):
        done = np.asarray(view.episode.frames[key]).astype(bool).reshape(-1)
        if done.any() and not done.all():
            return float(done[0] and not done[-1])
    return None


def _acausal(view: View, reference: Reference) -> float | None:
    """1 when the distance to the command and the next change are opposed, 0 when they agree, over all dimensions.

    Only dimensions whose action is a target for the state (correlation above 0.9) say anything.
    """
    data = tracking.pairing(view, reference.part(Lag.name))
    if isinstance(data, str) or not data.paired:
        return None
    action, state = data.action, data.state
    targets = tracking.correlation(action, state) > 0.9
    if not targets.any():
        return None
    towards = tracking.correlation((action - state)[:-1, targets], np.diff(state[:, targets], axis=0))
    return float(0.5 - 0.5 * np.median(towards))


def _fits_backwards(view: View, reference: Reference) -> float | None:
    part = reference.part(Lag.name)
    data = tracking.pairing(view, part)
    if isinstance(data, str):
        return None
    model = tracking.model_of_peers(part, view.episode.id, data)
    if isinstance(model, str) or model.episodes < 2:
        return None
    reach = min(REACH, len(view) // 3)
    shifts = np.arange(-reach, reach + 1)
    return float(_backwards(model, data, model.errors(data, shifts), shifts))


def _backwards(model: tracking.Model, data: tracking.Pairing, forward: np.ndarray, shifts: np.ndarray) -> bool:
    """Whether the reversed episode fits at the natural lag, at half the error of the episode as it stands there,
    and better than the episode fits at any shift."""
    near = np.abs(shifts) <= NATURAL
    backwards = model.errors(data.reversed(), shifts[near])
    if not np.isfinite(forward[near]).any() or not np.isfinite(backwards).any():
        return False
    backward = np.nanmin(backwards)
    return bool(backward < 0.5 * np.nanmin(forward[near]) and backward < 0.9 * np.nanmin(forward))
