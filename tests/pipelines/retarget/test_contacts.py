"""What may touch and what may not, judged by MuJoCo's own contacts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import pytest
from robot_hand_made import TIPS, hand_xml
from scipy.spatial.transform import Rotation

from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.plugins import Drop, build
from dataengine.sim.human_hand import HumanHand
from pipelines.retarget.arm import COLLISION, FINE, Arm, Followed, Tolerance
from pipelines.retarget.dexterous import DexterousHand
from pipelines.retarget.dexterous_config import HandConfig
from pipelines.retarget.hand import Poses
from pipelines.retarget.robot import RobotModel
from pipelines.retarget.stage import Retarget

FPS, TOLERANCE = 30.0, Tolerance(0.002, 0.035)
ARM = {"tool": "tool", "joints": ("turn", "lift", "nod"), "speed": 100.0}
# A base that is larger than it need be, as shapes mostly are, three joints in a plane above it, and a gripper of two
# fingers that are tied to one another.
ROBOT = """<mujoco><compiler angle="radian"/>{option}
<worldbody>{stands}
  <body name="{name}base" pos="{place}">{loose}<geom name="{name}base" type="box" size=".06 .06 .05" pos="0 0 .05"/>
    <body name="{name}shoulder" pos="0 0 .08"><joint name="{name}turn" axis="0 0 1" range="-3 3"/>
      <geom type="cylinder" size=".05 .04"/>
      <body name="{name}upper" pos="0 0 .06"><joint name="{name}lift" axis="0 1 0" range="-3 3"/>
        <geom type="capsule" size=".02" fromto="0 0 .05 0 0 .25"/>{rough}
        <body name="{name}lower" pos="0 0 .3"><joint name="{name}nod" axis="0 1 0" range="-3 3"/>
          <geom type="capsule" size=".02" fromto="0 0 .05 0 0 .15"/><site name="{name}tool" pos="0 0 .2"/>
          {fingers}
        </body></body></body></body>
  {more}
</worldbody>{end}</mujoco>"""
FINGERS = """<body pos="0 0 .15"><joint name="finger" type="slide" axis="0 1 0" range="0 .1"/>
  <geom type="box" size=".01 .01 .03" pos="0 .02 0"/></body><body pos="0 0 .15">
  <joint name="other" type="slide" axis="0 -1 0" range="0 .1"/>
  <geom type="box" size=".01 .01 .03" pos="0 -.02 0"/></body>"""
TIED = '<equality><joint joint1="other" joint2="finger"/></equality>'
WALL = '<body name="wall"><geom type="box" size=".3 .02 .3" pos="0 {y} .3"/></body>'
USUAL = {
    "option": "",
    "stands": "",
    "name": "",
    "place": "0 0 0",
    "loose": "",
    "fingers": "",
    "rough": "",
    "more": "",
    "end": "",
}

DOWN = np.linspace([0, 1.2, 0.5], [0, 2.6, 0.5], 30)  # until the upper arm is in the base


def robot(path: Path, arm: dict[str, Any] = ARM, **more: str) -> RobotModel:
    path.write_text(ROBOT.format(**{**USUAL, **more}))
    return RobotModel(path, {"right": build(Arm, arm, "an arm", "arm")})


def stood(found: RobotModel, path: np.ndarray, side: str = "right") -> Poses:
    """Where joints `(T, 3)` bring the tool."""
    each = [found.solvers[side].forward(joints) for joints in path]
    return Poses(np.array([point for point, _ in each]), np.array([turn for _, turn in each]))


def follow(found: RobotModel, path: np.ndarray, **more: Any) -> Followed:
    every, none = np.ones(len(path), bool), np.zeros(len(path), bool)
    return found.follow({"right": stood(found, path)}, every, none, FPS, TOLERANCE, **more)["right"]


def deep(found: RobotModel, joints: np.ndarray) -> set[frozenset[str]]:
    """By MuJoCo: pairs of bodies that are deeper than the tolerance in one another."""
    data = mujoco.MjData(found.model)
    data.qpos[found.solvers["right"].qpos] = joints
    mujoco.mj_forward(found.model, data)
    return {
        frozenset(found.model.body(found.model.geom_bodyid[geom]).name for geom in contact.geom)
        for contact in data.contact
        if contact.dist < -TOLERANCE.place
    }


# -- shapes that always touch ------------------------------------------------------------------------------------------


def test_the_first_link_may_stand_in_its_base(tmp_path: Path) -> None:
    """MuJoCo lets neighbours touch, but not the first link of a robot that stands fast."""
    found, path = robot(tmp_path / "r.xml"), np.linspace([-1, 0.4, 0.5], [1, 0.8, 0.9], 30)
    assert frozenset({"base", "shoulder"}) in deep(found, path[0])
    assert (follow(found, path).reason == FINE).all() and not found.contacts.always


def test_a_table_is_no_base(tmp_path: Path) -> None:
    table = '<geom name="table" type="plane" size="1 1 .1" pos="0 0 .06"/>'
    found = robot(tmp_path / "r.xml", stands=table)
    path = np.linspace([0, 1.2, 0.5], [0, 1.8, 0.9], 30)
    reasons = follow(found, path).reason
    assert reasons[0] == FINE and reasons[-1] == COLLISION


def test_what_touches_in_whatever_posture_is_let_be_and_told(tmp_path: Path) -> None:
    """Links next but one to each other, whose shapes are rough."""
    found = robot(tmp_path / "r.xml", rough='<geom type="sphere" size=".08"/>')
    path = np.linspace([-1, 0.4, 0.5], [1, 0.8, 0.9], 30)
    assert all(frozenset({"upper", "base"}) in deep(found, joints) for joints in path)
    assert (follow(found, path).reason == FINE).all()
    assert "upper and base touch in any posture, which is no collision" in found.assumed()


def test_what_is_said_to_touch_may(tmp_path: Path) -> None:
    strict = follow(robot(tmp_path / "r.xml"), DOWN)
    assert strict.reason[0] == FINE and strict.reason[-1] == COLLISION
    found = robot(tmp_path / "r.xml", {**ARM, "may_touch": [["upper", "base"]]})
    assert (follow(found, DOWN).reason == FINE).all()
    with pytest.raises(ConfigError, match=r"may_touch: there is no body 'nose'; there are .*shoulder"):
        robot(tmp_path / "r.xml", {**ARM, "may_touch": [["upper", "nose"]]})


def test_things_of_the_world_are_told_apart(tmp_path: Path) -> None:
    """A foot that always touches, a table that may be told to: neither excuses the other."""
    foot = '<geom name="foot" type="box" size=".02 .02 .02" pos="0 0 .1"/>'
    table = '<geom name="table" type="plane" size="1 1 .1" pos="0 0 .06"/>'
    path = np.linspace([0, 1.2, 0.5], [0, 1.8, 0.9], 30)
    found = robot(tmp_path / "r.xml", stands=foot + table)
    done = follow(found, path)
    assert done.reason[0] == FINE and done.reason[-1] == COLLISION
    assert done.touches[29][1] == "lower and table"
    assert "shoulder and foot touch in any posture, which is no collision" in found.assumed()
    may = robot(tmp_path / "r.xml", {**ARM, "may_touch": [["table", "lower"]]}, stands=foot + table)
    assert (follow(may, path).reason == FINE).all()


def test_a_model_in_which_nothing_can_collide_is_told(tmp_path: Path) -> None:
    off = '<option><flag contact="disable"/></option>'
    assert "nothing of the right arm can collide in r.xml" in robot(tmp_path / "r.xml", option=off).assumed()
    assert not any("can collide" in text for text in robot(tmp_path / "r.xml").assumed())


# -- what is a collision -----------------------------------------------------------------------------------------------


def test_a_robot_that_may_drive_about_still_collides(tmp_path: Path) -> None:
    """A free joint makes a thing loose, but not the robot itself."""
    fast, drives = (robot(tmp_path / f"{n}.xml", loose=joint) for n, joint in enumerate(("", "<freejoint/>")))
    assert (follow(fast, DOWN).reason == follow(drives, DOWN).reason).all()
    assert (follow(drives, DOWN).reason == COLLISION).any()


def test_the_bodies_and_the_depth_are_named(tmp_path: Path, made: SimpleNamespace) -> None:
    found = robot(tmp_path / "r.xml", more=WALL.format(y=0.3))
    path = np.linspace([0, 1.2, 0.2], [1.2, 1.2, 0.2], 60)
    tool = stood(found, path)
    given = {"model": str(tmp_path / "r.xml"), "arm": {**ARM, "joints": list(ARM["joints"])}, "jump": None}
    stage = build(Retarget, {**given, "camera": (0, 0, 0, 0, 0, 0, 1)}, "", "")
    (piece,) = stage.run(iter([made.episode_of(tool)]))
    assert isinstance(piece, Episode), piece
    cuts = [c for c in piece.labels["retarget_cuts"].table.to_pylist() if c["reason"] == "collision"]
    lost = sorted(t for cut in cuts for t in range(cut["start"], cut["stop"]))
    assert 5 < len(lost) < 50
    assert lost == [t for t, joints in enumerate(path) if any("wall" in pair for pair in deep(found, joints))]
    data, depths = mujoco.MjData(found.model), []
    for joints in path[cuts[-1]["start"] : cuts[-1]["stop"]]:
        data.qpos[found.solvers["right"].qpos] = joints
        mujoco.mj_forward(found.model, data)
        walled = [
            contact for contact in data.contact if found.model.body("wall").id in found.model.geom_bodyid[contact.geom]
        ]
        depths.append(max(-contact.dist for contact in walled))
    assert cuts[-1]["value"] == pytest.approx(max(depths) / TOLERANCE.place, rel=1e-3)
    assert cuts[-1]["text"] == f"wall and lower would reach {1e3 * max(depths):.0f} mm into one another"


def test_a_gripper_is_as_far_open_as_the_hand(tmp_path: Path) -> None:
    """The finger that follows too: the wall is on its side."""
    arm = {**ARM, "gripper": "finger", "closed": 0.0, "opened": 0.1}
    found = robot(tmp_path / "r.xml", arm, fingers=FINGERS, end=TIED, more=WALL.format(y=-0.1))
    path, opening = np.repeat([[0, 0.3, 0.3]], 40, 0), np.linspace(0, 1, 40)
    joints = found.gripper_joints("right", opening)
    assert np.allclose(joints["other"], joints["finger"]) and np.allclose(joints["finger"], 0.1 * opening)
    reason = follow(found, path, beside=joints).reason
    inner = 0.1 - 0.02 - 0.03  # between the wall and the finger at rest
    assert (reason == COLLISION).tolist() == (0.1 * opening > inner + TOLERANCE.place).tolist()
    assert (follow(found, path).reason == FINE).all()


def test_a_gripper_that_is_the_follower_moves_what_it_follows(tmp_path: Path) -> None:
    arm = {**ARM, "gripper": "other", "closed": 0.0, "opened": 0.1}
    shifted = '<equality><joint joint1="other" joint2="finger" polycoef="0.01 0.5 0 0 0"/></equality>'
    found = robot(tmp_path / "r.xml", arm, fingers=FINGERS, end=shifted)
    joints = found.gripper_joints("right", np.array([0.0, 1.0]))
    assert np.allclose(joints["other"], 0.01 + 0.5 * joints["finger"]) and np.allclose(joints["other"], [0, 0.1])


def two(path: Path, apart: float) -> RobotModel:
    """Two arms in one file, their names begin with the side."""
    bodies = [
        ROBOT.format(**{**USUAL, "name": f"{side}/", "place": f"0 {y} 0"})
        .split("<worldbody>")[1]
        .split("</worldbody>")[0]
        for side, y in (("left", apart / 2), ("right", -apart / 2))
    ]
    path.write_text(f'<mujoco><compiler angle="radian"/><worldbody>{"".join(bodies)}</worldbody></mujoco>')
    arms = {
        side: Arm(f"{side}/tool", tuple(f"{side}/{name}" for name in ARM["joints"]), speed=100.0)
        for side in ("left", "right")
    }
    return RobotModel(path, arms)


def test_arms_that_meet_are_flagged_both_and_only_there(tmp_path: Path) -> None:
    found, share = two(tmp_path / "two.xml", 0.5), np.linspace(0, 1, 40)[:, None]
    path = {"left": [0, 1.2, 0.3] - share * [1.4, 0, 0], "right": [0, 1.2, 0.3] + share * [1.4, 0, 0]}
    poses = {side: stood(found, each, side) for side, each in path.items()}
    done = found.follow(poses, np.ones(40, bool), np.zeros(40, bool), FPS, TOLERANCE)
    data, meet = mujoco.MjData(found.model), np.zeros(40, bool)
    for t in range(40):
        for side, each in done.items():
            data.qpos[found.solvers[side].qpos] = each.joints[t]
        mujoco.mj_forward(found.model, data)
        meet[t] = any(
            contact.dist < -TOLERANCE.place
            and len({found.model.body(found.model.geom_bodyid[geom]).name.split("/")[0] for geom in contact.geom}) == 2
            for contact in data.contact
        )
    assert 5 < meet.sum() < 35
    for each in done.values():
        assert ((each.reason == COLLISION) == meet).all() and sorted(each.touches) == np.flatnonzero(meet).tolist()
    assert all("left/" in text and "right/" in text for _, text in done["left"].touches.values())


ELBOW = """<mujoco><compiler angle="radian"/><worldbody>
  <body><joint name="shoulder" axis="0 1 0" range="-3 3"/><geom type="sphere" size=".02"/>
    <body pos=".3 0 0"><joint name="elbow" axis="0 1 0" range="-3 3"/><geom type="sphere" size=".03"/>
      <body pos=".3 0 0"><joint name="wrist" axis="0 1 0" range="-3 3"/><site name="hand" pos=".1 0 0"/></body>
    </body></body>
  <body pos=".2 .5 -.22"><joint name="slide" type="slide" axis="0 1 0" range="-1 1"/><geom size=".05"/>
    <site name="ball"/></body></worldbody></mujoco>"""
BELOW = (0.83, -1.66, 0.83)  # the elbow where the ball comes to, half a metre from where it rests


def beside_a_ball(path: Path, ball: str, way: np.ndarray) -> dict[str, Followed]:
    """Another episode first, in which the ball is in the way. ball: the side that moves it; way: `(T,)` where to."""
    path.write_text(ELBOW)
    arms = {
        "left" if ball == "right" else "right": Arm("hand", ("shoulder", "elbow", "wrist"), home=BELOW, speed=9.0),
        ball: Arm("ball", ("slide",), speed=99.0),
    }
    found, frames = RobotModel(path, dict(sorted(arms.items()))), len(way)
    hand = stood(found, np.tile(BELOW, (frames, 1)), "left" if ball == "right" else "right")
    every, none = np.ones(frames, bool), np.zeros(frames, bool)
    balls = [stood(found, moved[:, None], ball) for moved in (np.full(frames, -0.5), way)]
    hand_side = "left" if ball == "right" else "right"
    return [found.follow({hand_side: hand, ball: each}, every, none, FPS, TOLERANCE) for each in balls][-1]


def test_what_was_done_before_leaves_no_trace(tmp_path: Path) -> None:
    """An episode is the same whichever were before it: where the other arm ended then is nothing."""
    done = beside_a_ball(tmp_path / "r.xml", "right", np.zeros(10))
    assert (done["left"].reason == FINE).all() and (done["left"].joints[:, 1] < 0).all()


def test_an_arm_makes_way_for_where_the_other_is_in_that_frame(tmp_path: Path) -> None:
    """Not for where it ends, which is away."""
    done = beside_a_ball(tmp_path / "r.xml", "left", np.linspace(-0.5, 0.5, 10))
    assert (done["right"].reason == FINE).all() and (done["right"].joints[:, 1] > 0).all()


def test_a_gripper_of_the_stage_opens_where_the_arm_goes(tmp_path: Path, made: SimpleNamespace) -> None:
    """The hand opens beside a wall, and what would be in it is cut."""
    arm = {**ARM, "joints": list(ARM["joints"]), "gripper": "finger", "closed": 0.0, "opened": 0.1}
    found = robot(tmp_path / "r.xml", arm, fingers=FINGERS, end=TIED, more=WALL.format(y=-0.1))
    tool = stood(found, np.repeat([[0, 0.3, 0.3]], 60, 0))
    episode = made.episode_of(tool, np.concatenate([np.full(30, 0.02), np.linspace(0.02, 0.09, 30)]))
    given = {"model": str(tmp_path / "r.xml"), "arm": arm, "camera": (0, 0, 0, 0, 0, 0, 1)}
    (piece,) = build(Retarget, given, "", "").run(iter([episode]))
    assert isinstance(piece, Episode), piece
    (cut,) = piece.labels["retarget_cuts"].table.to_pylist()
    assert 30 < cut["start"] < 60 == cut["stop"] and cut["reason"] == "collision" and "wall" in cut["text"]
    assert piece.frames["observation.state"][-1, -1] <= 0.052 + 1e-6


# -- fingers -----------------------------------------------------------------------------------------------------------

HAND = {"palm": "palm", "fingertips": TIPS, "fingers": (0.0, 0.0, 1.0), "out": (1.0, 0.0, 0.0)}


def crossed(folder: Path) -> tuple[DexterousHand, np.ndarray]:
    """A hand, and joints `(40, 16)` of it: the index finger goes to where the middle one is."""
    (folder / "hand.xml").write_text(hand_xml())
    hand = DexterousHand(HandConfig(str(folder / "hand.xml"), **HAND), shapes=True)
    joints = np.tile(hand.model.joints(np.clip(0.2, hand.model.lower, hand.model.upper)), (40, 1))
    joints[:, [0, 1, 4, 8, 12]] = 0.0
    joints[:, hand.names.index("index_0")] = np.linspace(-0.47, 0.47, 40)
    joints[:, hand.names.index("middle_0")] = np.linspace(0.47, -0.47, 40)
    return hand, joints


def test_fingers_that_cross_are_told_as_mujoco_has_it(tmp_path: Path) -> None:
    hand, joints = crossed(tmp_path)
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "hand.xml"))
    data, hits = mujoco.MjData(model), 0
    for row in joints:
        for name, angle in zip(hand.names, row, strict=True):
            data.joint(name).qpos[0] = angle
        mujoco.mj_forward(model, data)
        touching = {
            frozenset(model.body(model.geom_bodyid[geom]).name for geom in contact.geom): -contact.dist
            for contact in data.contact
        }
        counted = {
            pair: deep for pair, deep in touching.items() if not any(name[:4] in ("thum", "palm") for name in pair)
        }
        worst = max(counted, key=lambda pair: counted[pair], default=frozenset())
        told = hand.model.deepest(row, 0.004)
        assert (told is not None) == (counted.get(worst, 0.0) > 0.004)
        if told is not None:
            hits += 1
            assert told[0] == pytest.approx(counted[worst]) and set(told[1].split(" and ")) == worst
    assert 3 < hits < 40


def test_a_pinch_of_the_thumb_is_none(tmp_path: Path) -> None:
    """However deep: an objective draws those tips to one place."""
    hand, _ = crossed(tmp_path)
    human = HumanHand("right", person=1)
    motion = human.move("pinch", 3, 60, FPS)
    landmarks = human.pose(motion.angles, motion.place, motion.rotation)
    found = hand.retarget(landmarks, motion.rotation, fps=FPS)
    data, pinched = mujoco.MjData(hand.model.model), False
    for row in found.joints:
        assert hand.model.deepest(row, 0.01) is None
        data.qpos[:] = row
        mujoco.mj_forward(hand.model.model, data)
        pinched |= any(contact.dist < -0.01 for contact in data.contact)
    assert pinched


def test_frames_in_which_fingers_cross_are_cut(tmp_path: Path, made: SimpleNamespace) -> None:
    """A fist of a hand whose fingers are thicker than the person's."""
    file = tmp_path / "hand.xml"
    file.write_text(hand_xml().replace('size="0.012"', 'size="0.016"'))
    human = HumanHand("right", person=1)
    motion = human.move("open_close", 3, 60, FPS)
    landmarks = human.pose(motion.angles, motion.place, motion.rotation).astype(np.float32)
    episode = made.episode_of(made.tool_path(60))
    columns = {**episode.frames, "observation.hands.right.landmarks": landmarks}
    wrist = np.array(columns["observation.hands.right.wrist"])
    wrist[:, :3], wrist[:, 3:] = landmarks[:, 0], Rotation.from_matrix(motion.rotation).as_quat()
    columns["observation.hands.right.wrist"] = wrist
    episode = Episode("fist", FPS, episode.features, columns, meta=episode.meta)
    given = {"space": "dexterous", "model": str(file), "robot_hand": {**HAND, "scale": 1.4}, "finger_tolerance": None}

    def run(**more: Any) -> list[Episode | Drop]:
        return list(build(Retarget, {**given, "shortest": 0.0, "finger_lag": 1.0, **more}, "", "").run(iter([episode])))

    (whole,), pieces = run(finger_depth=None), run()
    assert isinstance(whole, Episode) and "right fingers may reach into one another" in whole.meta.lineage[-1].assumed
    hand = DexterousHand(HandConfig(str(file), **HAND, scale=1.4), shapes=True)
    free = np.asarray(whole.frames["observation.state"][:, 7:], np.float64)
    deepest = [hand.model.deepest(row, 0.01) for row in hand.model.joints(free)]
    bad = np.array([one is not None for one in deepest])
    assert 3 < bad.sum() < 50
    assert isinstance(pieces[0], Episode)
    cuts = pieces[0].labels["retarget_cuts"].table.to_pylist()
    told = np.zeros(60, bool)
    for cut in cuts:
        told[cut["start"] : cut["stop"]] = True
        assert cut["reason"] == "finger_collision" and cut["text"].endswith("into one another, allowed are 10 mm")
        assert cut["value"] == pytest.approx(
            max(one[0] for one in deepest[cut["start"] : cut["stop"]] if one), abs=1e-5
        )
    assert (told == bad).all() and sum(len(piece) for piece in pieces) == 60 - bad.sum()
