"""What stands on the table and is not carried about: pad, bins, a cabinet with a drawer, a bowl.

Each is a body that a layout puts at `(x, y, yaw)`; its frame stands on the table top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dataengine.sim.things import ring_xml

PAD_HALF = 0.04  # [m]
BIN_HALF, BIN_WALL, BIN_HEIGHT = 0.045, 0.004, 0.036  # [m] inside, and the walls
DRAWER_HALF, DRAWER_HEIGHT, DRAWER_TRAVEL = 0.042, 0.042, 0.085  # [m]
CABINET_HEIGHT = 0.052  # [m]
HANDLE_GAP = 0.034  # [m] from the drawer's front to the middle of its handle
HANDLE_HEIGHT = 0.024  # [m]
BOWL_INNER, BOWL_HALF = 0.036, 0.020  # [m]

_SOLID = 'friction="0.8 0.01 0.0005" solref="0.01 1"'
# Duller than things of that colour, so that a thing is seen in its bin.
_COLOURS = {"": "", "red": "0.62 0.20 0.18 1", "blue": "0.20 0.28 0.58 1"}
_WOOD, _FRONT, _STEEL = "0.55 0.38 0.24 1", "0.72 0.53 0.36 1", "0.25 0.26 0.29 1"


@dataclass(frozen=True)
class Furniture:
    """One piece. half: half the side of the square (bowl: the radius) within which things are on or in it [m]; depth:
    how high things in it may lie [m]."""

    name: str
    shape: Literal["pad", "bin", "drawer", "bowl"]
    colour: str = ""

    @property
    def half(self) -> float:
        return {"pad": PAD_HALF, "bin": BIN_HALF, "drawer": DRAWER_HALF, "bowl": BOWL_INNER}[self.shape]

    def xml(self) -> str:
        """Its body."""
        return f"""
    <body name="{self.name}" mocap="true">
      {_PARTS[self.shape](self.name, _COLOURS[self.colour])}
    </body>"""


def excludes_xml(furniture: tuple[Furniture, ...]) -> str:
    """A drawer slides within its cabinet: the two never collide."""
    pairs = "".join(f'<exclude body1="{f.name}" body2="{f.name}_tray"/>' for f in furniture if f.shape == "drawer")
    return f"<contact>{pairs}</contact>" if pairs else ""


def _pad(name: str, rgba: str) -> str:
    """Flat paint on the table that collides with nothing."""
    return f'<geom name="{name}" type="box" size="{PAD_HALF} {PAD_HALF} 0.0005" rgba="0.16 0.62 0.30 1" class="shown"/>'


def _box(size: tuple[float, float, float], pos: tuple[float, float, float], rgba: str, more: str = "") -> str:
    sides, place = " ".join(f"{v:.6g}" for v in size), " ".join(f"{v:.6g}" for v in pos)
    return f'<geom type="box" size="{sides}" pos="{place}" rgba="{rgba}" {_SOLID} {more}/>'


def _walls(half: float, wall: float, height: float, floor: float, rgba: str, more: str = "") -> str:
    """Four walls around a square, from `floor` [m] up."""
    out, h = half + wall / 2, height / 2
    return "".join(
        (
            *(_box((wall / 2, half + wall, h), (s * out, 0, h + floor), rgba, more) for s in (-1, 1)),
            *(_box((half, wall / 2, h), (0, s * out, h + floor), rgba, more) for s in (-1, 1)),
        )
    )


def _bin(name: str, rgba: str) -> str:
    """Its floor is paint: things in it lie on the table, whose contacts are the steadiest."""
    paint = f'<geom type="box" size="{BIN_HALF} {BIN_HALF} 0.0005" rgba="{rgba}" class="shown"/>'
    return paint + _walls(BIN_HALF, BIN_WALL, BIN_HEIGHT, 0.0, rgba)


def _bowl(name: str, rgba: str) -> str:
    return f'<body pos="0 0 {BOWL_HALF}">{ring_xml(name, rgba, BOWL_INNER, 0.004, BOWL_HALF, 0.01)}</body>'


def _drawer(name: str, rgba: str) -> str:
    """A cabinet that is open towards +x, and a drawer that comes out of it there.

    The tray's frame is the cabinet's when the drawer is shut; the handle is a bar across, on two stems.
    """
    deep, wall, top = DRAWER_HALF + 0.006, 0.004, CABINET_HEIGHT
    cabinet = "".join(
        (
            _box((deep + wall, deep + wall, wall / 2), (0, 0, top - wall / 2), _WOOD),
            *(_box((deep + wall, wall / 2, top / 2), (0, s * (deep + wall / 2), top / 2), _WOOD) for s in (-1, 1)),
            _box((wall / 2, deep + wall, top / 2), (-deep - wall / 2, 0, top / 2), _WOOD),
        )
    )
    front, gap = DRAWER_HALF + 0.006, HANDLE_GAP / 2
    bar = front + HANDLE_GAP
    tray = "".join(
        (
            _box((DRAWER_HALF + 0.004, DRAWER_HALF + 0.004, 0.0015), (0, 0, 0.0025), _FRONT, 'mass="0.02"'),
            _walls(DRAWER_HALF, 0.004, DRAWER_HEIGHT, 0.001, _FRONT, 'mass="0.02"'),
            _box((0.003, 0.031, 0.005), (bar, 0, HANDLE_HEIGHT), _STEEL, 'mass="0.01"'),
            *(
                _box((gap, 0.003, 0.004), (front + gap, s * 0.028, HANDLE_HEIGHT), _STEEL, 'mass="0.004"')
                for s in (-1, 1)
            ),
        )
    )
    return f"""{cabinet}
      <body name="{name}_tray" gravcomp="1">
        <joint name="{name}" type="slide" axis="1 0 0" range="0 {DRAWER_TRAVEL}" damping="3" frictionloss="0.3"
               armature="0.05"/>
        {tray}
      </body>"""


_PARTS = {"pad": _pad, "bin": _bin, "drawer": _drawer, "bowl": _bowl}
