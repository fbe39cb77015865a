"""Robot hands in URDF that belong to nobody, of the kind that are sold: four fingers with sixteen joints of about an
Allegro hand's size, and five fingers of which six joints move and six follow them.

Both right ones. The link `palm` is the root; z goes to the fingers, x out of the palm, y to the thumb's side. With all
angles zero every link has the palm's axes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

# The hand with four fingers is that of the tests, which are no package.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from robot_hand_made import KNUCKLES, LINKS, RANGES, THUMB_LINKS, THUMB_RANGES, THUMB_ROOT

DIRECTIONS = {"fingers": (0.0, 0.0, 1.0), "out": (1.0, 0.0, 0.0)}


class Joint(NamedTuple):
    """place: where it is, from the joint before [m]. low, high: [rad]. follows: a joint's name and by how much."""

    name: str
    place: Sequence[float]
    axis: Sequence[float]
    low: float
    high: float
    follows: tuple[str, float] | None = None


class Finger(NamedTuple):
    """joints: from the palm outwards. tip: from the last of them [m]."""

    name: str
    joints: tuple[Joint, ...]
    tip: Sequence[float]


class Hand(NamedTuple):
    fingers: tuple[Finger, ...]

    @property
    def tips(self) -> tuple[str, ...]:
        """Links."""
        return tuple(f"{finger.name}_tip" for finger in self.fingers)

    @property
    def free(self) -> tuple[str, ...]:
        """Joints that do not follow others."""
        return tuple(joint.name for finger in self.fingers for joint in finger.joints if joint.follows is None)


def four() -> Hand:
    ahead = np.array([0.1, 0.8, 0.6]) / np.linalg.norm([0.1, 0.8, 0.6])
    bends = (0.2, -0.55, 0.75)
    thumb_axes = ((0, 0, -1), (1, 0, 0), bends, bends)
    axes = ((-1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 1, 0))
    fingers = [_four("thumb", THUMB_ROOT, ahead, thumb_axes, THUMB_RANGES, THUMB_LINKS)]
    up = np.array([0.0, 0.0, 1.0])
    return Hand((*fingers, *(_four(name, root, up, axes, RANGES, LINKS) for name, root in KNUCKLES.items())))


def _four(
    name: str,
    root: Sequence[float],
    ahead: np.ndarray,
    axes: Sequence[Sequence[float]],
    ranges: Sequence[tuple[float, float]],
    links: Sequence[float],
) -> Finger:
    places = (root, (0.0, 0.0, 0.0), ahead * links[0], ahead * links[1])
    joints = [Joint(f"{name}_{n}", places[n], axes[n], *ranges[n]) for n in range(4)]
    return Finger(name, tuple(joints), ahead * links[2])


def five() -> Hand:
    """A finger bends at its knuckle and its middle joint follows; the thumb turns about the palm and bends, and two
    joints follow that."""
    ahead = np.array([0.3, 0.75, 0.6]) / np.linalg.norm([0.3, 0.75, 0.6])
    bends = (0.35, -0.6, 0.65)
    thumb = (
        Joint("thumb_turn", (0.012, 0.024, 0.030), (0, 0, -1), -0.1, 1.3),
        Joint("thumb_bend", (0.0, 0.0, 0.0), bends, 0.0, 0.6),
        Joint("thumb_middle", ahead * 0.045, bends, 0.0, 0.9, ("thumb_bend", 1.4)),
        Joint("thumb_end", ahead * 0.030, bends, 0.0, 0.5, ("thumb_bend", 0.7)),
    )
    fingers = [Finger("thumb", thumb, ahead * 0.026)]
    for name, root, size in (
        ("index", (0.0, 0.030, 0.092), 1.0),
        ("middle", (0.0, 0.009, 0.096), 1.08),
        ("ring", (0.0, -0.012, 0.092), 1.0),
        ("little", (0.0, -0.032, 0.084), 0.82),
    ):
        knuckle = Joint(f"{name}_knuckle", root, (0, 1, 0), 0.0, 1.5)
        middle = Joint(f"{name}_middle", (0, 0, 0.040 * size), (0, 1, 0), 0.0, 1.65, (f"{name}_knuckle", 1.1))
        fingers.append(Finger(name, (knuckle, middle), (0, 0, 0.048 * size)))
    return Hand(tuple(fingers))


def urdf(hand: Hand) -> str:
    """Kinematics alone; masses are there because readers of URDF want some."""
    parts = [_link("palm")]
    for finger in hand.fingers:
        parent = "palm"
        for joint in finger.joints:
            child = f"{joint.name}_link"
            parts += [_link(child), _joint(joint, parent, child)]
            parent = child
        tip = f"{finger.name}_tip"
        parts += [
            _link(tip),
            f'<joint name="{tip}_fixed" type="fixed"><parent link="{parent}"/><child link="{tip}"/>'
            f'<origin xyz="{_numbers(finger.tip)}" rpy="0 0 0"/></joint>',
        ]
    return f'<robot name="hand">{"".join(parts)}</robot>'


def _link(name: str) -> str:
    inertia = '<inertia ixx="1e-5" iyy="1e-5" izz="1e-5" ixy="0" ixz="0" iyz="0"/>'
    return f'<link name="{name}"><inertial><mass value="0.02"/>{inertia}</inertial></link>'


def _joint(joint: Joint, parent: str, child: str) -> str:
    axis = np.array(joint.axis, np.float64) / np.linalg.norm(joint.axis)
    leader = joint.follows
    mimic = "" if leader is None else f'<mimic joint="{leader[0]}" multiplier="{leader[1]}" offset="0"/>'
    return (
        f'<joint name="{joint.name}" type="revolute"><parent link="{parent}"/><child link="{child}"/>'
        f'<origin xyz="{_numbers(joint.place)}" rpy="0 0 0"/><axis xyz="{_numbers(axis)}"/>'
        f'<limit lower="{joint.low}" upper="{joint.high}" effort="1" velocity="6"/>{mimic}</joint>'
    )


def _numbers(vector: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{number:.9g}" for number in vector)
