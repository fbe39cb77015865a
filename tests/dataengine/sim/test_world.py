"""The tabletop as an environment: reproducible, well described, and to be looked at."""

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dataengine import plugins
from dataengine.errors import ConfigError
from dataengine.sim.arms import ARMS
from dataengine.sim.base import ExpertWorld, LiveWorld
from dataengine.sim.expert import Expert
from dataengine.sim.spaces import ACTION_NAMES, STATE_NAMES
from dataengine.sim.tasks import TASKS
from dataengine.sim.world import Tabletop

WILD = np.random.default_rng(0).uniform([0.1, -0.2, 0.0, -1, 0], [0.4, 0.2, 0.2, 1, 1], (12, 5))


def rollout(world: Tabletop, seed: int) -> list[dict[str, np.ndarray]]:
    observation, _ = world.reset(seed=seed)
    return [observation, *(world.step(action)[0] for action in WILD)]


def assert_equal(one: list[dict], other: list[dict]) -> None:
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_the_same_seed_gives_the_same_attempt_bit_for_bit_in_a_used_and_in_a_new_world():
    world = Tabletop(image_size=32)
    first = rollout(world, 4)
    rollout(world, 5)
    assert_equal(first, rollout(world, 4))
    assert_equal(first, rollout(Tabletop(image_size=32), 4))


def test_threads_side_by_side_see_what_one_alone_sees():
    alone = [rollout(Tabletop(image_size=32), seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: rollout(Tabletop(image_size=32), seed), range(4)))
    for one, other in zip(alone, together, strict=True):
        assert_equal(one, other)


def _look(seed: int) -> np.ndarray:
    return Tabletop(image_size=32).reset(seed=seed)[0]["observation.images.front"]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_a_forked_process_gets_an_error_and_no_hang():
    before = _look(0)
    with multiprocessing.get_context("fork").Pool(1) as pool, pytest.raises(ConfigError, match="forkserver"):
        pool.apply_async(_look, (0,)).get(timeout=60)
    np.testing.assert_array_equal(_look(0), before)


def test_the_scene_does_not_depend_on_the_task():
    world = Tabletop(image_size=32)
    scenes = [world.reset(seed=9, options={"task": task})[0] for task in ("pick_red", "pick_blue", "push_blue")]
    assert_equal(scenes[:1] * 2, scenes[1:])


def test_without_a_seed_new_scenes_follow_and_repeat_after_the_same_seed():
    world = Tabletop(cameras=())

    def places() -> list[np.ndarray]:
        world.reset(seed=2)
        found = []
        for _ in range(3):
            world.reset()
            found.append(world.scene.position("red"))
        return found

    one, other = places(), places()
    np.testing.assert_array_equal(one, other)
    assert len({tuple(p) for p in one}) == 3


def test_observations_are_what_the_features_say():
    world = plugins.make("worlds", "tabletop", {"image_size": 48, "tasks": ["push_red"]})
    assert isinstance(world, ExpertWorld)
    observation, info = world.reset(seed=0)
    features = world.features
    assert set(observation) == set(features) - {"action"}
    for key, value in observation.items():
        assert value.shape == features[key].shape
        assert value.dtype == (np.uint8 if features[key].is_camera else np.dtype(features[key].dtype))
    assert set(ACTION_NAMES) <= set(STATE_NAMES)
    assert len(features["observation.state"].unit) == len(STATE_NAMES)
    assert info["instruction"] == world.instruction == "push the red cube onto the green pad"


def test_paraphrases_vary_by_seed_and_are_the_same_again():
    world = Tabletop(cameras=(), phrasing="varied")

    def texts() -> list[str]:
        found = []
        for seed in range(20):
            world.reset(seed=seed, options={"task": "pick_red"})
            found.append(world.instruction)
        return found

    one = texts()
    assert one == texts() and len(set(one)) == 4 and all("red" in text for text in one)


def test_holding_the_measured_pose_holds_the_arm():
    world = Tabletop(cameras=())
    observation, _ = world.reset(seed=0)
    state = observation["observation.state"]
    still = np.array([state[STATE_NAMES.index(name)] for name in ACTION_NAMES])
    for _ in range(10):
        observation, *_ = world.step(still)
    np.testing.assert_allclose(observation["observation.state"], state, atol=2e-3)


def test_an_attempt_ends_by_its_time():
    world = Tabletop(cameras=())
    world.reset(seed=0, options={"task": "pick_red"})
    for step in range(world.max_steps):
        _, _, terminated, truncated, _ = world.step(np.array([0.2, 0, 0.2, 0, 1]))
        assert not terminated and truncated == (step == world.max_steps - 1)


@pytest.mark.parametrize("action", [[0.2, 0, 0.1, 0], [0.2, 0, np.nan, 0, 1], [[0.2, 0, 0.1, 0, 1]]])
def test_a_useless_action_is_refused(action):
    world = Tabletop(cameras=())
    world.reset(seed=0)
    with pytest.raises(ConfigError, match="5 finite numbers"):
        world.step(np.array(action))


def test_actions_far_out_of_reach_are_drawn_in():
    world = Tabletop(cameras=())
    world.reset(seed=0)
    for sign in (1, -1):
        for _ in range(8):
            observation, *_ = world.step(sign * np.full(5, 1e3))
        assert np.isfinite(observation["observation.state"]).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tasks": ["pick_gren"]}, "pick_red"),
        ({"tasks": []}, "at least one task"),
        ({"cameras": ["top"]}, "front, wrist, side"),
        ({"image_size": 4}, "16 to 640"),
        ({"imagesize": 64}, "image_size"),
    ],
)
def test_wrong_parameters_name_what_would_be_right(params, message):
    with pytest.raises(ConfigError, match=message):
        plugins.make("worlds", "tabletop", params)


def share(picture: np.ndarray, colour: str) -> float:
    """Share of pixels that are clearly of a colour."""
    r, g, b = np.moveaxis(picture.astype(int), -1, 0)
    strong = {"red": (r, g, b), "green": (g, r, b), "blue": (b, r, g)}[colour]
    return float(((strong[0] > 2 * strong[2]) & (strong[0] > 1.5 * strong[1])).mean())


def test_both_cubes_and_the_pad_are_seen_by_the_front_camera_in_every_scene():
    world = Tabletop(image_size=96, cameras=("front",))
    for seed in range(40):
        picture = world.reset(seed=seed)[0]["observation.images.front"]
        for colour, least in (("red", 0.003), ("blue", 0.003), ("green", 0.01)):
            assert share(picture, colour) > least, (seed, colour)


def test_the_fingers_are_seen_by_the_wrist_camera():
    world = Tabletop(image_size=64)
    picture = world.reset(seed=0)[0]["observation.images.wrist"].astype(int)
    yellow = (picture[..., 0] > 120) & (picture[..., 1] > 80) & (picture[..., 2] < 70)
    assert yellow[:, :32].mean() > 0.01 and yellow[:, 32:].mean() > 0.01


def test_without_mujoco_the_error_says_what_to_install():
    script = "import sys; sys.modules['mujoco'] = None; import dataengine.sim"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "MissingDependency" in done.stderr and "vla-dataengine[sim]" in done.stderr


def acted(world: Tabletop, steps: int) -> list[np.ndarray]:
    """The expert's way on from here, by its state."""
    expert = Expert(world.scene, world.task, np.random.default_rng(0))
    return [world.step(expert.act())[0]["observation.state"] for _ in range(steps)]


@pytest.mark.parametrize(("arm", "task", "fps"), [("five", "stack_red_on_blue", 10), ("six", "pour", 30)])
def test_a_group_of_attempts_starts_from_one_snapshot_in_this_and_in_another_world(arm, task, fps):
    world = Tabletop(tasks=(task,), arm=arm, fps=fps, cameras=())
    world.reset(seed=5)
    acted(world, fps)
    kept = pickle.loads(pickle.dumps(world.snapshot()))
    straight, again = acted(world, fps), world.snapshot()
    other = Tabletop(tasks=("pick_red",), arm=arm, fps=fps, cameras=())
    for each in (world, other):
        each.restore(kept)
        assert each.instruction == TASKS[task].instruction() and each.steps == fps
        np.testing.assert_array_equal(acted(each, fps), straight)
        np.testing.assert_array_equal(each.snapshot().physics, again.physics)


@pytest.mark.parametrize("arm", ARMS)
def test_it_is_a_world_a_person_can_act_in(arm):
    world = Tabletop(arm=arm, cameras=("front",), depth=("front",), image_size=48)
    assert isinstance(world, LiveWorld)
    observation, _ = world.reset(seed=1)
    assert set(observation) == set(world.features) - {"action"}
    assert observation["observation.images.front_depth"].shape == (48, 48, 1)
    assert world.joint_limits.shape == (len(world.joint_names), 2)
    names = world.features["observation.state"].names
    assert [f"{joint}.pos" for joint in world.joint_names] == list(names[: len(world.joint_names)])
    model, joints, site = world.kinematics
    assert joints == world.joint_names and model.site(site).id >= 0
    for _ in range(20):
        world.advance(world.hold_action())
    state = world.observe_state()["observation.state"]
    np.testing.assert_allclose(state, observation["observation.state"], atol=3e-3)
    assert world.steps == 0 and world.verdict()[0] > 0


def test_holding_keeps_the_grip():
    world = Tabletop(cameras=())
    world.reset(seed=0, options={"task": "pick_red"})
    expert = Expert(world.scene, world.task, np.random.default_rng(0))
    while not world.scene.held("red") or world.scene.position("red")[2] < 0.03:
        world.advance(expert.act())
    for _ in range(30):
        world.advance(world.hold_action())
    assert world.scene.held("red") and world.scene.grip == 0.0


def test_another_thread_draws_an_earlier_state_while_physics_goes_on():
    world = Tabletop(arm="six", tasks=("sort",), cameras=())
    world.reset(seed=2)
    expert = Expert(world.scene, world.task, np.random.default_rng(0))
    with ThreadPoolExecutor(1) as pool:
        drawn = []
        for _ in range(15):
            still = world.still()
            now = world.render("front", 48)
            drawn.append((pool.submit(world.render, "front", 48, still), now))
            world.advance(expert.act())
        for future, then in drawn:
            np.testing.assert_array_equal(future.result(), then)


def test_30_actions_a_second_do_in_the_same_time_what_10_do():
    times = {}
    for fps in (10, 30):
        world = Tabletop(tasks=("place_red",), fps=fps, cameras=())
        shown = [world.demonstrate(seed, "place_red", noise=0.0, recovery=0.0) for seed in range(4)]
        assert all(each.success for each in shown) and world.fps == fps
        times[fps] = sum(len(each.columns["action"]) for each in shown) / fps
    assert 0.75 < times[30] / times[10] < 1.4


@pytest.mark.parametrize(("params", "message"), [({"fps": 3}, "5 to 100"), ({"arm": "four"}, "five, six")])
def test_other_arms_and_rates_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        Tabletop(**params)
