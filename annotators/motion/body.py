"""What an episode's state columns say of the robot: arms with tool positions or joints, and grippers.

Names decide, as the converters write them: `ee.x`, `robot0_eef_pos.z`, `agent.y`, `left_gripper`, `elbow.pos`,
`kLeftShoulderPitch`. Objects, velocities, forces, legs and fingers of a hand are no arm. Units and the frame of
reference come from the feature; where it says none, directions are named by their axes only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dataengine.episode import Episode

TOOL = {"ee", "eef", "effector", "tcp", "tool", "hand", "agent", "pose", "gripper"}
GRIPPER = {"gripper", "jaw", "claw", "finger", "finger1", "width"}
RATES = {"vel", "qvel", "velocity", "acc", "effort", "torque", "force", "current"}
OBJECTS = {"object", "cube", "block", "target", "goal", "base", "leg", "neck", "head", "waist", "torso", "site"}
FINGERS = {"pinky", "ring", "middle", "index", "thumb", "hand", "finger2"}
NO_JOINT = OBJECTS | FINGERS | {"quat", "rot", "cos", "sin"}
JOINTS = {"joint", "shoulder", "elbow", "wrist", "forearm", "waist", "arm", "pan", "lift", "flex", "roll", "pos"}
# ALOHA calls the first joint of an arm its waist, and it belongs to the arm then.
ARM_SIDES = {"left", "right"}
# Words for the positive and negative direction of x, y, z, by frame of reference. Base frames after ROS REP 103:
# x forward, y left, z up. A world whose z points up. Pictures: x right, y down.
DIRECTIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "base": (("forward", "backward"), ("left", "right"), ("up", "down")),
    "world": (("along +x", "along -x"), ("along +y", "along -y"), ("up", "down")),
    "image": (("right", "left"), ("down", "up")),
    "axes": (("along +x", "along -x"), ("along +y", "along -y"), ("along +z", "along -z")),
}


@dataclass(frozen=True)
class Arm:
    """One arm over time. side: "" where there is only one.

    position: `(T, 2 or 3)` of the tool in `unit`, or None. yaw: `(T,)` [rad] of the tool about z, or None. joints:
    `(T, J)` with names, where there is no position. opening: `(T,)` of the gripper, larger is more open, or None;
    stroke: the change of it that counts as all the way.
    """

    side: str
    position: np.ndarray | None = None
    unit: str | None = None
    yaw: np.ndarray | None = None
    joints: np.ndarray | None = None
    joint_names: tuple[str, ...] = ()
    opening: np.ndarray | None = None
    stroke: float = 1.0


@dataclass(frozen=True)
class Body:
    """The arms an episode's state names. frame: a key of `DIRECTIONS`. unknown: what the columns do not say."""

    arms: tuple[Arm, ...]
    frame: str
    unknown: tuple[str, ...] = ()


@dataclass
class _Found:
    """Columns of one arm while they are being collected."""

    axes: dict[str, np.ndarray] = field(default_factory=dict)
    units: set[str | None] = field(default_factory=set)
    joints: dict[str, np.ndarray] = field(default_factory=dict)
    yaw: np.ndarray | None = None
    opening: np.ndarray | None = None
    stroke: float = 1.0


def read_body(episode: Episode, frame: str | None = None) -> Body:
    """Arms and grippers of an episode. frame: what the positions refer to, where the user knows better."""
    arms: dict[str, _Found] = {}
    stated: set[str] = set()
    named = False
    for key in episode.keys_of("state"):
        feature = episode.features[key]
        if not feature.names or key not in episode.frames:
            continue
        named = True
        values = np.asarray(episode.frames[key], np.float64).reshape(episode.length, -1)
        units = feature.unit if isinstance(feature.unit, tuple) else (feature.unit,) * values.shape[1]
        stated.add(str(feature.info.get("frame", "")))
        for name, unit, column in zip(feature.names, units, values.T, strict=False):
            _sort_in(arms, f"{key.removeprefix('observation.')}.{name}", name, unit, column)
    if not named:
        return Body((), "axes", ("the state's dimensions have no names",))
    found = [_finished(side, arm, bool(any(other.axes for other in arms.values()))) for side, arm in arms.items()]
    present = tuple(a for a in found if a.position is not None or a.joints is not None or a.opening is not None)
    if len(present) == 1:
        present = (replace(present[0], side=""),)
    unknown = [] if present else ["no dimension of the state names a tool, a joint or a gripper"]
    if present and all(arm.opening is None for arm in present):
        unknown.append("no dimension of the state names a gripper")
    return Body(present, frame or _frame(stated, present), tuple(unknown))


def words_of(name: str) -> list[str]:
    """`kLeftShoulderPitch` and `left_shoulder.pitch` both as left, shoulder, pitch."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^a-z0-9]+", split.casefold()) if word and word != "k"]


def _sort_in(arms: dict[str, _Found], full: str, name: str, unit: str | None, column: np.ndarray) -> None:
    """Put one dimension where its name says it belongs, if anywhere."""
    words = words_of(name)
    side = next((word for word in words if word in ARM_SIDES or re.fullmatch(r"robot\d+", word)), "")
    rest = set(words) - {side}
    last = words[-1] if words else ""
    arm = arms.setdefault(side, _Found())
    if RATES & set(words_of(full)):
        return
    if last in ("x", "y", "z"):
        if rest & TOOL and not rest & OBJECTS:
            arm.axes.setdefault(last, column)
            arm.units.add(unit)
    elif last == "yaw" and rest & TOOL:
        arm.yaw = column
    elif rest & GRIPPER and not rest & OBJECTS and "finger2" not in rest:
        if arm.opening is None:
            arm.opening, arm.stroke = column, _stroke(unit, column)
    elif not rest & (NO_JOINT - ({"waist"} if side in ARM_SIDES else set())) and _is_joint(rest, unit):
        arm.joints[name] = column


def _is_joint(words: set[str], unit: str | None) -> bool:
    return unit in ("rad", "deg") or any(word.rstrip("0123456789") in JOINTS for word in words)


def _stroke(unit: str | None, column: np.ndarray) -> float:
    """What counts as opening all the way: 1 and 100 where the unit is a share, else what the episode shows."""
    reach = float(np.ptp(column))
    return {"1": 1.0, "%": 100.0, "m": max(reach, 0.02)}.get(unit or "", reach if reach > 1e-3 else np.inf)


def _finished(side: str, found: _Found, some_have_tools: bool) -> Arm:
    axes = [found.axes[a] for a in "xyz" if a in found.axes]
    position = np.stack(axes, axis=1) if {"x", "y"} <= set(found.axes) else None
    unit = next(iter(found.units)) if len(found.units) == 1 else None
    use_joints = position is None and not some_have_tools and found.joints
    return Arm(
        side,
        position=position,
        unit=unit,
        yaw=found.yaw if position is not None else None,
        joints=np.stack(list(found.joints.values()), axis=1) if use_joints else None,
        joint_names=tuple(found.joints) if use_joints else (),
        opening=found.opening,
        stroke=found.stroke,
    )


def _frame(stated: Iterable[str], arms: tuple[Arm, ...]) -> str:
    """The frame the features state, or that of pictures for positions in pixels; else only axes have names."""
    if any(arm.position is not None and arm.unit in ("px", "pixel") for arm in arms):
        return "image"
    known = [frame for frame in stated if frame in DIRECTIONS]
    return known[0] if len(known) == 1 else "axes"
