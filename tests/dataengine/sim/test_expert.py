"""The expert does its tasks, also with noise and after a failed grasp, and shows it reproducibly."""

import numpy as np
import pytest

from dataengine.sim.arms import ARMS, FIVE
from dataengine.sim.base import Demonstration
from dataengine.sim.evaluate import evaluate
from dataengine.sim.expert import Expert, ExpertPolicy
from dataengine.sim.tasks import tasks_of
from dataengine.sim.world import Tabletop


@pytest.fixture(scope="module")
def world() -> Tabletop:
    return Tabletop(tasks=tasks_of("five"), cameras=())


BOTH = [(arm, task) for arm in ARMS for task in tasks_of(arm)]


@pytest.mark.parametrize(("arm", "task"), BOTH)
def test_a_few_scenes_of_every_task_are_done_with_noise(arm, task):
    world = Tabletop(tasks=(task,), arm=arm, cameras=())
    done = [world.demonstrate(seed, task, noise=0.004, recovery=0.0).success for seed in range(1)]
    assert all(done)


@pytest.mark.slow
@pytest.mark.parametrize("fps", [10, 30])
@pytest.mark.parametrize(("arm", "task"), BOTH)
def test_100_unseen_scenes_of_every_task(arm, task, fps):
    params = {"cameras": (), "arm": arm, "fps": fps}
    found = evaluate(ExpertPolicy(), tasks=(task,), episodes=100, params=params, films=0)
    assert found.success >= 0.95, str(found)


def test_rules_look_at_the_present_only():
    """A new expert of the same style, put in halfway, does what the old one would have done."""
    world = Tabletop(tasks=("sort",), cameras=())
    world.reset(seed=1)
    one = Expert(world.scene, world.task, np.random.default_rng(0))
    for step in range(120):
        if step % 30 == 0:
            other = Expert(world.scene, world.task, np.random.default_rng(0))
            np.testing.assert_array_equal(one.act(), other.act())
        world.advance(one.act())


@pytest.mark.parametrize("task", ["stack_red_on_blue", "bin_red_ball", "drawer_red_cube"])
def test_what_is_taken_away_on_the_way_is_fetched_again(task):
    world = Tabletop(tasks=(task,), cameras=())
    world.reset(seed=2)
    expert, start = Expert(world.scene, world.task, np.random.default_rng(0)), world.scene.kind.sample(2)
    taken, ended = False, False
    while not ended:
        *_, terminated, truncated, info = world.step(expert.act())
        ended = terminated or truncated
        thing = world.scene.data.joint(world.task.target)
        if not taken and world.scene.held(world.task.target) and thing.qpos[2] > 0.07:
            x, y, z, _ = start.things[world.task.target]
            thing.qpos[:3], thing.qvel[:], taken = [x, y, z], 0, True
    assert taken and info["is_success"]


def test_a_demonstration_is_the_same_bit_for_bit_and_another_attempt_is_not(world):
    def shown(attempt: int) -> Demonstration:
        return world.demonstrate(7, "pick_red", noise=0.004, recovery=0.5, attempt=attempt)

    one, same, other = shown(0), shown(0), shown(1)
    for key, column in one.columns.items():
        np.testing.assert_array_equal(column, same.columns[key])
    assert (
        one.columns["action"].shape != other.columns["action"].shape
        or (one.columns["action"] != other.columns["action"]).any()
    )


def test_stored_actions_are_clean_and_carried_out_ones_are_noisy(world):
    calm = world.demonstrate(3, "pick_red", noise=0.0, recovery=0.0)
    np.testing.assert_array_equal(calm.columns["action"], calm.columns["collect.executed_action"])
    found = [world.demonstrate(seed, "pick_red", noise=0.004, recovery=0.0) for seed in range(30)]
    noise = np.concatenate([d.columns["collect.executed_action"] - d.columns["action"] for d in found])
    np.testing.assert_allclose(noise[:, :3].std(0), 0.004, rtol=0.15)
    assert (noise[:, 4] == 0).all()


def test_demonstrations_stop_three_steps_after_success(world):
    shown = world.demonstrate(1, "pick_blue", noise=0.0, recovery=0.0)
    success, done = shown.columns["next.success"], shown.columns["next.done"]
    assert success.sum() == 4 and success[-4:].all() and done[-1] and done.sum() == 1


def test_actions_stay_in_the_workspace_and_never_jump(world):
    for task in ("pick_red", "place_blue", "push_red"):
        shown = world.demonstrate(5, task, noise=0.004, recovery=0.0)
        action, state = shown.columns["action"], shown.columns["observation.state"]
        assert (action[:, :3] > FIVE.pose_low[:3] - 0.01).all() and (action[:, :3] < FIVE.pose_high[:3]).all()
        assert np.linalg.norm(action[:, :3] - state[:, 5:8], axis=1).max() < 0.03


def test_out_of_an_empty_grasp_the_expert_opens_rises_and_returns(world):
    staged = [world.demonstrate(seed, "pick_red", noise=0.004, recovery=1.0) for seed in range(20)]
    assert sum(d.extra["recovery"] for d in staged) >= 16
    for shown in (d for d in staged if d.extra["recovery"]):
        opening, action = shown.columns["observation.state"][:, 9], shown.columns["action"]
        assert shown.success
        assert opening[0] < 0.1 and opening.max() > 0.9  # closed on nothing, then open again
        if shown.columns["observation.state"][0, 7] < 0.05:
            assert action[0, 4] == 1.0


def test_demonstrations_vary(world):
    lengths = {
        len(world.demonstrate(2, "pick_red", noise=0.0, recovery=0.0, attempt=k).columns["action"]) for k in range(8)
    }
    assert len(lengths) > 2
