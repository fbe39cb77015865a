"""What lies on the table and can be moved: cubes, cylinders, balls, prisms, a cup with a handle, beads.

A thing's frame stands at the middle of its height, so a thing at rest is `half` above what it lies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

COLOURS = {
    "red": "0.88 0.10 0.10 1",
    "blue": "0.10 0.22 0.92 1",
    "yellow": "0.96 0.78 0.10 1",
    "orange": "0.95 0.45 0.08 1",
    "purple": "0.52 0.20 0.68 1",
    "white": "0.93 0.93 0.95 1",
}
Shape = Literal["cube", "cylinder", "ball", "prism", "cup", "bead"]

CUBE_HALF = 0.015  # [m]
CYLINDER_RADIUS, CYLINDER_HALF = 0.015, 0.018  # [m]
BALL_RADIUS = 0.016  # [m]
PRISM_LENGTH, PRISM_WIDTH, PRISM_HEIGHT = 0.032, 0.036, 0.030  # [m] a roof with upright gables
BEAD_RADIUS = 0.0065  # [m]
CUP_HALF, CUP_INNER, CUP_WALL = 0.026, 0.021, 0.003  # [m]
HANDLE = 0.048  # [m] from the cup's axis to where its handle is gripped

HALF: dict[str, float] = {
    "cube": CUBE_HALF,
    "cylinder": CYLINDER_HALF,
    "ball": BALL_RADIUS,
    "prism": PRISM_HEIGHT / 2,
    "cup": CUP_HALF,
    "bead": BEAD_RADIUS,
}
NOUNS: dict[str, tuple[str, str]] = {  # the usual word, and another one
    "cube": ("cube", "block"),
    "cylinder": ("cylinder", "can"),
    "ball": ("ball", "ball"),
    "prism": ("prism", "roof"),
    "cup": ("cup", "mug"),
    "bead": ("bead", "bead"),
}
# By how much a thing can be turned under the gripper without a difference [rad]; 0: by anything.
TURNS: dict[str, float] = {"cube": 90, "cylinder": 0, "ball": 0, "prism": 180, "cup": 180, "bead": 0}

_TOUCH = 'friction="1 0.01 0.0005" condim="4" solref="0.01 1"'
_ROLLS = 'friction="1 0.01 0.002" condim="6" solref="0.01 1"'
_POURS = 'friction="0.6 0.005 0.0003" condim="6" solref="0.01 1"'


@dataclass(frozen=True)
class Thing:
    """One movable thing. name: its body in the model; empty: colour and shape."""

    colour: str
    shape: Shape = "cube"
    called: str = ""

    @property
    def name(self) -> str:
        return self.called or f"{self.colour}_{self.shape}"

    @property
    def half(self) -> float:
        """Half its height [m]."""
        return HALF[self.shape]

    @property
    def noun(self) -> str:
        """How it is called in an instruction."""
        return f"{self.colour} {NOUNS[self.shape][0]}"

    @property
    def also(self) -> str:
        """How else it may be called."""
        return f"{self.colour} {NOUNS[self.shape][1]}"

    def xml(self) -> str:
        """Its body, free to move."""
        return f"""
    <body name="{self.name}"><freejoint name="{self.name}"/>
      {_GEOMS[self.shape](self.name, COLOURS[self.colour])}
    </body>"""


def assets_xml(things: tuple[Thing, ...]) -> str:
    """The prism's shape, six corners, where one of the things is a prism."""
    if not any(thing.shape == "prism" for thing in things):
        return ""
    x, y, z = PRISM_LENGTH / 2, PRISM_WIDTH / 2, PRISM_HEIGHT / 2
    corners = " ".join(f"{sx * x} {sy * y} {-z}" for sx in (-1, 1) for sy in (-1, 1)) + f" {-x} 0 {z} {x} 0 {z}"
    return f'<asset><mesh name="prism" vertex="{corners}"/></asset>'


def _cube(name: str, rgba: str) -> str:
    return f"""<geom name="{name}" type="box" size="{CUBE_HALF} {CUBE_HALF} {CUBE_HALF}" mass="0.025" rgba="{rgba}"
            {_TOUCH}/>"""


def _cylinder(name: str, rgba: str) -> str:
    size = f"{CYLINDER_RADIUS} {CYLINDER_HALF}"
    return f'<geom name="{name}" type="cylinder" size="{size}" mass="0.025" rgba="{rgba}" {_TOUCH}/>'


def _ball(name: str, rgba: str) -> str:
    return f'<geom name="{name}" type="sphere" size="{BALL_RADIUS}" mass="0.02" rgba="{rgba}" {_ROLLS}/>'


def _bead(name: str, rgba: str) -> str:
    return f'<geom name="{name}" type="sphere" size="{BEAD_RADIUS}" mass="0.002" rgba="{rgba}" {_POURS}/>'


def _prism(name: str, rgba: str) -> str:
    return f'<geom name="{name}" type="mesh" mesh="prism" mass="0.025" rgba="{rgba}" {_TOUCH}/>'


def _cup(name: str, rgba: str) -> str:
    """Eight walls around a floor, and a handle: a stem at half height and a plate to be gripped, behind the cup."""
    walls = ring_xml(name, rgba, CUP_INNER, CUP_WALL, CUP_HALF, 0.004)
    stem, plate = -(CUP_INNER + HANDLE) / 2 - 0.003, -HANDLE
    return f"""{walls}
      <geom name="{name}_stem" type="box" size="{(HANDLE - CUP_INNER) / 2} 0.004 0.006" pos="{stem} 0 0.004"
            mass="0.003" rgba="{rgba}" class="shown"/>
      <geom name="{name}_handle" type="box" size="0.010 0.006 0.018" pos="{plate} 0 0.004" mass="0.005" rgba="{rgba}"
            {_TOUCH}/>"""


def ring_xml(name: str, rgba: str, inner: float, wall: float, half: float, mass: float) -> str:
    """An open vessel of eight walls and a floor; its frame at half its height. mass: of each wall [kg]."""
    side, out = (inner + wall) * 0.4142 + 0.0005, inner + wall / 2
    walls = "".join(
        f'<geom type="box" size="{wall / 2} {side} {half}" pos="{out * c:.6f} {out * s:.6f} 0" '
        f'euler="0 0 {k * 0.7853981634}" mass="{mass}" rgba="{rgba}" {_TOUCH}/>'
        for k, (c, s) in enumerate(_EIGHTHS)
    )
    floor = f'<geom name="{name}" type="cylinder" size="{inner + wall / 2} 0.002" pos="0 0 {0.002 - half}"'
    return f'{floor} mass="{4 * mass}" rgba="{rgba}" {_TOUCH}/>{walls}'


_H = 0.5**0.5
_EIGHTHS = ((1, 0), (_H, _H), (0, 1), (-_H, _H), (-1, 0), (-_H, -_H), (0, -1), (_H, -_H))
_GEOMS = {"cube": _cube, "cylinder": _cylinder, "ball": _ball, "bead": _bead, "prism": _prism, "cup": _cup}
