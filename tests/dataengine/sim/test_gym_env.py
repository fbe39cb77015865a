"""The tabletop through Gymnasium, by its own checker."""

import warnings

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

from dataengine.sim.expert import Expert


def make(task: str = "pick_red") -> gym.Env:
    return gym.make("dataengine.sim.gym_env:dataengine/tabletop", task=task, image_size=48, disable_env_checker=True)


def test_gymnasium_finds_nothing_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would like normalised actions; ours are metres
        check_env(make().unwrapped)


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
