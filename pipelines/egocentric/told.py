"""What the stage `retarget` made of an episode, read back from its columns and its lineage: where the robot's tool and
joints are, how far the gripper is open, where the camera stands. Nothing has to be told twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dataengine import hands
from dataengine.episode import Episode, Step
from dataengine.errors import ConfigError, EpisodeError
from dataengine.plugins import build
from pipelines.retarget.actions import BASE, CAMERA, GRIPPER
from pipelines.retarget.arm import Arm
from pipelines.retarget.cuts import CUTS
from pipelines.retarget.gripper import is_closed
from pipelines.retarget.hand import Poses
from pipelines.retarget.motion import Reading
from pipelines.retarget.placing import camera_poses, cameras_in_base, in_workspace
from pipelines.retarget.rotations import NAMES, decode

if TYPE_CHECKING:
    from pipelines.retarget.robot import RobotModel

STAGE = "retarget"


class Told(NamedTuple):
    """One side over `T` frames. tool: its poses, None where joints are told. joints: `(T, J)`, None where poses are.
    gripper: `(T,)` as the state says it. opening: `(T,)` 0 to 1, and closed: `(T,)` bool with the stage's hysteresis;
    None where only the robot's model knows what its gripper's numbers mean."""

    side: str
    tool: Poses | None
    joints: np.ndarray | None
    gripper: np.ndarray
    opening: np.ndarray | None
    closed: np.ndarray | None


def retargeted(episode: Episode) -> Step | None:
    """The last time it was retargeted, to whatever; None where it was not."""
    return next((step for step in reversed(episode.meta.lineage) if step.name == STAGE), None)


def step_of(episode: Episode) -> Step | None:
    """The last time it was retargeted to a gripper; None where it was not."""
    step = retargeted(episode)
    if step is None or step.params.get("space", "gripper") != "gripper" or "observation.state" not in episode.frames:
        return None
    return step


def told(episode: Episode, robot: RobotModel | None = None) -> dict[str, Told]:
    """By side. Raises `EpisodeError` where it was not retargeted to a gripper or its state is not as that left it."""
    params = _params(episode)
    both = params.get("hand") == "both"
    sides = hands.SIDES if both else (str(params.get("hand", "right")),)
    arms = arms_of(episode)
    return {side: _told(episode, params, side, f"{side}_" if both else "", arms, robot) for side in sides}


def arms_of(episode: Episode) -> dict[str, Arm]:
    """What the stage was told of the robot's arms, by side; empty where it wrote poses."""
    params = _params(episode)
    arm = params.get("arm")
    if not isinstance(arm, Mapping):
        return {}
    given = arm if params.get("hand") == "both" else {str(params.get("hand", "right")): arm}
    try:
        return {side: build(Arm, given[side], "an arm", "retarget.arm") for side in given}
    except (ConfigError, TypeError) as error:
        raise EpisodeError(episode.id, f"its lineage describes no arm: {error}") from error


def cameras(episode: Episode) -> Poses:
    """Where the camera that saw the hand stands in the frame of the robot's poses, of one frame or of `T`.

    A workspace that was grown or shifted moves the camera with it, so that the tool is seen where the hand was. Raises
    `EpisodeError` where the camera moves and the frame that its pose was given for has been cut away.
    """
    params = _params(episode)
    reading = {key: _plain(params[key]) for key in ("camera", "world", "scale", "shift") if params.get(key) is not None}
    try:
        told = build(Reading, reading, "the stage", STAGE)
    except (ConfigError, TypeError) as error:
        raise EpisodeError(episode.id, f"its lineage places no camera: {error}") from error
    moving = camera_poses(episode)
    if moving is not None and told.world is None and place_of(episode)[0] > 0:
        raise EpisodeError(
            episode.id,
            "its camera moves, and where it began was cut away: retarget with `world`, the pose of the world in which "
            "the camera is placed",
        )
    return in_workspace(cameras_in_base(moving, told.camera, told.world, episode), told.scale, told.shift)


def film_of(episode: Episode) -> tuple[int, int]:
    """Which frames of its source – of the whole video, where it was cut from one – this episode is."""
    start = sum(_frame(step, "start", episode) for step in episode.meta.lineage if step.name == "slice")
    return start, start + episode.length


def place_of(episode: Episode) -> tuple[int, int]:
    """Which frames of the uncut episode – as it was when it came to the stage `retarget` – this one is: what the label
    `retarget_cuts` counts in. The whole of an episode that was not retargeted."""
    start, stop = 0, None
    lineage = list(episode.meta.lineage)
    at = max((n for n, step in enumerate(lineage) if step.name == STAGE), default=len(lineage))
    cut = CUTS in episode.labels and episode.labels[CUTS].table.num_rows > 0  # nothing is cut without a reason
    before = [lineage[at - 1]] if cut and 0 < at < len(lineage) and lineage[at - 1].name == "slice" else []
    for step in (*before, *(step for step in lineage[at + 1 :] if step.name == "slice")):
        start += _frame(step, "start", episode)
        stop = start + _frame(step, "stop", episode) - _frame(step, "start", episode)
    return start, start + episode.length if stop is None else stop


def _told(
    episode: Episode, params: Mapping[str, Any], side: str, prefix: str, arms: Mapping[str, Arm], robot: Any
) -> Told:
    state = np.asarray(episode.frames["observation.state"], np.float64)
    names = list(episode.features["observation.state"].names or ())

    def columns(wanted: list[str]) -> np.ndarray:
        if missing := [name for name in wanted if name not in names]:
            raise EpisodeError(episode.id, f"has no {missing[0]}; it was changed after it was retargeted", feature=key)
        return state[:, [names.index(name) for name in wanted]]

    key = "observation.state"
    gripper = columns([f"{prefix}{GRIPPER}"])[:, 0]
    tool, joints = None, None
    ends: tuple[float, float] | None = (0.0, 1.0)
    if side in arms:
        wanted = [f"{'' if name.startswith(side) else prefix}{name}.pos" for name in arms[side].joints]
        joints, ends = columns(wanted), _ends(arms[side], robot, side)
    else:
        convention = params.get("rotation", "quaternion_xyzw")
        if convention not in NAMES:
            raise EpisodeError(episode.id, f"its lineage names no rotation: {convention!r}", feature=key)
        pose = columns([f"{prefix}ee.{name}" for name in ("x", "y", "z", *NAMES[convention])])
        based = episode.features[key].info.get("frame") == BASE.name
        try:
            turn = decode(pose[:, 3:], convention, (BASE if based else CAMERA).reference)
        except ValueError as error:
            raise EpisodeError(episode.id, f"holds no rotation: {error}", feature=key) from error
        tool = Poses(pose[:, :3], turn)
    if ends is None or ends[0] == ends[1]:
        return Told(side, tool, joints, gripper, None, None)
    opening = np.clip((gripper - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0)
    below, above = levels(params, episode)
    return Told(side, tool, joints, gripper, opening, is_closed(opening, np.ones(len(opening), bool), below, above))


def levels(params: Mapping[str, Any], episode: Episode) -> tuple[float, float]:
    """The openings below which the stage closed the gripper and above which it opened it."""
    found = params.get("close_below", 0.1), params.get("open_above", 0.2)
    if not all(isinstance(level, int | float) for level in found):
        raise EpisodeError(episode.id, f"its lineage closes and opens the gripper at {found[0]!r} and {found[1]!r}")
    return found


def _ends(arm: Arm, robot: RobotModel | None, side: str) -> tuple[float, float] | None:
    """What the gripper is closed and open."""
    if robot is not None and side in robot.arms:
        return robot.gripper(side)[1:]
    if arm.closed is not None and arm.opened is not None:
        return arm.closed, arm.opened
    return None if arm.gripper else (arm.closed or 0.0, 1.0 if arm.opened is None else arm.opened)


def _params(episode: Episode) -> Mapping[str, Any]:
    step = step_of(episode)
    if step is None:
        raise EpisodeError(
            episode.id, "was not retargeted to a gripper or an arm, so there is no robot in it: put the stage "
            "`retarget` before"
        )  # fmt: skip
    return step.params


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _frame(step: Step, what: str, episode: Episode) -> int:
    value = step.params.get(what)
    if not isinstance(value, int) or value < 0:
        raise EpisodeError(episode.id, f"its lineage holds a slice whose {what} is {value!r}")
    return value
