"""The tabletop through Gymnasium, by its own checker."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from dataengine.sim.expert import Expert
from dataengine.sim.tasks import TASKS


def make(task: str = "pick_red", **more: object) -> gym.Env:
    name = "dataengine.sim.gym_env:dataengine/tabletop"
    return gym.make(name, task=task, image_size=48, disable_env_checker=True, **more)


@pytest.mark.parametrize(
    ("task", "arm", "fps"),
    [("pick_red", "five", 10), ("sort", "six", 10), ("drawer_red_cube", "five", 30), ("pour", "six", 30)],
)
def test_gymnasium_finds_nothing_wrong(task, arm, fps):
    env = make(task, arm=arm, fps=fps).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like normalised actions; ours are metres
        check_env(env)
    assert env.metadata["render_fps"] == fps
    assert env._max_episode_steps == round(TASKS[task].seconds * fps)


def test_every_task_has_a_name_of_its_own():
    for name, task in TASKS.items():
        env = gym.make(f"dataengine/{name}", image_size=32, cameras=(), disable_env_checker=True)
        env.reset(seed=0)
        assert env.unwrapped.task_description == task.instruction()


def test_the_expert_succeeds_through_it():
    env = make("place_blue")
    env.reset(seed=1)
    world = env.unwrapped.world
    expert = Expert(world.scene, world.task, np.random.default_rng(0))
    for _ in range(env.get_wrapper_attr("_max_episode_steps")):
        observation, reward, terminated, _, info = env.step(expert.act())
        if terminated:
            break
    assert info["is_success"] and reward == 1
    assert observation["pixels"]["wrist"].shape == (48, 48, 3)
    assert env.unwrapped.task_description == "put the blue cube on the green pad"
    assert env.render().shape == (48, 48, 3)
