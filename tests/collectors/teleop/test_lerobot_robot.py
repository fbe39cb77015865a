"""Robots and leaders of LeRobot: their names become features, their cameras keep their own time, their configurations
in `examples/robots/` are what LeRobot takes."""

from __future__ import annotations

import threading
from pathlib import Path

import loopback_lerobot
import numpy as np
import pytest
from lerobot.robots import RobotConfig
from lerobot.teleoperators import TeleoperatorConfig

from collectors.teleop import build
from collectors.teleop.devices.keyboard import Keyboard
from collectors.teleop.devices.lerobot import LeRobotDevice
from collectors.teleop.drive import Drive
from collectors.teleop.plan import Plan
from collectors.teleop.robots.lerobot import LeRobotRobot, decoded
from dataengine.errors import ConfigError, RobotError
from dataengine.guard import parse_yaml
from dataengine.robot import Command, Kinematic
from dataengine.store import Store

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "robots"
ROBOTS = sorted(path.name for path in EXAMPLES.glob("*.yaml") if "robot: lerobot" in path.read_text())


def robot(**fields: object) -> LeRobotRobot:
    config = {"type": "loopback", "port": "nowhere", "discover_packages_path": "loopback_lerobot", **fields}
    return LeRobotRobot(config, units={"gripper.pos": "%", ".pos": "deg"})


def leader(**fields: object) -> LeRobotDevice:
    return LeRobotDevice({"type": "loopback_leader", "port": "nowhere", **fields})


@pytest.fixture(autouse=True)
def _whole() -> None:
    loopback_lerobot.BROKEN.clear()


def test_names_become_features_with_units() -> None:
    features = robot().features
    assert features["observation.state"].names == features["action"].names == loopback_lerobot.JOINTS
    assert features["action"].unit == ("deg", "deg", "%")
    assert features["action"].control == "absolute"
    assert features["observation.images.front"].shape == (48, 64, 3)


def test_what_is_sent_is_what_its_own_limit_leaves_and_a_hold_stays() -> None:
    made = robot(max_relative_target=5.0)
    made.connect()
    made.connect()  # twice is once
    assert made.act(np.array([30.0, 2.0, 0.0])).tolist() == [5.0, 2.0, 0.0]
    assert made.hold().tolist() == [5.0, 2.0, 0.0]
    seen = made.observe()
    assert seen["observation.state"].value.tolist() == [5.0, 2.0, 0.0]
    made.disconnect()
    made.disconnect()


def test_pictures_carry_the_camera_s_time() -> None:
    made = robot()
    made.connect()
    seen = made.observe()
    camera, body = seen["observation.images.front"], seen["observation.state"]
    assert 0 <= body.time - camera.time < 0.05
    assert camera.time == made.robot.cameras["front"].latest_timestamp


def test_what_is_wrong_is_said_with_what_to_do() -> None:
    with pytest.raises(RobotError, match=r"LeRobot knows no 'so999'; it has .*so101_follower"):
        LeRobotRobot({"type": "so999"})
    with pytest.raises(RobotError, match=r"loopback:.*speed"):
        robot(speed=1)
    with pytest.raises(RobotError, match=r"not calibrated: run lerobot-calibrate --robot.type=loopback"):
        robot(calibrated=False).connect()
    loopback_lerobot.BROKEN.add("robot")
    made = robot()
    made.connect()
    with pytest.raises(RobotError, match="does not answer: no status packet"):
        made.observe()


ARM = """
<mujoco><compiler angle="radian"/><worldbody>
  <body name="upper"><joint name="pan" axis="0 0 1" range="-3 3" limited="true"/>
    <geom size=".02" fromto="0 0 0 .3 0 0" type="capsule"/>
    <body name="lower" pos=".3 0 0"><joint name="elbow" axis="0 0 1" range="-3 3" limited="true"/>
      <geom size=".02" fromto="0 0 0 .3 0 0" type="capsule"/>
      <body name="hand" pos=".3 0 0"><geom size=".01"/></body></body></body>
</worldbody></mujoco>"""
LINK = "<inertial><mass value='1'/><inertia ixx='1' ixy='0' ixz='0' iyy='1' iyz='0' izz='1'/></inertial>"
JOINT = (
    "<joint name='{0}' type='{1}'><parent link='{2}'/><child link='{3}'/><origin xyz='{4} 0 0'/><axis xyz='0 0 1'/>"
    "<limit lower='-3' upper='3' effort='1' velocity='1'/></joint>"
)
URDF = "".join(
    [
        "<robot name='arm'><link name='base'/>",
        *(f"<link name='{name}'>{LINK}</link>" for name in ("upper", "lower", "hand")),
        JOINT.format("pan", "revolute", "base", "upper", 0),
        JOINT.format("elbow", "revolute", "upper", "lower", 0.3),
        JOINT.format("wrist", "fixed", "lower", "hand", 0.3),
        "</robot>",
    ]
)


def armed(tmp_path: Path, text: str, **fields: object) -> LeRobotRobot:
    file = tmp_path / "arm.xml"
    file.write_text(text)
    arm = {"model": str(file), "tool": "hand", "joints": {"shoulder.pos": "pan"}, **fields}
    config = {"type": "loopback", "port": "nowhere", "discover_packages_path": "loopback_lerobot"}
    return LeRobotRobot(config, units={"gripper.pos": "%", ".pos": "deg"}, arm=arm)


class Pushing:
    """A device that pushes the tool along x and closes the gripper."""

    name = "pushing"

    def start(self, robot: object) -> None: ...
    def stop(self) -> None: ...
    def read(self, now: float, observation: object) -> Command:
        return Command(now, twist=np.array([-0.05, 0, 0, 0, 0, 0]), gripper=0.0)


@pytest.mark.parametrize("text", [ARM, URDF], ids=["mjcf", "urdf"])
def test_a_tool_is_moved_by_the_model_of_an_arm_that_counts_as_it_likes(tmp_path: Path, text: str) -> None:
    made = armed(tmp_path, text, zero={"elbow.pos": 10.0}, reversed=["elbow.pos"])
    made.connect()
    made.robot.at = {"shoulder.pos": 20.0, "elbow.pos": -60.0, "gripper.pos": 80.0}

    def tip() -> np.ndarray:
        pan, elbow = np.deg2rad(made.robot.at["shoulder.pos"]), np.deg2rad(10.0 - made.robot.at["elbow.pos"])
        return 0.3 * np.array([np.cos(pan) + np.cos(pan + elbow), np.sin(pan) + np.sin(pan + elbow)])

    drive, begin = Drive(made, Pushing(), 30.0), tip()
    drive.begin()
    for tick in range(60):
        assert not drive.step(tick / 30, made.observe()).held
    assert tip() - begin == pytest.approx([-0.1, 0.0], abs=0.02)  # it lags a little behind
    assert made.robot.at["gripper.pos"] == pytest.approx(0.0, abs=1.0)


def test_only_an_arm_with_a_model_is_driven_by_its_tool(tmp_path: Path) -> None:
    assert not isinstance(robot(), Kinematic)
    Keyboard().start(armed(tmp_path, ARM))
    with pytest.raises(RobotError, match="use a leader arm"):
        Keyboard().start(robot())


@pytest.mark.parametrize(
    ("text", "fields", "says"),
    [
        (ARM, {"model": "nowhere.xml"}, "there is no file nowhere.xml"),
        ("<mujoco><worldbody>", {}, "is no model that MuJoCo loads"),
        (ARM, {"tool": "finger"}, "no body or site 'finger'; it has .*hand"),
        (ARM, {"joints": {}}, r"has no joint for shoulder.pos \(shoulder\); it has elbow, pan"),
        (ARM, {"joints": {"wrist.pos": "pan"}}, "the action has no wrist.pos; it has shoulder.pos, elbow.pos"),
    ],
)
def test_what_is_wrong_with_the_model_of_an_arm_is_said(
    tmp_path: Path, text: str, fields: dict[str, object], says: str
) -> None:
    with pytest.raises(RobotError, match=says):
        armed(tmp_path, text, **fields)


def test_joints_that_are_no_angles_move_no_model(tmp_path: Path) -> None:
    made = armed(tmp_path, ARM)
    with pytest.raises(RobotError, match=r"shoulder\.pos is measured in '%', no angle"):
        LeRobotRobot(made.config, units={".pos": "%"}, arm=made.arm)
    with pytest.raises(ConfigError, match="arm needs tool"):
        LeRobotRobot(made.config, arm={"model": "arm.xml"})


def test_a_leader_with_other_joints_is_refused_by_name() -> None:
    made = robot()
    with pytest.raises(RobotError, match=r"it lacks elbow.pos, shoulder.pos; it also moves wrist.pos"):
        leader(joints=["wrist.pos", "gripper.pos"]).start(made)
    renamed = leader(joints=["a.pos", "elbow.pos", "gripper.pos"])
    renamed.rename = {"a.pos": "shoulder.pos"}
    renamed.start(made)
    command = renamed.read(1.0, {})
    assert command.action is not None and command.action.shape == (3,)


def test_a_session_with_a_stock_robot_and_leader_records(tmp_path: Path) -> None:
    made = robot()
    plan = Plan(instruction="wave", fps=30.0, target=2, seconds=1.0, reset_seconds=0.1, alone=True)
    with build.session(tmp_path / "store", made, {"lerobot": leader()}, plan, operator="tests") as session:
        thread = threading.Thread(target=session.run)
        thread.start()
        thread.join(40)
        assert not thread.is_alive() and session.status().kept == 2
    episodes = list(Store.open(tmp_path / "store").episodes())
    assert [episode.meta.tasks for episode in episodes] == [("wave",)] * 2
    for episode in episodes:
        assert episode.length > 5
        assert episode.features["action"].names == loopback_lerobot.JOINTS
        assert np.abs(np.diff(episode.frames["action"], axis=0)).max() <= 150 / 30 + 1e-3
        assert episode.clips["observation.images.front"].length == episode.length
    assert not made.robot.is_connected


@pytest.mark.parametrize("name", ROBOTS)
def test_every_example_is_what_lerobot_takes(name: str) -> None:
    data = parse_yaml((EXAMPLES / name).read_text(), name)
    config = decoded(RobotConfig, data["config"], "lerobot.robots")
    assert type(config) is RobotConfig.get_choice_class(data["config"]["type"])
    if "teleop" in data:
        leader = decoded(TeleoperatorConfig, data["teleop"], "lerobot.teleoperators")
        assert type(leader) is TeleoperatorConfig.get_choice_class(data["teleop"]["type"])
    unknown = set(data) - {"robot", "teleop", *LeRobotRobot.__dataclass_fields__}
    assert not unknown


def test_there_is_an_example_for_every_robot_of_lerobot() -> None:
    decoded(RobotConfig, {"type": "so101_follower", "port": "x"}, "lerobot.robots")
    theirs = {name for name, kind in RobotConfig.get_known_choices().items() if kind.__module__.startswith("lerobot.")}
    ours = {parse_yaml((EXAMPLES / name).read_text(), name)["config"]["type"] for name in ROBOTS}
    assert theirs - ours <= {"lekiwi"}  # what runs on the base itself; people drive its client
