"""When a task counts as done, against contacts and heights read from MuJoCo directly."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from dataengine.errors import ConfigError
from dataengine.sim.expert import Expert
from dataengine.sim.kinds import KINDS
from dataengine.sim.scene import Scene
from dataengine.sim.tasks import TASKS, task_named, tasks_of
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


def placed(kind: str, seed: int, arm: str = "five") -> Scene:
    scene = Scene(arm, kind)
    scene.place(KINDS[kind].sample(seed))
    return scene


@pytest.fixture(scope="module")
def world() -> Tabletop:
    return Tabletop(cameras=())


@pytest.fixture(scope="module")
def six() -> Tabletop:
    return Tabletop(cameras=(), arm="six")


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
def test_progress_is_between_0_and_1_grows_and_is_1_only_when_done(six, name):
    world = six
    world.reset(seed=11, options={"task": name})
    first = world.task.progress(world.scene)
    expert = Expert(world.scene, world.task, np.random.default_rng(0))
    while True:
        _, reward, terminated, truncated, info = world.step(expert.act())
        assert 0 <= reward <= 1 and (reward == 1) == info["is_success"]
        if terminated or truncated:
            break
    assert first < 0.7 and reward == 1


def test_every_instruction_names_what_it_means_and_no_two_of_a_scene_share_one():
    texts = {name: {task.instruction(k) for k in range(len(task.templates))} for name, task in TASKS.items()}
    assert all(len(found) >= 3 for found in texts.values())
    for kind in KINDS:
        here = [found for name, found in texts.items() if TASKS[name].scene == kind]
        assert sum(map(len, here)) == len(set().union(*here))
    for name, task in TASKS.items():
        assert all(task.thing.colour in text or name == "pour" for text in texts[name] if task.target)
    assert TASKS["pick_red"].instruction() == "pick up the red cube"
    assert TASKS["left_of_blue"].instruction() == "put the red cube to the left of the blue cube"


def test_an_unknown_task_lists_those_that_exist():
    with pytest.raises(ConfigError, match="pick_red"):
        task_named("pick_green")


@pytest.mark.parametrize(
    ("dx", "dy", "z", "done"),
    [
        (0.0, 0.05, CUBE_HALF, True),
        (0.02, 0.06, CUBE_HALF, True),
        (0.0, -0.05, CUBE_HALF, False),  # right of it
        (0.0, 0.08, CUBE_HALF, False),  # too far
        (0.03, 0.05, CUBE_HALF, False),  # rather in front
        (0.0, 0.05, 0.05, False),  # in the air
    ],
)
def test_left_is_towards_plus_y_close_beside_and_on_the_table(dx, dy, z, done):
    scene = placed("cubes", 2)
    x, y, _ = scene.position("blue")
    put(scene, "red", x + dx, y + dy, z)
    assert TASKS["left_of_blue"].success(scene) == done
    assert TASKS["left_of_red"].wrong(scene) == done


def test_no_scene_begins_with_a_task_done_or_gone_wrong():
    for name, task in TASKS.items():
        scene = Scene("six", task.scene)
        for seed in range(12):
            scene.place(task.kind.sample(seed))
            assert not task.success(scene) and not task.wrong(scene), (name, seed)
            assert 0 <= task.progress(scene) < 0.8


@pytest.mark.parametrize(
    ("dx", "dz", "done"), [(0.0, 0.0, True), (0.016, 0.0, True), (0.025, 0.0, False), (0.0, 0.012, False)]
)
def test_stacked_is_resting_on_top(dx, dz, done):
    scene = placed("cubes", 2)
    x, y, _ = scene.position("blue")
    put(scene, "blue", x, y, CUBE_HALF)
    put(scene, "red", x + dx, y, 3 * CUBE_HALF - 0.0002 + dz)
    assert TASKS["stack_red_on_blue"].success(scene) == done
    assert TASKS["stack_blue_on_red"].wrong(scene) == done


def test_side_by_side_is_not_stacked():
    scene = placed("cubes", 2)
    x, y, _ = scene.position("blue")
    put(scene, "red", x + 2 * CUBE_HALF - 0.0002, y, CUBE_HALF)
    assert not TASKS["stack_red_on_blue"].success(scene)


@pytest.mark.parametrize("name", KINDS["bins"].thing)
def test_a_thing_belongs_in_the_bin_of_its_colour(name):
    scene = placed("bins", 4)
    task, half = TASKS[f"bin_{name}"], KINDS["bins"].thing[name].half
    own = f"{KINDS['bins'].thing[name].colour}_bin"
    other = "blue_bin" if own == "red_bin" else "red_bin"
    put(scene, name, *scene.middle(own), half)
    assert task.success(scene) and not task.wrong(scene)
    put(scene, name, *scene.middle(own), half + 0.05)
    assert not task.success(scene)
    put(scene, name, *scene.middle(other), half)
    assert task.wrong(scene) and TASKS["sort"].wrong(scene) and not task.success(scene)


def test_sorted_is_everything_in_its_own_bin_and_progress_counts_them():
    scene, task = placed("bins", 4), TASKS["sort"]
    before = task.progress(scene)
    for k, (name, thing) in enumerate(KINDS["bins"].thing.items()):
        assert not task.success(scene)
        x, y = scene.middle(f"{thing.colour}_bin")
        put(scene, name, x + 0.022 * (-1) ** k, y, thing.half)
        assert task.progress(scene) > before
        before = task.progress(scene)
    assert task.success(scene) and before == 1 and not task.wrong(scene)
    assert TASKS["bin_red_cube"].wrong(scene)  # others were put away too


@pytest.mark.parametrize(("share", "opened", "closed"), [(0.0, False, True), (0.5, False, False), (0.95, True, False)])
def test_a_drawer_is_open_or_closed_or_neither(share, opened, closed):
    scene, layout = Scene("five", "drawer"), KINDS["drawer"].sample(1)
    scene.place(replace(layout, slides={"drawer": share}))
    assert TASKS["open_drawer"].success(scene) == opened
    assert TASKS["close_drawer"].success(scene) == closed


@pytest.mark.parametrize(("share", "done"), [(1.0, True), (0.5, False)])
def test_into_the_drawer_takes_both_steps(share, done):
    scene, layout = Scene("five", "drawer"), KINDS["drawer"].sample(1)
    scene.place(replace(layout, slides={"drawer": share}))
    assert not TASKS["drawer_red_cube"].success(scene)
    put(scene, "red_cube", *scene.middle("drawer"), CUBE_HALF + 0.004)
    assert TASKS["drawer_red_cube"].success(scene) == done
    assert TASKS["drawer_yellow_cylinder"].wrong(scene)


def test_poured_is_three_beads_in_the_bowl():
    scene, task = placed("cups", 0, "six"), TASKS["pour"]
    x, y = scene.middle("bowl")
    for k in range(3):
        assert not task.success(scene)
        put(scene, f"bead{k}", x + 0.014 * (k - 1), y, 0.012)
    assert task.success(scene)
    put(scene, "bead0", x, y, 0.09)  # still above it
    assert not task.success(scene)


def test_what_an_arm_cannot_do_is_said():
    with pytest.raises(ConfigError, match=r"'five' cannot do 'pour': it needs a tool that can be tilted, as arm 'six'"):
        Tabletop(tasks=("pour",), arm="five")
    assert set(tasks_of("six")) - set(tasks_of("five")) == {"pour"}
    with pytest.raises(ConfigError, match="five, six"):
        tasks_of("seven")
