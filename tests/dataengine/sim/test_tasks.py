"""When a task counts as done, against contacts and heights read from MuJoCo directly."""

import mujoco
import numpy as np
import pytest

from dataengine.errors import ConfigError
from dataengine.sim.expert import Expert
from dataengine.sim.kinds import KINDS
from dataengine.sim.scene import Scene
from dataengine.sim.tasks import TASKS, task_named
from dataengine.sim.things import CUBE_HALF
from dataengine.sim.world import Tabletop


def pressing(scene: Scene, colour: str) -> set[str]:
    """Names of the gripper's geoms that press on a cube with more than 0.05 N, by contact forces."""
    found = set()
    for index in range(scene.data.ncon):
        names = {scene.model.geom(int(g)).name for g in scene.data.contact[index].geom}
        force = np.zeros(6)
        mujoco.mj_contactForce(scene.model, scene.data, index, force)
        if colour in names and force[0] > 0.05:
            found |= names - {colour, "table"}
    return found


def height(scene: Scene, colour: str) -> float:
    return float(scene.data.body(colour).xpos[2])


def put(scene: Scene, colour: str, x: float, y: float, z: float) -> None:
    """Lay a cube somewhere, unturned and at rest, without running physics."""
    joint = scene.data.joint(colour)
    joint.qpos[:] = [x, y, z, 1, 0, 0, 0]
    joint.qvel[:] = 0
    mujoco.mj_forward(scene.model, scene.data)


def run(world: Tabletop, seed: int, asked: str, shown: str | None = None) -> dict:
    """The expert does `shown` while `asked` is what the world judges; the last info."""
    world.reset(seed=seed, options={"task": asked})
    expert = Expert(world.scene, TASKS[shown or asked], np.random.default_rng(0))
    while True:
        *_, terminated, truncated, info = world.step(expert.act())
        if terminated or truncated:
            return info


@pytest.fixture(scope="module")
def world() -> Tabletop:
    return Tabletop(cameras=())


@pytest.mark.parametrize("seed", range(4))
def test_pick_is_done_at_the_first_step_at_which_both_fingers_press_the_cube_at_height(world, seed):
    world.reset(seed=seed, options={"task": "pick_blue"})
    expert = Expert(world.scene, world.task, np.random.default_rng(seed))
    for _ in range(world.max_steps):
        *_, terminated, _, info = world.step(expert.act())
        both = {"left_finger_pad", "right_finger_pad"} <= pressing(world.scene, "blue")
        assert info["is_success"] == (both and height(world.scene, "blue") > CUBE_HALF + 0.05)
        if terminated:
            break
    assert info["is_success"]


def test_pick_is_not_done_by_a_cube_that_floats_or_lies():
    scene = Scene()
    scene.place(KINDS["cubes"].sample(0))
    assert not TASKS["pick_red"].success(scene)
    put(scene, "red", 0.25, 0.0, 0.1)
    assert not TASKS["pick_red"].success(scene)
    put(scene, "blue", 0.25, 0.1, 0.1)
    assert not TASKS["pick_red"].wrong(scene)


@pytest.mark.parametrize("kind", ["pick", "place"])
def test_doing_it_to_the_other_cube_is_wrong_and_no_success(world, kind):
    for seed in range(3):
        info = run(world, seed, asked=f"{kind}_red", shown=f"{kind}_blue")
        assert info["wrong_object"] and not info["is_success"]
        assert height(world.scene, "blue") > CUBE_HALF + 0.025 or kind == "place"


@pytest.mark.parametrize(
    ("dx", "z", "done"),
    [(0.0, CUBE_HALF, True), (0.035, CUBE_HALF, True), (0.045, CUBE_HALF, False), (0.0, 0.05, False)],
)
def test_place_is_done_on_the_pad_on_the_table_and_nowhere_else(dx, z, done):
    scene, layout = Scene(), KINDS["cubes"].sample(2)
    scene.place(layout)
    x, y, yaw = layout.furniture["pad"]
    put(scene, "red", x + dx * np.cos(yaw), y + dx * np.sin(yaw), z)
    assert TASKS["place_red"].success(scene) == done
    assert TASKS["place_blue"].wrong(scene) == done
    assert not TASKS["place_blue"].success(scene)


def test_place_is_not_done_while_the_gripper_touches_the_cube(world):
    world.reset(seed=1, options={"task": "place_red"})
    expert = Expert(world.scene, world.task, np.random.default_rng(0))
    held_on_pad = 0
    while True:
        *_, terminated, truncated, info = world.step(expert.act())
        touched = bool(pressing(world.scene, "red"))
        if touched and world.scene.over("red", "pad"):
            held_on_pad += 1
            assert not info["is_success"]
        if terminated or truncated:
            break
    assert info["is_success"] and held_on_pad > 0


@pytest.mark.parametrize(
    ("dx", "z", "done"), [(0.0, CUBE_HALF, True), (0.035, CUBE_HALF, False), (0.0, CUBE_HALF + 0.03, False)]
)
def test_push_is_done_well_over_the_pad_on_the_table(dx, z, done):
    scene, layout = Scene(), KINDS["cubes"].sample(2)
    scene.place(layout)
    x, y, yaw = layout.furniture["pad"]
    put(scene, "blue", x + dx * np.cos(yaw), y + dx * np.sin(yaw), z)
    assert TASKS["push_blue"].success(scene) == done
    assert TASKS["push_red"].wrong(scene) == done


@pytest.mark.parametrize("name", TASKS)
def test_progress_is_between_0_and_1_grows_and_is_1_only_when_done(world, name):
    world.reset(seed=11, options={"task": name})
    first = world.task.progress(world.scene)
    expert = Expert(world.scene, world.task, np.random.default_rng(0))
    while True:
        _, reward, terminated, truncated, info = world.step(expert.act())
        assert 0 <= reward <= 1 and (reward == 1) == info["is_success"]
        if terminated or truncated:
            break
    assert first < 0.7 and reward == 1


def test_every_instruction_names_its_cube_and_no_two_tasks_share_one():
    texts = {name: {task.instruction(k) for k in range(len(task.templates))} for name, task in TASKS.items()}
    assert all(name.split("_")[1] in text for name, found in texts.items() for text in found)
    assert sum(map(len, texts.values())) == len(set().union(*texts.values()))


def test_an_unknown_task_lists_those_that_exist():
    with pytest.raises(ConfigError, match="pick_red"):
        task_named("pick_green")
