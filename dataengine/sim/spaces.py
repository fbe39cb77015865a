"""What the tabletop's arm senses and is told: names, units and limits of state and action.

Action `(A,)` float32: where the tool shall be next, absolute, in the base frame, and the gripper's opening, 0 closed to
1 open. Arm five `(5,)`: x, y, z [m], yaw [rad], the tool points down. Arm six `(7,)`: x, y, z [m], roll, pitch, yaw
[rad], extrinsic x-y-z angles relative to pointing straight down.
State float32, measured: the joint angles [rad], then what the action names.
The names of the action stand among the names of the state, so an action can be taken relative to it by name.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataengine.episode import Feature
from dataengine.sim.arms import FIVE, Arm

# The default arm's.
ACTION_NAMES, ACTION_UNITS, STATE_NAMES = FIVE.action_names, FIVE.action_units, FIVE.state_names
ACTION_LOW, ACTION_HIGH = FIVE.action_low, FIVE.action_high


def spaces(arm: Arm, cameras: Sequence[str], image_size: int, depth: Sequence[str] = ()) -> dict[str, Feature]:
    """State, cameras and action as features of a dataset. depth: cameras that also give distances."""
    picture = Feature("video", (image_size, image_size, 3), ("height", "width", "channels"), "image")
    distance = Feature("video", (image_size, image_size, 1), ("height", "width", "channels"), "depth", "m")
    pose = {"frame": "base", "rotation": arm.rotation}
    state = Feature("float32", (len(arm.state_names),), arm.state_names, "state", arm.state_units, info=pose)
    told = {**pose, "kind": "absolute"}
    return {
        "observation.state": state,
        **{f"observation.images.{camera}": picture for camera in cameras},
        **{f"observation.images.{camera}_depth": distance for camera in depth},
        "action": Feature("float32", (len(arm.action_names),), arm.action_names, "action", arm.action_units, info=told),
    }


def diagnostics(arm: Arm, state_size: int) -> dict[str, Feature]:
    """What a demonstration holds beside what a policy sees and does."""
    return {
        "next.reward": Feature("float32", (1,), ("progress",), "reward", "1"),
        "next.success": Feature("bool", (1,), ("success",), "done"),
        "next.done": Feature("bool", (1,), ("done",), "done"),
        "collect.executed_action": Feature(
            "float32", (len(arm.action_names),), arm.action_names, "other", arm.action_units
        ),
        "sim.state": Feature("float64", (state_size,), None, "other", "SI"),
    }
