"""Retargeting as a stage: the hands of an episode become state and action of a robot.

What cannot be believed or reached is cut out, so one episode may become several; what was cut, and why, goes with every
one of them as the label `retarget_cuts`. Nothing is clamped: an action either does what the hand did, within the stated
tolerance, or is not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from dataengine import hands
from dataengine.episode import Episode, Label, Step
from dataengine.errors import ConfigError
from dataengine.plugins import Drop, build, params_of
from pipelines.retarget.actions import Kind
from pipelines.retarget.arm import Arm, Followed, Tolerance
from pipelines.retarget.assumed import assumed
from pipelines.retarget.cuts import CUTS, Cut, Fault, cut_table, good_and_breaks, stretches, too_short
from pipelines.retarget.faults import Trust, arm_faults, camera_fault, finger_faults, track_faults
from pipelines.retarget.grasp import GRASP, grasp_table, grasps
from pipelines.retarget.hand import PARTS
from pipelines.retarget.motion import Motion, Reading
from pipelines.retarget.person import PINCH
from pipelines.retarget.rotations import Convention
from pipelines.retarget.written import Joints, Space, Writing

if TYPE_CHECKING:
    from pipelines.retarget.fingers import Fingered, Fingers
    from pipelines.retarget.robot import RobotModel

ERROR = "retarget_error"
PLACES = 20  # cuts that a dropped episode names


@dataclass(frozen=True)
class Retarget(Reading):
    """Hands to actions.

    hand: whose; both stand side by side, `left_` and `right_` before their names, and only frames that have both go on.
    space: "gripper" writes the pose of a parallel gripper and its opening, or the joints of `arm`; "dexterous" the pose
    of the palm of `robot_hand`, or the joints of `arm`, then those of its fingers that do not follow others; "hand" the
    wrist and landmarks as they are, each row in its own camera's frame and the action in the frame of the row it stands
    in.
    action: where the next row shall be, or the way there; a gripper is absolute always. rotation: how poses are
    written. binary: the action's gripper is 0 or 1.

    model, arm: a robot, MJCF or URDF, and which of its parts move (fields of `arm.Arm`; for both hands one under
    `left` and one under `right`). tolerance [m], turn_tolerance [rad]: what may be left between tool and hand; so deep
    an arm may also reach into something. With fingers the arm's tool is brought to the palm of the robot's hand, moved
    by `offset` and turned by the arm's `turn`.

    robot_hand: a hand with fingers in `model`, or in a file of its own, `left_model` or `right_model` (fields of
    `dexterous_config.HandConfig` but model and side; for both hands one under `left` and one under `right`).
    finger_tolerance: how far the fingertips may be from where the scaled hand has them, None: any. finger_lag: how far
    behind for want of speed. Both the mean over fingers [m]; every frame's stand in the label `retarget_error`.
    finger_depth: how deep fingers may reach into one another and into the palm [m], as far as the model lets them
    collide, None: any. The tips of thumb and finger that pinch do not count.

    tracked: an episode with a smaller share of frames that have the hand is dropped. sigma [m], turn_sigma [rad]:
    frames that are less sure are cut out. jump [m/s]: a faster tool is a leap of the tracker, and is cut apart there.
    shortest: stretches of fewer seconds are left out. embodiment: what the episodes are of then.

    How a hand is read as a gripper say the fields of `motion.Reading`.
    """

    hand: Literal["left", "right", "both"] = "right"
    space: Space = "gripper"
    action: Kind = "absolute"
    rotation: Convention = "quaternion_xyzw"
    binary: bool = False
    model: Path | None = None
    arm: Mapping[str, Any] | None = None
    tolerance: float = 0.002
    turn_tolerance: float = field(default=float(np.deg2rad(2.0)))
    robot_hand: Mapping[str, Any] | None = None
    left_model: Path | None = None
    right_model: Path | None = None
    finger_tolerance: float | None = 0.03
    finger_lag: float = 0.005
    finger_depth: float | None = 0.01
    tracked: float = 0.5
    sigma: float | None = None
    turn_sigma: float | None = None
    jump: float | None = 4.0
    shortest: float = 0.5
    embodiment: str | None = None

    name: ClassVar[str] = "retarget"
    version: ClassVar[str] = "2"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_robot()
        if not 0 <= self.tracked <= 1:
            raise ConfigError(f"retarget.tracked: {self.tracked} is not between 0 and 1")
        lengths = ("tolerance", "finger_tolerance", "finger_lag", "finger_depth", "sigma")
        turns = ("turn_tolerance", "turn_sigma")
        for what in (*lengths, *turns, "jump"):
            given = getattr(self, what)
            if given is not None and not given > 0:
                raise ConfigError(f"retarget.{what}: {given} is not above 0")
            if given is not None and what in lengths and given > 1:
                raise ConfigError(f"retarget.{what}: {given:g} m is more than a hand; it is in metres, not in mm")
            if given is not None and what in turns and given > 4:
                raise ConfigError(f"retarget.{what}: {given:g} rad is more than a turn; it is in rad, not in degrees")
        if not self.shortest >= 0:
            raise ConfigError(f"retarget.shortest: {self.shortest} s is negative")
        _ = self.fingers, self.robot  # described wrongly, it is said here, before any work

    def _check_robot(self) -> None:
        used = self.arm is not None or self.robot_hand is not None
        if (self.arm is not None and self.model is None) or (self.model is not None and not used):
            raise ConfigError("retarget: model and arm describe a robot together; one of them is missing")
        if self.arm is not None and (self.space == "hand" or not self.based):
            raise ConfigError(
                "retarget: an arm needs camera or world, where the hands are from it, and space 'gripper' or "
                "'dexterous'"
            )
        if (self.robot_hand is not None) != (self.space == "dexterous"):
            raise ConfigError("retarget: robot_hand and space 'dexterous' belong together; one of them is missing")
        if (self.left_model or self.right_model) and self.robot_hand is None:
            raise ConfigError("retarget: left_model and right_model are files of a robot_hand, which is not given")

    @property
    def sides(self) -> tuple[str, ...]:
        return hands.SIDES if self.hand == "both" else (self.hand,)

    @property
    def reads(self) -> tuple[str, ...]:
        return (
            *(hands.column(side, part) for side in self.sides for part in PARTS),
            hands.CAMERA_POSE,
            hands.CAMERA_QUALITY,
            f"label:{PINCH}",
        )

    @cached_property
    def arms(self) -> dict[str, Arm]:
        """By side; empty without a robot."""
        if self.arm is None:
            return {}
        given: Mapping[str, Any] = self.arm if self.hand == "both" else {self.hand: self.arm}
        if set(given) != set(self.sides):
            raise ConfigError(f"retarget.arm: both hands need 'left' and 'right', not {', '.join(map(str, given))}")
        return {side: build(Arm, given[side], "an arm", "retarget.arm") for side in self.sides}

    @cached_property
    def robot(self) -> RobotModel | None:
        """Loaded once; raises `ConfigError` where the model is not as described."""
        if self.model is None or self.arm is None:
            return None
        from pipelines.retarget.robot import RobotModel

        return RobotModel(self.model, self.arms)

    @cached_property
    def fingers(self) -> dict[str, Fingers]:
        """By side; empty but for a hand with fingers. Raises `ConfigError` where it is not as described."""
        if self.robot_hand is None:
            return {}
        from pipelines.retarget.fingers import fingers_of

        models = {"left": self.left_model or self.model, "right": self.right_model or self.model}
        found = fingers_of(self.robot_hand, models, self.sides, self.finger_depth)
        for side, arm in self.arms.items():
            if both := set(arm.joints) & set(found[side].names):
                raise ConfigError(f"retarget: joint {min(both)} is one of the arm and one of the fingers")
        return found

    @property
    def content(self) -> str | None:
        """Of the robots, whose files name others; None without one."""
        models = [
            *([self.robot.model] if self.robot else []),
            *(each.robot.model.model for each in self.fingers.values()),
        ]
        if not models:
            return None
        from dataengine.sim.robot_file import content_of

        return " ".join(map(content_of, models))

    def run(self, episodes: Iterator[Episode]) -> Iterator[Episode | Drop]:
        for episode in episodes:
            yield from self._retargeted(episode)

    def _retargeted(self, episode: Episode) -> Iterator[Episode | Drop]:
        palms = {side: each.palm for side, each in self.fingers.items()}
        motions = {side: self.motion(episode, side, palms.get(side)) for side in self.sides}
        shares = {side: float(each.hand.there.mean()) for side, each in motions.items()}
        worst = min(shares, key=lambda side: shares[side])
        if shares[worst] < self.tracked:
            reason = (
                f"the {worst} hand is tracked in {shares[worst]:.0%} of the frames; asked for are {self.tracked:.0%}"
            )
            yield Drop(episode.id, reason, {"tracked": shares, "frames": episode.length})
            return
        trust = Trust(self.sigma, self.turn_sigma, self.jump)
        faults = [f for m in motions.values() for f in track_faults(m.hand, m.tool.point, episode.fps, trust)]
        faults += [camera_fault(m.hand, m.lost) for m in motions.values()]
        fingered = self._fingered(motions, faults, episode)
        for side, each in fingered.items():
            faults += finger_faults(side, each, self.finger_tolerance, self.finger_lag, self.finger_depth)
        followed = self._followed(motions, fingered, faults, episode)
        faults += [f for side, each in followed.items() for f in arm_faults(side, each, self._allowed)]
        spans = stretches(*good_and_breaks(faults, episode.length))
        cuts = [cut for fault in faults for cut in fault.cuts()] + too_short(spans, episode.fps, self.shortest)
        spans = [(start, stop) for start, stop in spans if stop - start >= self.shortest * episode.fps]
        if not spans:
            yield self._nothing_left(episode, cuts, shares)
            return
        labelled = self._labelled(episode, motions, followed, fingered, cuts)
        scales = {side: each.scale for side, each in fingered.items()}
        robots = [
            *(self.robot.assumed() if self.robot else ()),
            *(w for f in self.fingers.values() for w in f.assumed()),
        ]
        step = Step(self.name, self.version, self._params, assumed(motions, self, self.space, scales, robots))
        for start, stop in spans:
            columns = self._writing.columns(motions, followed, fingered, start, stop)
            yield labelled.slice(start, stop).with_columns(*columns).with_step(step)

    @property
    def _writing(self) -> Writing:
        robot = self.robot
        arms = {side: Joints(arm.joints, robot.joint_units(side)) for side, arm in self.arms.items()} if robot else {}
        grippers = {side: robot.gripper(side) for side in self.arms} if robot else {}
        fingers = {side: Joints(each.names, each.units) for side, each in self.fingers.items()}
        palms = {side: each.palm for side, each in self.fingers.items()}
        told = self.action, self.rotation, self.binary, self.space, self.based
        return Writing(*told, arms, grippers, fingers, palms)

    @property
    def _params(self) -> dict[str, Any]:
        """As lineage keeps them: a model's name without the folders it stands in."""
        return {key: value.name if isinstance(value, Path) else value for key, value in params_of(self).items()}

    @property
    def _allowed(self) -> Tolerance:
        return Tolerance(self.tolerance, self.turn_tolerance)

    def _followed(
        self, motions: Mapping[str, Motion], fingered: Mapping[str, Fingered], faults: list[Fault], episode: Episode
    ) -> dict[str, Followed]:
        """Of the frames that the tracks and fingers leave."""
        if self.robot is None:
            return {}
        good, breaks = good_and_breaks(faults, episode.length)
        poses = {side: motion.tool for side, motion in motions.items()}
        beside: dict[str, np.ndarray] = {}
        for side, motion in motions.items():
            beside |= self.robot.gripper_joints(side, motion.opening)
            beside |= self.fingers[side].all_joints(fingered[side]) if side in fingered else {}
        return self.robot.follow(poses, good, breaks, episode.fps, self._allowed, beside)

    def _fingered(self, motions: Mapping[str, Motion], faults: list[Fault], episode: Episode) -> dict[str, Fingered]:
        """Of the frames that the tracks leave."""
        good, breaks = good_and_breaks(faults, episode.length)
        return {
            side: each.follow(motions[side].hand, good, breaks, episode.fps, self.finger_lag, episode.id)
            for side, each in self.fingers.items()
        }

    def _labelled(
        self,
        episode: Episode,
        motions: Mapping[str, Motion],
        followed: Mapping[str, Followed],
        fingered: Mapping[str, Fingered],
        cuts: list[Cut],
    ) -> Episode:
        """Cuts in the frames of the uncut episode; grasps and errors move with the frames."""
        source = {"name": self.name, "version": self.version}
        found = {
            side: grasps(side, m.closed, m.tool.point, m.hand.there & ~m.lost, episode.fps, m.hand.sigma[:, 0])
            for side, m in motions.items()
        }
        episode = episode.with_label(CUTS, Label("episode", cut_table(cuts), source))
        episode = episode.with_label(GRASP, Label("span", grasp_table(found), source))
        errors = {
            f"{side}_{what}": each.error[:, i] for side, each in followed.items() for i, what in enumerate(("m", "rad"))
        }
        for side, each in fingered.items():
            errors |= {f"{side}_fingers_m": each.residual, f"{side}_late_m": each.late}
        if errors:
            episode = episode.with_label(ERROR, Label("frame", pa.table(errors), source))
        return episode if self.embodiment is None else episode.with_meta(embodiment=self.embodiment)

    def _nothing_left(self, episode: Episode, cuts: list[Cut], shares: Mapping[str, float]) -> Drop:
        lost = Counter[str]()
        for cut in cuts:
            lost[cut.reason] += cut.stop - cut.start
        told = ", ".join(f"{reason} in {frames}" for reason, frames in lost.most_common())
        reason = f"no stretch of {self.shortest:g} s is left of {episode.length} frames: {told}"
        evidence = {
            "tracked": shares,
            "frames": episode.length,
            "cuts": [cut._asdict() for cut in sorted(cuts)[:PLACES]],
        }
        return Drop(episode.id, reason, evidence)
