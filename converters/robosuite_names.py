"""What robosuite's simulators call their numbers: names, units and rotation conventions of observations and actions.

Facts of robosuite 1.2 to 1.5 and of LIBERO, which stands on it; a file says only how many numbers there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from converters.raw import Column
from converters.rotations import CONVENTIONS

_XYZ = ("x", "y", "z")
_FINGERS = ("finger1", "finger2")

# By the end of an observation's name: names of its values, unit, rotation convention. Names None: joint1, joint2 …
_PROPRIOCEPTION: dict[str, tuple[tuple[str, ...] | None, str | None, str | None]] = {
    "eef_pos": (_XYZ, "m", None),
    "eef_quat": (CONVENTIONS["quaternion_xyzw"], "1", "quaternion_xyzw"),
    "eef_quat_site": (CONVENTIONS["quaternion_xyzw"], "1", "quaternion_xyzw"),
    "eef_vel_lin": (_XYZ, "m/s", None),
    "eef_vel_ang": (_XYZ, "rad/s", None),
    "gripper_qpos": (_FINGERS, None, None),
    "gripper_qvel": (_FINGERS, None, None),
    "joint_pos": (None, "rad", None),
    "joint_pos_cos": (None, "1", None),
    "joint_pos_sin": (None, "1", None),
    "joint_vel": (None, "rad/s", None),
    "joint_acc": (None, "rad/s^2", None),
    "joint_torques": (None, "N m", None),
    # LIBERO
    "ee_pos": (_XYZ, "m", None),
    "ee_ori": (CONVENTIONS["axis_angle"], "rad", "axis_angle"),
    "ee_states": (_XYZ + CONVENTIONS["axis_angle"], None, None),
    "gripper_states": (_FINGERS, None, None),
    "joint_states": (None, "rad", None),
}
# The order in which observations are joined to a state; the rest follow by name.
_ORDER = ("eef_pos", "ee_pos", "eef_quat", "ee_ori", "gripper_qpos", "gripper_states", "joint_pos", "joint_states")

# robosuite's `object` observation, where the environment says what it is made of.
_OBJECTS: dict[tuple[str, int], tuple[str, ...]] = {
    ("Lift", 10): (
        *(f"cube_pos.{a}" for a in _XYZ),
        *(f"cube_quat.{a}" for a in CONVENTIONS["quaternion_xyzw"]),
        *(f"gripper_to_cube_pos.{a}" for a in _XYZ),
    )
}
_OBJECT_UNITS = {10: ("m",) * 3 + ("1",) * 4 + ("m",) * 3}


# What other labs that write robomimic's layout call their robot's observations.
_ROBOT = re.compile(
    r"robot\d*_|((left|right)_)?(arm|eef?|end_effector|tcp|gripper(?!_to_)|joints?|qpos|qvel|proprio\w*|state)(_|/|$)"
)


def is_proprioception(name: str) -> bool:
    """Whether an observation belongs to the robot rather than to the scene."""
    return name in _PROPRIOCEPTION or bool(_ROBOT.match(name))


def state_order(name: str) -> tuple[str, int, str]:
    """Sort key of the robot's observations: robot by robot, the pose of the hand first."""
    robot = (re.match(r"robot\d+_", name) or [""])[0]
    bare = name.removeprefix(robot)
    return robot, _ORDER.index(bare) if bare in _ORDER else len(_ORDER), bare


def observation_part(column: Column, stem: str, robots: tuple[str, ...]) -> dict[str, Any]:
    """A mapping's part for one observation of the robot; stem: what its values are called, as `robot0_eef_pos`."""
    part: dict[str, Any] = {"column": column.name}
    bare = re.sub(r"^robot\d+_(right_|left_)?", "", stem)
    if bare not in _PROPRIOCEPTION:
        return part
    names, unit, rotation = _PROPRIOCEPTION[bare]
    names = names or tuple(f"joint{i + 1}" for i in range(column.size))
    if len(names) != column.size:
        return part
    part["names"] = [f"{stem}.{n}" for n in names]
    if bare.startswith("gripper") and set(robots) == {"Panda"}:  # sliding fingers; other hands have hinges
        unit = "m/s" if bare.endswith("qvel") else "m"
    if bare == "ee_states":
        part["unit"] = ["m"] * 3 + ["rad"] * 3
    elif unit:
        part["unit"] = unit
    return part | ({"rotation": rotation} if rotation else {})


def object_part(column: Column, environment: str) -> dict[str, Any]:
    """A mapping's part for robosuite's joined `object` observation."""
    part: dict[str, Any] = {"column": column.name}
    if (names := _OBJECTS.get((environment, column.size))) is not None:
        part |= {"names": list(names), "unit": list(_OBJECT_UNITS[column.size])}
    return part


def robot_states_part(column: Column) -> dict[str, Any]:
    """LIBERO's `robot_states`: fingers, position and quaternion (xyzw) of the hand, once more."""
    part: dict[str, Any] = {"column": column.name}
    if column.size == 9:
        axes = (*_FINGERS, *_XYZ, *CONVENTIONS["quaternion_xyzw"])
        part |= {"names": [f"robot_states.{a}" for a in axes], "unit": ["m"] * 5 + ["1"] * 4}
    return part


def action_rule(column: Column, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The rule for `actions`: named where the controller is known, and what its numbers mean.

    OSC_POSE with deltas: every value is in [-1, 1] and scaled by the controller to `output_max` metres and
    radians a step, which goes into the feature's info.
    """
    rule: dict[str, Any] = {"from": [{"column": column.name}]}
    controllers = list(_controllers(environment.get("controller_configs")))
    if not controllers:
        return rule
    first = controllers[0]
    kind = str(first.get("type", ""))
    delta = first.get("input_type", "delta" if first.get("control_delta", True) else "absolute") == "delta"
    rule["control"] = "delta" if delta else "absolute"
    keys = ("type", "input_max", "input_min", "output_max", "output_min", "input_ref_frame")
    rule["info"] = {"controller": {k: first[k] for k in keys if k in first}}
    arm = {
        "OSC_POSE": ("x", "y", "z", *CONVENTIONS["axis_angle"]),
        "OSC_POSITION": _XYZ,
        "IK_POSE": ("x", "y", "z", *CONVENTIONS["axis_angle"]),
    }.get(kind)
    arms = max(
        len(environment.get("robots") or ()), len(controllers) if isinstance(environment.get("robots"), str) else 1
    )
    if kind.startswith("JOINT_") and column.size % arms == 0 and column.size // arms > 1:
        arm = tuple(f"joint{i + 1}" for i in range(column.size // arms - 1))
    if arm is None or column.size != arms * (len(arm) + 1):
        return rule
    sign = "d" if delta and not kind.startswith("JOINT_") else ""
    prefixes = [""] if arms == 1 else [f"robot{i}_" for i in range(arms)]
    rule["from"][0]["names"] = [f"{p}{n}" for p in prefixes for n in (*(f"{sign}{a}" for a in arm), "gripper")]
    if delta:
        rule["from"][0]["unit"] = "1"
    return rule


def _controllers(configs: Any) -> list[Mapping[str, Any]]:
    """Controllers of the arms: one dict (1.4), a list of them, or `body_parts` of a composite one (1.5)."""
    if isinstance(configs, list):
        return [c for config in configs for c in _controllers(config)]
    if not isinstance(configs, Mapping):
        return []
    parts = configs.get("body_parts")
    if isinstance(parts, Mapping):
        return [p for n, p in parts.items() if isinstance(p, Mapping) and n in ("right", "left", "arms")]
    return [configs] if "type" in configs else []
