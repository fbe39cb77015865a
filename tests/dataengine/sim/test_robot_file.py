"""Robots' files as they come: URDFs that MuJoCo refuses as they stand, and descriptions that mean harm."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import mujoco
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from dataengine.errors import ConfigError
from dataengine.sim import robot_file
from pipelines.retarget.arm import Arm
from pipelines.retarget.dexterous import DexterousHand
from pipelines.retarget.dexterous_config import HandConfig
from pipelines.retarget.robot import RobotModel

BOX = '<geometry><box size=".1 .02 .02"/></geometry>'
MESH = '<geometry><mesh filename="{}"/></geometry>'
JOINT = """<joint name="{name}" type="revolute"><parent link="{above}"/><child link="{name}_link"/>
  <origin xyz=".1 0 0"/><axis xyz="0 0 -1"/><limit lower="-2" upper="2" effort="1" velocity="{speed}"/>{more}</joint>"""
ARM = Arm(tool="elbow_link", joints=("shoulder", "elbow"))


def urdf(
    path: Path,
    *,
    collision: str = BOX,
    visual: str = "",
    inertial: str = "",
    attributes: str = "",
    more: str = "",
    speed: float = 1.0,
) -> Path:
    """Two links on a base, each with this shape and these masses."""
    parts = f"<visual>{visual}</visual>" if visual else ""
    links = "".join(
        f'<link name="{name}">{inertial}{parts}<collision>{collision}</collision></link>'
        for name in ("shoulder_link", "elbow_link")
    )
    joints = JOINT.format(name="shoulder", above="base", more=more, speed=speed)
    joints += JOINT.format(name="elbow", above="shoulder_link", more="", speed=speed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<robot name="two" {attributes}><link name="base"/>{links}{joints}</robot>')
    return path


def mesh(path: Path, length: float = 0.1) -> Path:
    """A tetrahedron as an STL file."""
    corners = np.array([[0, 0, 0], [length, 0, 0], [0, 0.02, 0], [0, 0, 0.02]])
    faces = [
        struct.pack("<12fH", 0, 0, 0, *corners[[a, b, c]].ravel(), 0)
        for a, b, c in ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * 80 + struct.pack("<I", 4) + b"".join(faces))
    return path


def reach(robot: RobotModel) -> float:
    """Where the tool is along x, stretched out."""
    return float(robot.solvers["right"].forward(np.zeros(2))[0][0])


# -- URDFs as other people write them ----------------------------------------------------------------------------------

MASS = '<inertial><mass value="{}"/>{}</inertial>'
INERTIA = '<inertia ixx="{}" iyy="{}" izz="{}" ixy="0" ixz="0" iyz="0"/>'


@pytest.mark.parametrize(
    "inertial",
    [
        "",
        MASS.format(0, INERTIA.format(0, 0, 0)),
        MASS.format(1, ""),
        MASS.format(1, INERTIA.format(1, 1, 10)),
        MASS.format(1, INERTIA.format(-1, 1, 1)),
    ],
)
def test_masses_that_mujoco_refuses_do_not_matter(tmp_path: Path, inertial: str) -> None:
    assert reach(RobotModel(urdf(tmp_path / "r.urdf", inertial=inertial), {"right": ARM})) == pytest.approx(0.2)


@pytest.mark.parametrize("scheme", ["package://my_arm/", "model://my_arm/", "package:///my_arm/"])
@pytest.mark.parametrize("folder", ["my_arm/urdf", "checkout/urdf"])
def test_meshes_of_a_package_are_found_above_the_file(tmp_path: Path, scheme: str, folder: str) -> None:
    """Also where the folder of the package has another name, as that of a checkout has."""
    file = urdf(tmp_path / folder / "r.urdf", collision=MESH.format(f"{scheme}meshes/link.stl"))
    mesh(tmp_path / folder / "../meshes/link.stl", 0.07)
    robot = RobotModel(file, {"right": ARM})
    assert robot.model.nmesh == 1 and pdist(robot.model.mesh_vert).max() == pytest.approx(np.hypot(0.07, 0.02))


def test_a_mesh_is_not_taken_from_above_its_package(tmp_path: Path) -> None:
    mesh(tmp_path / "elsewhere/link.stl")
    file = urdf(tmp_path / "my_arm/r.urdf", collision=MESH.format("package://my_arm/../elsewhere/link.stl"))
    with pytest.raises(ConfigError, match="looked for in the folders above the file"):
        RobotModel(file, {"right": ARM})


def test_meshes_of_another_kind_are_told_and_left_out_where_nothing_may_collide(tmp_path: Path) -> None:
    (tmp_path / "link.dae").write_text("<COLLADA/>")
    (tmp_path / "words.stl").write_text("solid words\nendsolid words\n")
    for name in ("link.dae", "nowhere.stl", "words.stl"):
        file = urdf(tmp_path / "r.urdf", collision=MESH.format(name))
        with pytest.raises(ConfigError, match=r"r\.urdf.*collisions: false"):
            RobotModel(file, {"right": ARM})
        robot = RobotModel(file, {"right": Arm("elbow_link", ARM.joints, collisions=False)})
        assert reach(robot) == pytest.approx(0.2) and robot.model.ngeom == 0


def test_a_visual_that_mujoco_cannot_read_is_not_needed(tmp_path: Path) -> None:
    file = urdf(tmp_path / "r.urdf", visual=MESH.format("nice.glb"))
    file.write_text(file.read_text().replace("<link", '<mujoco><compiler discardvisual="false"/></mujoco><link', 1))
    assert RobotModel(file, {"right": ARM}).model.ngeom == 2


def test_names_of_a_space_that_nobody_declared_are_read_over(tmp_path: Path) -> None:
    file = urdf(tmp_path / "r.urdf", more='<safety drake:acceleration="2"/><drake:thing/>')
    assert reach(RobotModel(file, {"right": ARM})) == pytest.approx(0.2)


def test_a_xacro_is_told_from_a_urdf_that_came_of_one(tmp_path: Path) -> None:
    declared = 'xmlns:xacro="http://www.ros.org/wiki/xacro"'
    assert RobotModel(urdf(tmp_path / "r.urdf", attributes=declared), {"right": ARM})
    for attributes in (declared, ""):
        file = urdf(tmp_path / "r.urdf.xacro", attributes=attributes, more='<xacro:property name="a" value="1"/>')
        with pytest.raises(ConfigError, match=r"run `xacro r\.urdf\.xacro > robot\.urdf`"):
            RobotModel(file, {"right": ARM})


def test_a_part_of_a_model_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "part.xml").write_text("<mujocoinclude><body/></mujocoinclude>")
    with pytest.raises(ConfigError, match="give the file that includes it"):
        RobotModel(tmp_path / "part.xml", {"right": ARM})


def test_joints_are_no_faster_than_a_urdf_says(tmp_path: Path) -> None:
    for said, arm, fast in (
        (0.5, ARM, 0.5),
        (37.0, ARM, 2.0),
        (0.0, ARM, 2.0),
        (0.5, Arm("elbow_link", ARM.joints, speed=3.0), 3.0),
    ):
        robot = RobotModel(urdf(tmp_path / "r.urdf", speed=said), {"right": arm})
        assert robot.speed("right").tolist() == [fast] * 2
        assert any("joints do at most" in text for text in robot.assumed()) == (arm.speed is None)


def test_a_follower_that_the_model_does_not_have_follows_nobody(tmp_path: Path) -> None:
    """Robots that were reduced hold joints that are fixed and mimic others all the same."""
    tip = """<link name="{0}"/><joint name="{0}_fixed" type="fixed"><parent link="{1}"/><child link="{0}"/>
      <origin xyz=".1 0 0"/><mimic joint="{2}"/></joint>"""
    file = urdf(tmp_path / "r.urdf")
    text = file.read_text().replace('<parent link="shoulder_link"/>', '<parent link="base"/>')
    tips = tip.format("one", "shoulder_link", "shoulder") + tip.format("two", "elbow_link", "elbow")
    file.write_text(text.replace("</robot>", f"{tips}</robot>"))
    hand = DexterousHand(HandConfig(str(file), "base", ("one", "two"), fingers=(1.0, 0.0, 0.0)))
    assert hand.names == hand.model.free_names == ("shoulder", "elbow")
    assert hand.model.speed.tolist() == [1.0, 1.0]


# -- descriptions that mean harm ---------------------------------------------------------------------------------------

JOINTED = '<body><joint name="j"/><geom size=".02" pos=".1 0 0"/><site name="t" pos=".1 0 0"/></body>'


def mjcf(inner: str = "", body: str = "") -> str:
    return f"<mujoco>{inner}<worldbody>{JOINTED}{body}</worldbody></mujoco>"


def opened(path: Path, text: str) -> RobotModel:
    path.write_text(text)
    return RobotModel(path, {"right": Arm("t", ("j",))})


BOMB = "<!DOCTYPE l [" + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12)) + "]>"


@pytest.mark.parametrize(
    "text",
    [
        BOMB + "<mujoco>&e11;</mujoco>",
        BOMB + '<robot name="&e11;"/>',
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><robot name="&x;"/>',
        mjcf('<asset><hfield name="h" nrow="100000" ncol="100000" size="1 1 1 1"/></asset>'),
        mjcf('<asset><texture name="t" type="2d" builtin="flat" width="200000" height="200000"/></asset>'),
        mjcf('<size nuser_body="1000000000"/>'),
        mjcf('<asset><model name="m" file="x.xml"/></asset>', '<body><attach model="m" body="b" prefix="p"/></body>'),
        '<mujoco><include file="x.xml"/></mujoco>',
        mjcf('<asset><mesh name="m" file="/dev/zero" content_type="model/stl"/></asset>'),
        mjcf('<extension><plugin plugin="no.such"/></extension>'),
        mjcf("", "<body>" * 2000 + "</body>" * 2000),
        f"<robot>{'<a>' * 20000}{'</a>' * 20000}</robot>",
        '<robot name="r"><link name="a"/><link name="b"/>'
        + "".join(
            f'<joint name="{a}" type="fixed"><parent link="{a}"/><child link="{b}"/></joint>'
            for a, b in pairwise("aba")
        )
        + "</robot>",
        "version https://git-lfs.github.com/spec/v1",
        "",
    ],
    ids=lambda text: text[:12] + text[-20:],
)
def test_a_description_that_means_harm_is_refused_and_nothing_dies(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"x\.xml"):
        opened(tmp_path / "x.xml", text)


def test_one_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot_file, "SECONDS", 1.0)
    many = '<replicate count="100000000" offset="1 0 0"><body><geom size=".1"/></body></replicate>'
    with pytest.raises(ConfigError, match=r"x\.xml .*more than"):
        opened(tmp_path / "x.xml", mjcf("", many))


@pytest.mark.parametrize("size", ['memory="900G"', 'memory="1K"', 'nuserdata="2000000000"'])
def test_what_a_file_says_of_memory_does_not_count(tmp_path: Path, size: str) -> None:
    """Neither more than there is, nor so little that contacts are lost."""
    stands = "".join(f'<geom type="box" size=".05 .05 .05" pos=".1 0 {0.01 * n}"/>' for n in range(20))
    robot = opened(tmp_path / "x.xml", mjcf(f"<size {size}/>", stands))
    assert robot.model.narena < 64 << 20
    assert robot.collision({"right": np.zeros(1)}, 0.0)["right"][0] > 0.01


def test_a_joint_whose_range_is_none_is_looked_for_all_the_same(tmp_path: Path) -> None:
    wide = mjcf('<compiler angle="radian"/>').replace('name="j"', 'name="j" range="-1e308 1e308"')
    robot = opened(tmp_path / "x.xml", wide)
    point, axes = robot.solvers["right"].forward(np.array([1.0]))
    assert min(one.place for one in robot.solvers["right"].postures(point, axes, np.zeros(1))) < 1e-6


def test_shapes_are_those_that_mujoco_itself_loads(tmp_path: Path) -> None:
    """What is set aside – masses – leaves places and shapes as they are."""
    mesh(tmp_path / "m.stl")
    text = mjcf(
        '<asset><mesh file="m.stl"/></asset>',
        '<body pos="0 0 1" euler="10 20 30"><joint/><geom type="mesh" mesh="m"/></body>',
    )
    ours = opened(tmp_path / "x.xml", text).model
    theirs = mujoco.MjModel.from_xml_path(str(tmp_path / "x.xml"))
    placed = []
    for model in (ours, theirs):
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        last = model.ngeom - 1
        turn, place = data.geom_xmat[last].reshape(3, 3), data.geom_xpos[last]
        placed.append(np.array(sorted((model.mesh_vert @ turn.T + place).round(6).tolist())))
    assert np.allclose(*placed, atol=1e-5)
