"""What becomes of a replay buffer's arrays, and what has to be assumed for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.files import Proposal
from converters.raw import Camera, Column
from converters.robosuite_names import is_proprioception, observation_part, state_order
from converters.rotations import CONVENTIONS
from converters.zarr_store import ArrayHeader
from dataengine.source import Assumption

_XYZ = ("x", "y", "z")
# By the end of an array's name: names of its values, units, rotation convention.
_POSE: dict[str, tuple[tuple[str, ...], str, str | None]] = {
    "eef_pos": (_XYZ, "m", None),
    "eef_rot_axis_angle": (CONVENTIONS["axis_angle"], "rad", "axis_angle"),
    "gripper_width": (("width",), "m", None),
}
_START_AND_END = (*_XYZ, *CONVENTIONS["axis_angle"])
_UMI_RATE, _PUSHT_RATE = 60.0, 10.0


def propose(
    columns: Mapping[str, Column],
    cameras: Mapping[str, Camera],
    headers: Mapping[str, ArrayHeader],
    bright: Mapping[str, float],
) -> Proposal:
    """bright: the largest value in the first picture of cameras kept as floats."""
    assumed: list[Assumption] = [
        Assumption("task", None, "there is no instruction; an empty one stands for it, give one as `task`")
    ]
    notes = [f"{name} went through the lossy codec {h.lossy}" for name, h in headers.items() if h.lossy]
    if _is_umi(columns):
        features, rate, robot = _umi(columns), _UMI_RATE, "umi"
        assumed.append(Assumption("fps", rate, "no file says the rate; UMI's GoPro runs at 60 Hz"))
        if "derive" in features.get("action", {}):
            why = "there are no actions; the next row's pose is what the gripper was moved to"
            assumed.append(Assumption("features/action/derive", "next_pose", why))
    elif _is_pusht(columns):
        features, rate, robot = _pusht(), _PUSHT_RATE, "pusht"
        assumed.append(Assumption("fps", rate, "no file says the rate; PushT is controlled at 10 Hz"))
    else:
        features, rate, robot = {}, None, None
        robots = sorted((n for n in columns if re.match(r"robot\d+_", n) and is_proprioception(n)), key=state_order)
        if "state" in columns:
            features["observation.state"] = {"from": ["state"]}
        elif robots:  # `robomimic_image` and its like: robosuite's observations, one array each
            features["observation.state"] = {"from": [observation_part(columns[n], n, ()) for n in robots]}
        if "action" in columns:
            features["action"] = {"from": ["action"]}
    taken = {p["column"] if isinstance(p, dict) else p for rule in features.values() for p in rule.get("from", [])}
    for name in columns:
        if name not in taken:  # kept, but no input of a policy unless the mapping makes it one
            features[_spare(name)] = {"from": [_spare_part(columns[name])]}
    if robot:
        assumed.append(Assumption("embodiment", robot, "no file names the robot; the arrays are called as this one's"))
    if not any(key.startswith("observation.state") for key in features):
        notes.append("no array is called state; name the robot's under features: observation.state")
    mapping = {
        "fps": rate, "embodiment": robot, "task": None, "licence": None,
        "features": features, "cameras": _cameras(cameras, headers, bright, assumed),
    }  # fmt: skip
    return Proposal(mapping, tuple(assumed), tuple(notes))


def vital(columns: Mapping[str, Column]) -> set[str]:
    """Arrays that say what the robot did: these cannot be missing in part."""
    poses = {name for name in columns if re.sub(r"^robot\d+_", "", name) in _POSE}
    return poses | ({"state", "action"} & set(columns))


def _is_umi(columns: Mapping[str, Column]) -> bool:
    """A hand's pose as UMI writes it; robosuite has positions of the same name beside quaternions."""
    return any(re.fullmatch(r"robot\d+_(eef_rot_axis_angle|gripper_width)", name) for name in columns)


def _umi_order(name: str) -> tuple[str, int]:
    """Robot by robot: position, rotation, gripper."""
    robot, _, end = name.partition("_")
    return robot, list(_POSE).index(end) if end in _POSE else len(_POSE)


def _umi(columns: Mapping[str, Column]) -> dict[str, Any]:
    """The pose of every gripper; one action for all of them, from the next pose unless the file has actions."""
    pose = []
    for name in sorted(columns, key=_umi_order):
        end = re.sub(r"^robot\d+_", "", name)
        if end in _POSE and len(_POSE[end][0]) == columns[name].size:
            names, unit, rotation = _POSE[end]
            part: dict[str, Any] = {"column": name, "names": [f"{name}.{n}" for n in names], "unit": unit}
            pose.append(part | ({"rotation": rotation} if rotation else {}))
    action = (
        {"from": ["action"]} if "action" in columns else {"from": pose, "derive": "next_pose", "control": "absolute"}
    )
    return {"observation.state": {"from": pose}, "action": action}


def _is_pusht(columns: Mapping[str, Column]) -> bool:
    shapes = {name: columns[name].size for name in ("state", "action") if name in columns}
    return shapes == {"state": 5, "action": 2} and bool({"n_contacts", "keypoint"} & set(columns))


def _pusht() -> dict[str, Any]:
    names = ["agent.x", "agent.y", "block.x", "block.y", "block.angle"]
    return {
        "observation.state": {"from": [{"column": "state", "names": names, "unit": ["px"] * 4 + ["rad"]}]},
        "action": {
            "from": [{"column": "action", "names": ["agent.x", "agent.y"], "unit": "px"}],
            "control": "absolute",
        },
    }


def _spare_part(column: Column) -> dict[str, Any]:
    part: dict[str, Any] = {"column": column.name}
    if re.fullmatch(r"robot\d+_demo_(start|end)_pose", column.name) and column.size == len(_START_AND_END):
        part |= {"names": [f"{column.name}.{a}" for a in _START_AND_END], "unit": ["m"] * 3 + ["rad"] * 3}
    return part


def _spare(name: str) -> str:
    known = {"reward": "next.reward", "rewards": "next.reward", "done": "next.done", "dones": "next.done"}
    return known.get(name, "collect." + name.replace("/", "."))


def _cameras(
    cameras: Mapping[str, Camera],
    headers: Mapping[str, ArrayHeader],
    bright: Mapping[str, float],
    assumed: list[Assumption],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, camera in cameras.items():
        shape, dtype = headers[name].shape, np.dtype(headers[name].dtype)
        bare = name.replace("/", ".").removesuffix("_rgb").removesuffix("_depth") or name
        key = f"observation.images.{bare}" + ("_depth" if camera.kind == "depth" else "")
        rule: dict[str, Any] = {"from": name, "kind": camera.kind, "flip": "none"}
        if len(shape) == 4 and shape[3] not in (1, 3, 4):
            rule["layout"] = "chw"
        if camera.kind == "depth":
            rule["scale"] = 0.001 if dtype.kind == "u" else 1.0
            assumed.append(
                Assumption(f"cameras/{key}/scale", rule["scale"], "whole numbers are taken for mm, others for m")
            )
        else:
            rule["colour"] = "rgb"
            if dtype.kind == "f":
                rule["scale"] = 1.0 if bright[name] > 1.0 else 255.0
                why = f"pictures are {dtype}; the brightest value of a few is {bright[name]:g}"
                assumed.append(Assumption(f"cameras/{key}/scale", rule["scale"], why))
        found[key] = rule
    return found
