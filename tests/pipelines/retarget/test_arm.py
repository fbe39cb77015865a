"""A robot's arm that does what a hand did, judged by MuJoCo's forward kinematics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.plugins import Drop, build
from dataengine.sim.arms import SIX
from dataengine.sim.arms.six import FOREARM, SHOULDER_HEIGHT, UPPER_ARM
from dataengine.sim.model import model_xml
from pipelines.retarget.actions import BASE
from pipelines.retarget.arm import FINE, REACH, Arm, Tolerance
from pipelines.retarget.hand import Poses
from pipelines.retarget.robot import RobotModel
from pipelines.retarget.stage import Retarget

FPS, SPEED = 30.0, 2.0
ARM = {"tool": "ee", "joints": list(SIX.joints), "speed": SPEED, "gripper": "left_finger"}
LOW, HIGH = np.array(SIX.joint_range).T


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "six.xml"
    path.write_text(model_xml("six", "cubes", 10.0))
    return path


@pytest.fixture(scope="module")
def robot(model_file: Path) -> RobotModel:
    return RobotModel(model_file, {"right": build(Arm, ARM, "an arm", "arm")})


def forward(robot: RobotModel, joints: np.ndarray) -> Poses:
    """The tool by MuJoCo, of a site that the stage knows nothing of."""
    model, data = robot.model, mujoco.MjData(robot.model)
    places = [int(model.joint(name).qposadr[0]) for name in SIX.joints]
    points, turns = [], []
    for angles in joints:
        data.qpos[places] = angles
        mujoco.mj_forward(model, data)
        hand, finger = data.body("hand"), data.body("left_finger")
        points.append(hand.xpos + hand.xmat.reshape(3, 3) @ [0.13, 0, 0])
        turns.append(finger.xmat.reshape(3, 3).copy())
    return Poses(np.array(points), np.array(turns))


def joint_path(robot: RobotModel, made: SimpleNamespace, seed: int, frames: int = 75) -> np.ndarray:
    """`(T, 6)` within the ranges, above the table, at most nine tenths of the speed."""
    rng = np.random.default_rng(seed)
    share = made.minimum_jerk(frames)[:, None]
    while True:
        ends = rng.uniform(LOW + 0.2, HIGH - 0.2, (2, 6))
        ends[1] = np.clip(ends[1], ends[0] - 1.2, ends[0] + 1.2)
        path = ends[0] + share * (ends[1] - ends[0])
        if np.abs(np.diff(path, axis=0)).max() * FPS < 0.9 * SPEED and (forward(robot, path).point[:, 2] > 0.08).all():
            return path


def retargeted(made: SimpleNamespace, model_file: Path, tool: Poses, arm: dict = ARM, **params: object) -> list:
    camera = made.some_pose(11)
    given = {"model": str(model_file), "arm": arm, "camera": made.pose_numbers(camera), **params}
    stage = build(Retarget, given, "stage 'retarget'", "retarget")
    return list(stage.run(iter([made.episode_of(tool, camera=camera, fps=FPS)])))


@pytest.mark.parametrize("seed", range(8))
def test_joints_bring_the_tool_where_the_hand_was(
    made: SimpleNamespace, robot: RobotModel, model_file: Path, seed: int
) -> None:
    truth = joint_path(robot, made, seed)
    tool = forward(robot, truth)
    (episode,) = retargeted(made, model_file, tool)
    assert isinstance(episode, Episode), episode
    state = episode.check().frames["observation.state"].astype(np.float64)
    assert len(state) == len(truth)
    joints, found = state[:, :6], forward(robot, state[:, :6])
    assert np.linalg.norm(found.point - tool.point, axis=1).max() < 2e-5
    assert made.angle(found.turn, tool.turn).max() < 1e-3
    assert (joints >= LOW - 1e-6).all() and (joints <= HIGH + 1e-6).all()
    assert np.abs(np.diff(joints, axis=0)).max() * FPS <= SPEED + 1e-4
    error = episode.labels["retarget_error"].table
    assert max(error.column("right_m").to_pylist()) < 1e-5 and max(error.column("right_rad").to_pylist()) < 1e-4


def test_columns_are_the_joints_and_the_gripper(made: SimpleNamespace, robot: RobotModel, model_file: Path) -> None:
    tool = forward(robot, joint_path(robot, made, 1))
    (episode,) = retargeted(made, model_file, tool)
    action = episode.features["action"]
    assert action.names == (*(f"{joint}.pos" for joint in SIX.joints), "gripper.pos")
    assert action.unit == ("rad",) * 6 + ("m",) and action.control == "absolute"
    assert np.allclose(episode.frames["action"][:-1], episode.frames["observation.state"][1:])
    assert episode.frames["action"][:, -1].min() >= 0 and episode.frames["action"][:, -1].max() <= 0.035
    (delta,) = retargeted(made, model_file, tool, action="delta")
    state = delta.frames["observation.state"]
    assert np.allclose(state[:-1, :6] + delta.frames["action"][:-1, :6], state[1:, :6], atol=1e-5)
    assert episode.meta.lineage[-1].params["model"] == "six.xml"  # and no folder


def test_what_is_out_of_reach_is_flagged_and_cut_exactly_there(
    made: SimpleNamespace, robot: RobotModel, model_file: Path
) -> None:
    tool = forward(robot, joint_path(robot, made, 2, 90))
    tool.point[40:52] += [0.0, 0.0, 1.0]
    first, second = retargeted(made, model_file, tool, jump=None)
    assert (len(first), len(second)) == (40, 38)
    (cut,) = first.labels["retarget_cuts"].table.to_pylist()
    assert (cut["start"], cut["stop"], cut["side"], cut["reason"]) == (40, 52, "right", "reach")
    assert cut["value"] > 100  # times the tolerance: nothing was clamped to look near
    assert cut["text"].startswith("no posture reaches it: ") and cut["text"].endswith("allowed are 2 mm and 2°")


@pytest.mark.parametrize("seed", range(4))
def test_a_hand_that_comes_back_elsewhere_is_found(made: SimpleNamespace, robot: RobotModel, seed: int) -> None:
    """The posture after the gap has nothing to do with the one before, and the arm is told so little by little."""
    first, second = joint_path(robot, made, seed, 40), joint_path(robot, made, seed + 20, 40)
    before, after = forward(robot, first), forward(robot, second)
    out = np.linspace(0, 1, 30)[:, None]
    over = before.point[-1] + out * (after.point[0] - before.point[-1]) + [0, 0, 0.8]
    turns = np.repeat(after.turn[:1], 30, 0)
    poses = Poses(np.concatenate([before.point, over, after.point]), np.concatenate([before.turn, turns, after.turn]))
    every, none = np.ones(110, bool), np.zeros(110, bool)
    found = robot.follow({"right": poses}, every, none, FPS, Tolerance(0.002, 0.035))["right"]
    assert (found.reason[40:70] == REACH).all() and (found.error[40:70, 0] > 0.1).all()
    assert (found.reason[70:] == FINE).all() and (found.reason[:40] == FINE).all()


def test_a_hand_that_goes_out_of_reach_slowly_is_cut_where_it_does(
    made: SimpleNamespace, robot: RobotModel, model_file: Path
) -> None:
    """The tool points down and moves away from the shoulder, above which nothing but the distance sets a limit."""
    rise = 0.06
    out = np.concatenate([np.linspace(-0.1, 0.03, 60), np.linspace(0.03, -0.1, 60)])
    radius = np.sqrt((UPPER_ARM + FOREARM + out) ** 2 - rise**2)
    point = np.stack([radius, np.zeros(120), np.full(120, SHOULDER_HEIGHT + rise - 0.13)], 1)
    tool = Poses(point, np.repeat(BASE.reference[None], 120, 0))
    pieces = retargeted(made, model_file, tool)
    cuts = pieces[0].labels["retarget_cuts"].table.to_pylist()
    lost = np.zeros(120, bool)
    for cut in cuts:
        lost[cut["start"] : cut["stop"]] = True
    assert lost[out > 0.007].all()  # 2 mm, and what the wrist gains by 2° of the tool: beyond, nothing passes as done
    assert not lost[out < -0.02].any()  # stretched almost out, the elbow would have to be fast


@pytest.mark.parametrize("speed", [4.0, 2.4])
def test_a_hand_that_is_too_fast_is_flagged(
    made: SimpleNamespace, robot: RobotModel, model_file: Path, speed: float
) -> None:
    truth = np.repeat(joint_path(robot, made, 3)[:1], 60, 0)
    truth[:, 0] = np.clip(speed / FPS * np.arange(-30, 30), -0.5, 0.5)
    tool = forward(robot, truth)
    fast = 1 + np.flatnonzero(np.abs(np.diff(truth[:, 0])) * FPS > SPEED)
    pieces = retargeted(made, model_file, tool, jump=None)
    cuts = [c for c in pieces[0].labels["retarget_cuts"].table.to_pylist() if c["reason"] == "speed"]
    lost = [t for c in cuts for t in range(c["start"], c["stop"])]
    assert lost and set(lost) <= set(fast.tolist())  # the arm may lag as far as the tolerance
    if speed == 4.0:
        assert lost == fast[1:-1].tolist()
    for piece in pieces:
        assert np.abs(np.diff(piece.frames["observation.state"][:, :6], axis=0)).max() * FPS <= SPEED + 1e-4
    (whole,) = retargeted(made, model_file, tool, {**ARM, "speed": [5.0] * 6}, jump=None)
    assert len(whole) == 60


def test_a_tool_in_the_table_is_a_collision(made: SimpleNamespace, robot: RobotModel, model_file: Path) -> None:
    height = np.concatenate([np.full(30, 0.06), np.linspace(0.06, -0.01, 15), np.full(30, -0.01)])
    point = np.stack([np.full(75, 0.3), np.zeros(75), height], 1)
    tool = Poses(point, np.repeat(BASE.reference[None], 75, 0))
    (piece,) = retargeted(made, model_file, tool)
    (cut,) = piece.labels["retarget_cuts"].table.to_pylist()
    first = int(np.argmax(height - 0.008 < -0.002))  # the pads reach 8 mm further than the tool
    assert (cut["start"], cut["stop"], cut["reason"]) == (first, 75, "collision")
    (whole,) = retargeted(made, model_file, tool, {**ARM, "collisions": False})
    assert len(whole) == 75


PLANAR = """<mujoco><compiler angle="radian" autolimits="true"/><worldbody>{post}
  <body><joint name="shoulder" axis="0 1 0" range="-3 3"/><geom type="sphere" size=".02" mass="1"/>
    <body pos=".3 0 0"><joint name="elbow" axis="0 1 0" range="-3 3"/><geom type="sphere" size=".03" mass="1"/>
      <body pos=".3 0 0"><joint name="wrist" axis="0 1 0" range="-3 3"/><geom type="sphere" size=".01" mass="1"/>
        <site name="tool" pos=".1 0 0"/></body></body></body></worldbody></mujoco>"""


POST = '<geom type="sphere" size=".05" pos="{place}" mass="1"/>'
STANDS = POST.format(place=".2 0 -.22")
LIES = f'<body pos=".2 0 -.22"><freejoint/>{POST.format(place="0 0 0")}</body>'


@pytest.mark.parametrize(("post", "avoided"), [("", False), (STANDS, True), (LIES, False)])
def test_a_posture_that_collides_is_not_taken_where_another_does_not(tmp_path: Path, post: str, avoided: bool) -> None:
    """Two postures, elbow down and up; the post stands, or lies about, where the elbow is in the one nearer to home."""
    (tmp_path / "planar.xml").write_text(PLANAR.format(post=post))
    down = (0.83, -1.66, 0.83)
    arm = Arm(tool="tool", joints=("shoulder", "elbow", "wrist"), home=down)
    robot = RobotModel(tmp_path / "planar.xml", {"right": arm})
    point, turn = robot.solvers["right"].forward(np.array(down))
    reach = np.linspace(0, 0.02, 20)[:, None]
    tool = Poses(point + reach * [1.0, 0, 0], np.repeat(turn[None], 20, 0))
    every, none = np.ones(20, bool), np.zeros(20, bool)
    found = robot.follow({"right": tool}, every, none, FPS, Tolerance(0.002, 0.035))["right"]
    assert (found.reason == FINE).all() and found.error.max() < 1e-4
    assert (found.joints[:, 1] > 0).all() == avoided and (found.joints[:, 1] < 0).all() != avoided


def test_a_posture_that_is_exact_is_taken_before_one_that_only_passes(made: SimpleNamespace, robot: RobotModel) -> None:
    """On this way the posture nearest to home stands at the end of a joint's range, 1.6 mm from where it should be."""
    rng = np.random.default_rng(129)
    ends = rng.uniform(LOW + 0.2, HIGH - 0.2, (2, 6))
    way = np.clip(ends[1], ends[0] - 1.2, ends[0] + 1.2) - ends[0]
    tool = forward(robot, ends[0] + made.minimum_jerk(75)[:, None] * way)
    found = robot.follow({"right": tool}, np.ones(75, bool), np.zeros(75, bool), FPS, Tolerance(0.002, 0.035))["right"]
    assert found.error.max() < 1e-4


def test_an_episode_out_of_reach_is_dropped_with_its_reasons(made: SimpleNamespace, model_file: Path) -> None:
    tool = made.tool_path()
    (dropped,) = retargeted(made, model_file, Poses(tool.point + 3.0, tool.turn))
    assert isinstance(dropped, Drop) and dropped.reason.endswith("of 90 frames: reach in 90")


def test_the_tool_may_have_other_axes(made: SimpleNamespace, robot: RobotModel, tmp_path: Path) -> None:
    """A robot whose tool's z points along the fingers, given as a body and not as a site."""
    text = model_xml("six", "cubes", 10.0)
    turned = text.replace(
        '<site name="ee"', '<body name="flange" pos="0.13 0 0" quat="0.5 0.5 0.5 0.5"/><site name="ee"'
    )
    path = tmp_path / "turned.xml"
    path.write_text(turned)
    tool = forward(robot, joint_path(robot, made, 4))
    (episode,) = retargeted(made, path, tool, {**ARM, "tool": "flange", "turn": [0.5, 0.5, 0.5, 0.5]})
    found = forward(robot, episode.frames["observation.state"][:, :6].astype(np.float64))
    assert np.linalg.norm(found.point - tool.point, axis=1).max() < 2e-5
    assert made.angle(found.turn, tool.turn).max() < 1e-3


def test_a_urdf_with_two_arms_follows_both_hands(made: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "two.urdf"
    path.write_text(two_arms())
    arms = {
        side: {"tool": f"{side}_tool", "joints": [f"{side}_{n}" for n in range(6)], "home": [0.0, 0.5, 0.8, 0, 0.5, 0]}
        for side in ("left", "right")
    }
    robot = RobotModel(path, {side: build(Arm, arm, "an arm", "arm") for side, arm in arms.items()})
    share = made.minimum_jerk(60)[:, None]
    point, turn = robot.solvers["right"].forward(np.array([0.2, 0.4, 0.9, 0.1, 0.4, 0.3]))
    tool = Poses(point + share * [0.0, 0.05, 0.03], np.repeat(turn[None], 60, 0))
    episode = made.episode_of(tool, sides=("left", "right"))
    given = {"hand": "both", "model": str(path), "arm": arms, "camera": [0, 0, 0, 0, 0, 0, 1]}
    (found,) = build(Retarget, given, "", "").run(iter([episode]))
    assert isinstance(found, Episode), found
    names = [f"{side}_{what}.pos" for side in ("left", "right") for what in (*range(6), "gripper")]
    assert list(found.features["action"].names or ()) == names
    state = found.frames["observation.state"].astype(np.float64)
    for side, at in (("left", 0), ("right", 7)):
        for t in (0, 30, 59):
            reached, axes = robot.solvers[side].forward(state[t, at : at + 6])
            assert np.linalg.norm(reached - tool.point[t]) < 1e-4
            assert made.angle(axes[None], tool.turn[t][None])[0] < 2e-3


def two_arms() -> str:
    """Six joints each, without geometry, half a metre apart."""
    axes, lengths = ("0 0 1", "0 1 0", "0 1 0", "1 0 0", "0 1 0", "1 0 0"), (0, 0.2, 0.4, 0.3, 0.1, 0.1)
    mass = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
    parts = ['<robot name="two"><link name="base"/>']
    for side, place in (("left", 0.25), ("right", -0.25)):
        before = "base"
        for n, (axis, length) in enumerate(zip(axes, lengths, strict=True)):
            origin = f"0 {place} 0.3" if n == 0 else f"{length} 0 0"
            parts.append(
                f'<link name="{side}_link{n}">{mass}</link><joint name="{side}_{n}" type="revolute">'
                f'<parent link="{before}"/><child link="{side}_link{n}"/><origin xyz="{origin}"/><axis xyz="{axis}"/>'
                '<limit lower="-2.9" upper="2.9" effort="1" velocity="1"/></joint>'
            )
            before = f"{side}_link{n}"
        parts.append(
            f'<link name="{side}_tool">{mass}</link><joint name="{side}_fixed" type="fixed"><parent link="{before}"/>'
            f'<child link="{side}_tool"/><origin xyz="0.1 0 0"/></joint>'
        )
    return "".join(parts) + "</robot>"


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"tool": "nose"}, "six.xml has no body or site 'nose'; it has .*ee"),
        ({"joints": ["waist", "knee"]}, "no joint 'knee'; it has .*elbow"),
        ({"gripper": "jaw"}, "no joint 'jaw'"),
        ({"joints": []}, "at least one"),
        ({"speed": [1.0]}, "speed has 1 numbers for 6 joints"),
        ({"speed": -1.0}, "above 0"),
        ({"turn": [0, 0, 0, 0]}, "a quaternion"),
        ({"turn": [0, 0, float("nan"), 1]}, "a quaternion"),
        ({"tool": "table"}, "no body or site 'table'"),  # a geom
        ({"tool": "upper_arm"}, "joint elbow does not move the tool 'upper_arm'"),
        ({"joints": [*SIX.joints, "left_finger"]}, "left_finger is the gripper"),
        ({"joints": [*SIX.joints, "right_finger"]}, "joint right_finger does not move the tool 'ee'"),
        ({"home": [0, -90, 90, 0, 90, 0]}, "home has -90 for shoulder, which goes from"),
        ({"home": [float("nan")] * 6}, "home has nan for waist"),
        ({"closed": 0.0, "opened": 35.0}, "closed 0 and opened 35 are two places of the gripper left_finger"),
        ({"closed": 0.01, "opened": 0.01}, "are two places of the gripper"),
        ({"may_touch": [["hand", "nose"]]}, "no body 'nose'"),
        ({"may_touch": [["hand"]]}, "expected|pairs of names"),
        ({"colour": "red"}, "no parameter 'colour'"),
    ],
)
def test_a_robot_that_is_not_as_described_is_refused(
    made: SimpleNamespace, model_file: Path, arm: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        retargeted(made, model_file, made.tool_path(), {**ARM, **arm})


def test_it_is_said_before_any_work(model_file: Path) -> None:
    """Tracking takes hours; a stage that cannot be is not made."""
    given = {"model": str(model_file), "camera": [0, 0, 0, 0, 0, 0, 1]}
    with pytest.raises(ConfigError, match="no joint 'knee'"):
        build(Retarget, {**given, "arm": {**ARM, "joints": ["waist", "knee"]}}, "stage 'retarget'", "retarget")


def test_both_hands_do_not_move_one_joint(model_file: Path) -> None:
    arms = {side: build(Arm, {**ARM, "gripper": None}, "an arm", "arm") for side in ("left", "right")}
    with pytest.raises(ConfigError, match="joint waist is moved by both hands"):
        RobotModel(model_file, arms)


def test_a_tool_that_a_sensor_knows_keeps_its_name(made: SimpleNamespace, robot: RobotModel, tmp_path: Path) -> None:
    path = tmp_path / "sensed.xml"
    path.write_text(
        model_xml("six", "cubes", 10.0).replace(
            "</mujoco>", '<sensor><framepos objtype="site" objname="ee"/></sensor></mujoco>'
        )
    )
    tool = forward(robot, joint_path(robot, made, 4))
    (episode,) = retargeted(made, path, tool)
    assert isinstance(episode, Episode) and len(episode) == 75


def test_a_gripper_without_a_range_has_to_be_told(tmp_path: Path) -> None:
    (tmp_path / "planar.xml").write_text(
        PLANAR.format(post="").replace(
            "</body></body></body>", '<body><joint name="jaw"/><geom size=".01"/></body></body></body></body>'
        )
    )
    given = {"tool": "tool", "joints": ("shoulder", "elbow", "wrist"), "gripper": "jaw"}
    with pytest.raises(ConfigError, match="jaw has no range in the file; give closed and opened"):
        RobotModel(tmp_path / "planar.xml", {"right": Arm(**given)})
    told = RobotModel(tmp_path / "planar.xml", {"right": Arm(**given, closed=0.8, opened=0.0)})
    assert told.gripper("right") == ("rad", 0.8, 0.0)


def test_an_arm_whose_joints_are_tied_is_refused(tmp_path: Path) -> None:
    """The tool would be elsewhere on the robot: nobody solves for what follows."""
    tied = '</worldbody><equality><joint joint1="wrist" joint2="elbow" polycoef="0 -1 0 0 0"/></equality></mujoco>'
    (tmp_path / "planar.xml").write_text(PLANAR.format(post="").replace("</worldbody></mujoco>", tied))
    for joints in (("shoulder", "elbow"), ("shoulder", "elbow", "wrist")):
        with pytest.raises(ConfigError, match="joint wrist, on the way to the tool, follows elbow"):
            RobotModel(tmp_path / "planar.xml", {"right": Arm("tool", joints)})


def test_a_model_that_is_none_is_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        retargeted(made, tmp_path / "absent.xml", made.tool_path())
    (tmp_path / "bad.xml").write_text("<mujoco><worldbody><body/>")
    with pytest.raises(ConfigError, match="no model that MuJoCo loads"):
        retargeted(made, tmp_path / "bad.xml", made.tool_path())


def test_a_part_that_a_robots_file_includes_makes_other_results(model_file: Path, tmp_path: Path) -> None:
    """The file itself is the same; what was made with the old part is not taken for what the new one makes."""
    from dataengine.flow.spec import PartSpec
    from dataengine.flow.stages import plan_stages

    path = tmp_path / "robot.xml"
    text = model_file.read_text()
    place = text.index("<worldbody>") + len("<worldbody>")
    path.write_text(f'{text[:place]}<include file="post.xml"/>{text[place:]}')
    spec = PartSpec("retarget", {"model": str(path), "arm": ARM, "camera": [0, 0, 1, 0, 1, 0, 0]})
    keys = []
    for height in (0.3, 0.3, 0.4):
        (tmp_path / "post.xml").write_text(f'<mujoco><geom name="post" type="box" size=".02 .02 {height}"/></mujoco>')
        (plan,) = plan_stages((spec,))
        keys.append(plan.key)
    assert keys[0] == keys[1] != keys[2]
    assert Retarget().content is None
