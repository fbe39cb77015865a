"""What the tabletop's arm senses and is told: names, units and limits of state and action.

Action `(5,)` float32: where the tool shall be next, absolute, in the base frame – x, y, z [m], yaw [rad] – and
the gripper's opening, 0 closed to 1 open. The tool points down.
State `(10,)` float32, measured: five joint angles [rad], the tool's x, y, z [m] and yaw [rad], the opening.
The names of the action stand among the names of the state, so an action can be taken relative to it by name.
"""

from __future__ import annotations

import numpy as np

from dataengine.episode import Feature
from dataengine.sim.arm import JOINTS
from dataengine.sim.kinematics import WORKSPACE_HIGH, WORKSPACE_LOW

ACTION_NAMES = ("ee.x", "ee.y", "ee.z", "ee.yaw", "gripper.pos")
ACTION_UNITS = ("m", "m", "m", "rad", "1")
STATE_NAMES = (*(f"{joint}.pos" for joint in JOINTS), *ACTION_NAMES)
STATE_UNITS = (*("rad",) * len(JOINTS), *ACTION_UNITS)

ACTION_LOW = np.array([*WORKSPACE_LOW, -np.pi / 2, 0.0], np.float32)
ACTION_HIGH = np.array([*WORKSPACE_HIGH, np.pi / 2, 1.0], np.float32)

_POSE = {"frame": "base", "rotation": "yaw about z, tool pointing down"}


def spaces(cameras: tuple[str, ...], image_size: int) -> dict[str, Feature]:
    """State, cameras and action as features of a dataset."""
    picture = Feature("video", (image_size, image_size, 3), ("height", "width", "channels"), "image")
    return {
        "observation.state": Feature("float32", (len(STATE_NAMES),), STATE_NAMES, "state", STATE_UNITS, info=_POSE),
        **{f"observation.images.{camera}": picture for camera in cameras},
        "action": Feature(
            "float32", (len(ACTION_NAMES),), ACTION_NAMES, "action", ACTION_UNITS, info={**_POSE, "kind": "absolute"}
        ),
    }


def diagnostics(state_size: int) -> dict[str, Feature]:
    """What a demonstration holds beside what a policy sees and does."""
    return {
        "next.reward": Feature("float32", (1,), ("progress",), "reward", "1"),
        "next.success": Feature("bool", (1,), ("success",), "done"),
        "next.done": Feature("bool", (1,), ("done",), "done"),
        "collect.executed_action": Feature("float32", (len(ACTION_NAMES),), ACTION_NAMES, "other", ACTION_UNITS),
        "sim.state": Feature("float64", (state_size,), None, "other", "SI"),
    }
