"""What is wrong with what a robot senses: silence, NaN, a body or camera that stands still, a clock that jumps.

A fault ends the episode; a trouble is shown, and marked in the data by whoever records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from dataengine.episode import Feature
from dataengine.robot import Sample

STALE_BODY = 0.2  # [s] that a body may be silent before it counts as gone
STALE_CAMERA = 1.0  # [s]
JUMP = 0.1  # [s] by which a clock may be ahead of ours or run back


def name_of(key: str) -> str:
    """A feature's key as a person calls it: `observation.images.front` is the camera front."""
    return f"camera {key.rsplit('.', 1)[-1]}" if key.startswith("observation.images.") else key


@dataclass
class Watch:
    """Looks at every observation. features: of the robot, by key. patience: [s] that its body may be silent.

    `fault`: in words, why the episode cannot go on; empty where it can. `troubles`: what is odd, one line each.
    """

    features: Mapping[str, Feature]
    patience: float = STALE_BODY
    fault: str = ""
    troubles: tuple[str, ...] = ()
    _last: dict[str, float] = field(default_factory=dict, repr=False)
    _seen: dict[str, float] = field(default_factory=dict, repr=False)
    _began: float | None = field(default=None, repr=False)
    _jumped: dict[str, float] = field(default_factory=dict, repr=False)

    def reset(self) -> None:
        """A robot that was connected anew."""
        self.fault, self.troubles, self._began = "", (), None
        for remembered in (self._last, self._seen, self._jumped):
            remembered.clear()

    def look(self, now: float, observation: Mapping[str, Sample]) -> bool:
        """Take note of one observation; whether everything a frame needs is there and sound."""
        self._began = now if self._began is None else self._began
        faults = [self._wrong(key, feature, observation.get(key), now) for key, feature in self._wanted()]
        self.fault = next((fault for fault in faults if fault), "")
        self.troubles = tuple(
            f"The clock of {name_of(key)} jumped; times are marked. Does a time server set it?"
            for key, when in self._jumped.items()
            if now - when < 5.0
        )
        return not self.fault

    def _wanted(self) -> list[tuple[str, Feature]]:
        return [(key, feature) for key, feature in self.features.items() if key.startswith("observation.")]

    def _wrong(self, key: str, feature: Feature, sample: Sample | None, now: float) -> str:
        who, patience = name_of(key), max(STALE_CAMERA, self.patience) if feature.is_camera else self.patience
        assert self._began is not None
        if sample is None:
            late = now - self._seen.get(key, self._began) > 5 * patience
            return f"{who} gives nothing: check that it is plugged in" if late or not feature.is_camera else ""
        before = self._last.get(key)
        if sample.time > now + JUMP or (before is not None and sample.time < before - JUMP):
            self._jumped[key] = now
        if before is None or sample.time != before:
            self._seen[key] = now
        elif now - self._seen[key] > patience:
            return f"{who} has stood still for {now - self._seen[key]:.1f} s: check its cable and power"
        self._last[key] = sample.time
        value = sample.value
        if value.shape != feature.shape:
            return f"{who} gives {value.shape}, not {feature.shape}: it was set up anew while running"
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            named = (
                [] if feature.names is None else [n for n, v in zip(feature.names, value.flat, strict=False) if v != v]
            )
            return f"{who} answers NaN" + (f" for {', '.join(named[:3])}" if named else "") + ": check the sensor"
        return ""
