"""Depth as LeRobot 0.6 keeps it: 12-bit codes on a logarithmic scale, in lossless HEVC of pixel format gray12le.

With d in metres: code = rint(4095 · (log(d + shift) - log(min + shift)) / (log(max + shift) - log(min + shift))),
clipped to 0..4095 (lerobot.datasets.depth_utils, which took it from BEHAVIOR-1K). The codes are exact; the way
back gives the middle of a code's interval, about 1 mm wide at 1 m with the default constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from dataengine.errors import ConfigError

PIX_FMT = "gray12le"
_TOP = 4095


@dataclass(frozen=True)
class DepthCoding:
    """How metres become codes. min, max, shift: metres. unit: what LeRobot's `depth_unit` says, the unit in which
    the dataset gives this camera's statistics; frames are metres here whatever it says. log: False for a linear scale.
    """

    min: float = 0.01
    max: float = 10.0
    shift: float = 3.5
    unit: Literal["m", "mm"] = "m"
    log: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min) and math.isfinite(self.max) and 0 <= self.min < self.max):
            raise ConfigError(f"depth needs 0 <= min < max in metres, not {self.min} and {self.max}")
        if self.log and not (math.isfinite(self.shift) and self.min + self.shift > 0):
            raise ConfigError(f"logarithmic depth needs min + shift > 0, not {self.min} + {self.shift}")
        if self.unit not in ("m", "mm"):
            raise ConfigError(f"a depth unit is 'm' or 'mm', not {self.unit!r}")

    def encode(self, metres: np.ndarray) -> np.ndarray:
        """`(..., H, W)` uint16 codes of `(..., H, W)` float32 metres. NaN (no return) becomes code 0."""
        depth = np.asarray(metres, np.float32)
        # Nearer than -shift there is no logarithm, and absurd floats overflow: all of it clips to 0 or 4095.
        with np.errstate(all="ignore"):
            if self.log:
                low = math.log(float(np.float32(self.min) + np.float32(self.shift)))
                high = math.log(float(np.float32(self.max) + np.float32(self.shift)))
                part = (np.log(depth + np.float32(self.shift)) - low) / (high - low)
            else:
                part = (depth - np.float32(self.min)) / (np.float32(self.max) - np.float32(self.min))
            codes = np.rint(part * _TOP)
        below = np.isnan(codes) if not self.log else np.isnan(codes) | (depth <= self.min)
        return np.where(below, 0, codes).clip(0, _TOP).astype(np.uint16)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """float32 metres of uint16 codes, of the same shape."""
        return _table(self)[np.minimum(codes, _TOP)]

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> DepthCoding | None:
        """The coding that a feature's `info` block describes; None when it is not a depth camera."""
        if not (info.get("is_depth_map") or info.get("video.is_depth_map")):
            return None
        values = {name: info.get(key) for name, key in _KEYS.items()}
        return cls(unit=info.get("depth_unit") or "mm", **{k: v for k, v in values.items() if v is not None})

    def to_info(self) -> dict[str, Any]:
        return {
            "is_depth_map": True,
            "depth_unit": self.unit,
            **{key: getattr(self, name) for name, key in _KEYS.items()},
        }


_KEYS = {"min": "video.depth_min", "max": "video.depth_max", "shift": "video.shift", "log": "video.use_log"}


@cache
def _table(coding: DepthCoding) -> np.ndarray:
    """`(4096,)` float32: metres of every code, computed in float32 as LeRobot does."""
    metres = np.empty(_TOP + 1, np.float32)
    low, high = coding.min, coding.max
    if coding.log:
        low, high = math.log(coding.min + coding.shift), math.log(coding.max + coding.shift)
    np.multiply(np.arange(_TOP + 1, dtype=np.uint16), (high - low) / _TOP, out=metres)
    np.add(metres, low, out=metres)
    if coding.log:
        np.exp(metres, out=metres)
        np.subtract(metres, coding.shift, out=metres)
    return np.clip(metres, coding.min, coding.max, out=metres)
