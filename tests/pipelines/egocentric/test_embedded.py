"""The embedded world's arm does what was told, and says what it cannot reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dataengine.episode import Episode, Meta, Step
from dataengine.errors import ConfigError, EpisodeError
from dataengine.sim.model import model_xml
from pipelines.egocentric.embedded import ARM, Played
from pipelines.retarget import actions
from pipelines.retarget.hand import Poses
from pipelines.retarget.rotations import Convention

FPS, FRAMES = 30.0, 45
DOWN = actions.BASE.reference


def told(reach: float = 0.0, rotation: Convention = "rotation_6d") -> tuple[Episode, Poses]:
    """A tool that points down and turns a little on a way of 10 cm; `reach` further than that [m]."""
    share = np.sin(np.linspace(0, np.pi / 2, FRAMES)) ** 2
    point = np.array([0.24, -0.08, 0.12]) + share[:, None] * [reach, 0.1, 0.04]
    turn = Rotation.from_rotvec(share[:, None] * [0.0, 0.2, 0.3]).as_matrix() @ DOWN
    tool, opening = Poses(point, turn), np.linspace(1, 0, FRAMES)
    blocks = [
        actions.pose_block("ee", tool, actions.next_poses(tool), rotation, actions.BASE, "absolute"),
        actions.gripper_block(actions.GRIPPER, "1", opening, opening),
    ]
    step = Step("retarget", "1", {"hand": "right", "space": "gripper", "rotation": rotation})
    return Episode("told", FPS, *actions.columns(blocks, "absolute", actions.BASE), meta=Meta(lineage=(step,))), tool


@pytest.mark.parametrize("rotation", ["rotation_6d", "euler"])
def test_its_tool_goes_where_it_was_told(rotation: Convention) -> None:
    episode, tool = told(rotation=rotation)
    played = Played(episode, "right")
    off, reached = played.replayed()
    assert reached.all() and np.percentile(1e3 * off, 90) < 8 and len(off) == FRAMES
    world, rows = played._begun()  # what MuJoCo itself says of the tool at the end
    for row in rows:
        world.advance(row)
    for _ in range(15):
        world.advance(rows[-1])
    site = world.scene.data.site("ee")
    np.testing.assert_allclose(site.xpos, tool.point[-1], atol=0.002)
    away = Rotation.from_matrix(site.xmat.reshape(3, 3).T @ tool.turn[-1]).magnitude()
    assert np.rad2deg(away) < 2 and world.scene.gripper < 0.05


def test_what_is_out_of_reach_is_told() -> None:
    reached = Played(told(0.3)[0], "right").replayed().reached
    assert reached[0] and not reached[-1] and (np.diff(reached.astype(int)) <= 0).all()


def test_joints_of_a_robot_are_followed_by_its_tool(tmp_path: Path) -> None:
    """The same arm as the world's, as a file: what its joints say is where its tool goes."""
    path = tmp_path / "six.xml"
    path.write_text(model_xml(ARM, "cubes", FPS))
    from pipelines.retarget.arm import Arm
    from pipelines.retarget.robot import RobotModel

    names = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
    described = {"tool": "ee", "joints": list(names), "closed": 0.0, "opened": 1.0}
    poses, tool = told()
    solver = RobotModel(path, {"right": Arm("ee", names)}).solvers["right"]
    joints, near = [], np.array([0.0, 1.2, -1.6, 0.0, -1.2, 0.0])
    for point, turn in zip(tool.point, tool.turn, strict=True):
        near = solver.near(point, turn, near).joints
        joints.append(near)
    blocks = [
        actions.plain_block([f"{name}.pos" for name in names], ["rad"] * 6, np.array(joints), "absolute"),
        actions.gripper_block(actions.GRIPPER, "1", np.ones(FRAMES), np.ones(FRAMES)),
    ]
    step = Step("retarget", "1", {"hand": "right", "space": "gripper", "arm": described, "model": "six.xml"})
    episode = Episode("joints", FPS, *actions.columns(blocks, "absolute", None), meta=Meta(lineage=(step,)))
    off, reached = Played(episode, "right", path).replayed()
    assert reached.all()
    np.testing.assert_allclose(off, Played(poses, "right").replayed().off, atol=1e-3)
    with pytest.raises(ConfigError, match=r"model is needed.*six\.xml"):
        Played(episode, "right").replayed()


def test_pictures_are_of_the_motion_and_the_same_each_time() -> None:
    played = Played(told()[0], "right", height=96)
    pictures = list(played.frames(0, 30))
    assert pictures[0].shape == (96, 96, 3) and (pictures[0] != pictures[29]).any()
    np.testing.assert_array_equal(next(played.frames(29, 30)), pictures[29])
    assert played.slice(3, 9).length == 6 and played.fingerprint != played.slice(3, 9).fingerprint


def test_what_cannot_be_played_says_why() -> None:
    with pytest.raises(EpisodeError, match="not retargeted from the left hand"):
        Played(told()[0], "left").replayed()
    with pytest.raises(ConfigError, match="640"):
        Played(told()[0], "right", height=720)
