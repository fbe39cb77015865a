"""Depth, segmentation, poses and contacts against geometry and MuJoCo's own figures."""

import mujoco
import numpy as np
import pytest

from dataengine.sim.arms import ARMS
from dataengine.sim.cameras import FARTHEST, render
from dataengine.sim.kinds import KINDS
from dataengine.sim.model import CAMERAS
from dataengine.sim.scene import Scene
from dataengine.sim.truth import segmentation, truth
from dataengine.sim.world import Tabletop

SIZE = 64


def placed(kind: str, seed: int = 1, arm: str = "five") -> Scene:
    scene = Scene(arm, kind)
    scene.place(KINDS[kind].sample(seed))
    return scene


def project(scene: Scene, camera: str, point: np.ndarray) -> tuple[int, int, float]:
    """Row, column and depth [m] at which a camera sees a point, by the pinhole model."""
    model, data = scene.model, scene.data
    index = model.camera(camera).id
    x, y, z = data.cam_xmat[index].reshape(3, 3).T @ (point - data.cam_xpos[index])
    focal = SIZE / 2 / np.tan(np.radians(model.cam_fovy[index]) / 2)
    return int(SIZE / 2 + focal * y / z), int(SIZE / 2 - focal * x / z), float(-z)


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_thing_is_the_picture_shows_it_at_its_distance(kind):
    scene = placed(kind)
    depth, seen = render(scene.still(), "front", SIZE, "depth"), segmentation(scene, "front", SIZE)
    assert depth.shape == (SIZE, SIZE, 1) and depth.dtype == np.float32 and seen.ids.dtype == np.int32
    for name, thing in KINDS[kind].thing.items():
        if thing.shape in ("bead", "cup"):
            continue
        row, column, distance = project(scene, "front", scene.position(name))
        assert seen.names[seen.ids[row, column]] == name
        assert 0 < distance - depth[row, column, 0] < 2 * thing.half  # its near side


def test_the_depth_of_the_bare_table_is_that_of_the_plane():
    scene = placed("cubes")
    depth, seen = render(scene.still(), "front", SIZE, "depth")[..., 0], segmentation(scene, "front", SIZE)
    rows, columns = np.nonzero(seen.ids == seen.names.index("table"))
    model, index = scene.model, scene.model.camera("front").id
    focal = SIZE / 2 / np.tan(np.radians(model.cam_fovy[index]) / 2)
    rays = np.stack([(columns + 0.5 - SIZE / 2) / focal, -(rows + 0.5 - SIZE / 2) / focal, -np.ones(len(rows))])
    rays = scene.data.cam_xmat[index].reshape(3, 3) @ rays
    want = -scene.data.cam_xpos[index][2] / rays[2]
    np.testing.assert_allclose(depth[rows, columns], want, rtol=5e-3)
    assert len(rows) > SIZE * SIZE / 2 and depth.max() <= FARTHEST


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_seen_by_one_of_the_cameras_and_has_a_name(kind):
    scene = placed(kind, arm="six")
    seen: set[str] = set()
    for camera in CAMERAS:
        found = segmentation(scene, camera, 96)
        seen |= {found.names[k] for k in np.unique(found.ids)}
    assert {*KINDS[kind].thing, *KINDS[kind].piece, "table", "arm", "gripper"} <= seen


def test_things_can_be_told_apart_at_64_pixels():
    """Every thing but the beads covers a few pixels of the front picture in every scene."""
    for kind in KINDS.values():
        for seed in range(8):
            found = segmentation(placed(kind.name, seed), "front", 64)
            for name, thing in kind.thing.items():
                if thing.shape != "bead":
                    assert (found.ids == found.names.index(name)).sum() >= 6, (name, seed)


def test_poses_are_mujocos_and_contacts_carry_the_weight():
    world = Tabletop(tasks=("pick_red",), cameras=())
    world.reset(seed=3)
    for _ in range(3):
        world.advance(world.hold_action())
    known = truth(world.scene)
    assert set(known.poses) == {"red", "blue", "pad"}
    for name in ("red", "blue"):
        body = world.scene.data.body(name)
        np.testing.assert_allclose(known.poses[name], [*body.xpos, *body.xquat])
        below = [c.force for c in known.contacts if {c.one, c.other} == {name, "table"}]
        assert sum(below) == pytest.approx(0.025 * 9.81, rel=0.05)


def test_a_held_thing_is_pressed_by_both_fingers():
    from dataengine.sim.expert import Expert

    world = Tabletop(tasks=("pick_red",), cameras=(), truth=("poses", "contacts"))
    world.reset(seed=0)
    expert = Expert(world.scene, world.task, np.random.default_rng(0))
    while not world.step(expert.act())[2]:
        pass
    pressing = {c.one if c.other == "red" else c.other for c in world.look().contacts if "red" in (c.one, c.other)}
    assert pressing == {"left_finger", "right_finger"}


def test_demonstrations_hold_what_was_asked_for():
    world = Tabletop(tasks=("pick_red", "open_drawer"), cameras=(), truth=("poses", "contacts"))
    red = world.demonstrate(1, "pick_red", noise=0.0, recovery=0.0)
    drawer = world.demonstrate(1, "open_drawer", noise=0.0, recovery=0.0)
    assert red.features == drawer.features and set(red.columns) == set(drawer.columns)  # one dataset
    for shown in (red, drawer):
        for key, column in shown.columns.items():
            feature = shown.features[key]
            assert column.shape[1:] == feature.shape or feature.shape == (1,), key
    held = red.columns["sim.contacts"][-1]
    names = red.features["sim.contacts"].names
    assert held[names.index("red.left_finger")] > 1 and held[names.index("red.right_finger")] > 1
    assert red.columns["sim.pose.red"][-1, 2] > 0.06 and not red.columns["sim.pose.drawer"].any()
    moved = drawer.columns["sim.pose.drawer_tray"]
    assert np.linalg.norm(moved[-1, :3] - moved[0, :3]) > 0.03 and not drawer.columns["sim.pose.red"].any()


def test_a_picture_of_a_still_is_the_picture_of_then_in_all_kinds():
    for arm in ARMS:
        for kind in KINDS:
            scene = placed(kind, arm=arm)
            before, still = render(scene.still(), "side", 48), scene.still()
            scene.advance(scene.joints + 0.3, 0.0, 3)
            assert (render(scene.still(), "side", 48) != before).any()
            np.testing.assert_array_equal(render(still, "side", 48), before)


def test_mujocos_warnings_leave_no_file_behind(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    scene = placed("cubes")
    scene.data.qvel[0] = np.nan
    mujoco.mj_step(scene.model, scene.data)
    assert not list(tmp_path.iterdir()) and "MuJoCo" in caplog.text
