"""The camera that filmed: its lens as it was told or assumed, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dataengine import plugins
from dataengine.errors import ConfigError
from dataengine.lens import Lens

USUAL = 66.0  # degrees along the longer side: between phones' main cameras (65 to 70) and webcams (60 to 70)
UNSURE = 0.15  # relative, of the focal length where nobody says it
SURE = 0.005


@dataclass(frozen=True, kw_only=True)
class Camera(Lens):
    """A lens, and how sure it is. spread: relative standard deviation of the focal length, and so of every distance."""

    spread: float = SURE

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.spread < 1:
            raise ConfigError(f"camera: spread is 0 to 1, not {self.spread}")
        if not (-0.5 <= self.cx <= self.width - 0.5 and -0.5 <= self.cy <= self.height - 0.5):
            raise ConfigError(
                f"camera: cx={self.cx:g}, cy={self.cy:g} lies outside of pictures of {self.width}×{self.height}: "
                f"width and height are of the pictures that all four were measured in"
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def camera_of(said: Mapping[str, Any] | None, width: int, height: int) -> Camera:
    """The camera of pictures of this size. said: the fields of `Camera`, or `fov`, degrees along the longer side; with
    neither a usual lens is assumed, and its spread says so. Raises `ConfigError`."""
    said = dict(said or {})
    if "fx" in said:
        given = {
            "fx": said["fx"],
            "fy": said["fx"],
            "width": width,
            "height": height,
            "cx": (width - 1) / 2,
            "cy": (height - 1) / 2,
        }
        return plugins.build(Camera, given | said, "the camera", "camera").scaled(width, height)
    spread = said.pop("spread", SURE if "fov" in said else UNSURE)
    fov = said.pop("fov", USUAL)
    if said:
        raise ConfigError(f"camera: give fx (and fy, cx, cy, distortion) or fov, not {', '.join(map(str, said))} alone")
    if not isinstance(fov, int | float) or not 5 <= fov <= 170:
        raise ConfigError(f"camera: fov is 5 to 170 degrees, not {fov!r}")
    if not isinstance(spread, int | float):
        raise ConfigError(f"camera: spread is 0 to 1, not {spread!r}")
    focal = max(width, height) / 2 / math.tan(math.radians(fov) / 2)
    across, down = (width - 1) / 2, (height - 1) / 2
    return Camera(width=width, height=height, fx=focal, fy=focal, cx=across, cy=down, spread=spread)
