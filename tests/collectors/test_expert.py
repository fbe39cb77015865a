"""Demonstrations as episodes: whole, paired, reproducible, with everything said about them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from collectors.expert import ExpertCollector, Tally
from dataengine import plugins
from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.store import Store
from dataengine.store.gather import append_all


def collect(**params) -> list[Episode]:
    return list(plugins.make("collectors", "expert", {"image_size": 32, **params}).collect())


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return collect(episodes=6, seed=1)


def test_episodes_are_whole_and_successful(episodes):
    assert len(episodes) == 6
    for episode in episodes:
        episode.check()
        assert episode.meta.success is True
        assert episode.fps == 10
        assert set(episode.clips) == {"observation.images.front", "observation.images.wrist"}
        assert episode.frames["next.success"][-1] and episode.frames["next.done"][-1]


def test_only_state_cameras_and_action_would_become_policy_features(episodes):
    policy = {key for key in episodes[0].features if key.startswith(("observation.", "action"))}
    assert policy == {"observation.state", "observation.images.front", "observation.images.wrist", "action"}


def test_scenes_are_paired_over_instructions(episodes):
    scenes = [episode.meta.source["seed"] for episode in episodes]
    assert scenes[::2] == scenes[1::2] and len(set(scenes)) == 3
    assert {episode.meta.tasks for episode in episodes[::2]} == {("pick up the red cube",)}
    assert {episode.meta.tasks for episode in episodes[1::2]} == {("pick up the blue cube",)}


def test_the_same_parameters_give_the_same_episodes_bit_for_bit(episodes):
    for one, other in zip(episodes, collect(episodes=6, seed=1), strict=True):
        assert one.id == other.id and one.meta == other.meta
        assert one.hashes() == other.hashes()


def test_a_run_can_be_shared_out_among_workers(episodes):
    parts = collect(episodes=2, seed=1) + collect(episodes=4, seed=1, first=1)
    assert [e.id for e in parts] == [e.id for e in episodes]
    assert [e.hashes() for e in parts] == [e.hashes() for e in episodes]
    assert [e.meta for e in parts] == [e.meta for e in episodes]


def test_the_number_of_workers_changes_nothing(episodes):
    tally = Tally()
    collector = plugins.make("collectors", "expert", {"image_size": 32, "episodes": 6, "seed": 1, "workers": 2})
    shared = list(collector.collect(tally))
    assert [e.id for e in shared] == [e.id for e in episodes]
    assert [e.hashes() for e in shared] == [e.hashes() for e in episodes]
    assert [e.meta for e in shared] == [e.meta for e in episodes]
    assert tally.to_json()["successes"] == 6 and set(tally.attempts) == {"pick_red", "pick_blue"}


def test_what_was_tried_is_counted_task_by_task():
    tally = Tally()
    found = list(ExpertCollector(episodes=8, noise=0.012, cameras=()).collect(tally))
    said = tally.to_json()
    assert said["successes"] == 8 and said["attempts"] == sum(e.meta.extra["attempt"] + 1 for e in found) > 8
    assert sum(row["attempts"] for row in said["tasks"].values()) == said["attempts"]


def test_an_episode_keeps_its_id_where_arm_rate_and_truth_are_the_usual_ones(episodes):
    """As long as the world's version stays, a store that was begun earlier is gone on with."""
    assert episodes[0].meta.lineage[0].params.keys().isdisjoint({"arm", "fps", "depth", "truth", "workers"})
    other = collect(episodes=1, seed=1, arm="six", fps=30, truth=["poses"], depth=["front"])[0]
    assert other.meta.lineage[0].params["arm"] == "six" and other.fps == 30
    assert other.clips["observation.images.front_depth"].kind == "depth"
    assert other.meta.embodiment != episodes[0].meta.embodiment
    assert other.features["action"].names[3:6] == ("ee.roll", "ee.pitch", "ee.yaw")


def test_all_kinds_of_scenes_fit_into_one_store(tmp_path):
    tasks = ("pick_red", "bin_red_ball", "open_drawer", "pour")
    collector = ExpertCollector(episodes=4, tasks=tasks, arm="six", image_size=32, truth=("poses", "contacts"))
    assert append_all(collector.collect(), tmp_path / "all") == 4
    assert {e.meta.source["task"] for e in Store.open(tmp_path / "all").episodes()} == set(tasks)


def test_the_command_says_in_json_how_often_it_tried_and_succeeded(tmp_path):
    arguments = ["collect", "expert", str(tmp_path / "s"), "--task", "open_drawer", "--task", "pick_red", "--json"]
    arguments += ["--episodes", "4", "--seed", "3", "--set", "cameras=[]"]
    done = subprocess.run([sys.executable, "-m", "dataengine", *arguments], capture_output=True, text=True)
    said = json.loads(done.stdout)
    assert said["successes"] == said["new_episodes"] == 4 <= said["attempts"] and said["rate"] <= 1
    assert set(said["tasks"]) == {"open_drawer", "pick_red"} and said["seconds"] > 0


def test_other_seeds_and_other_parameters_give_other_ids(episodes):
    ids = {e.id for e in episodes}
    for params in ({"seed": 2}, {"seed": 1, "noise": 0.0}, {"seed": 1, "tasks": ["pick_red"]}):
        assert not ids & {e.id for e in collect(episodes=2, **params)}
    assert len(ids) == 6


def test_paraphrases_change_the_words_and_nothing_else(episodes):
    for plain, varied in zip(episodes, collect(episodes=6, seed=1, phrasing="varied"), strict=True):
        assert plain.hashes() == varied.hashes()
    assert len({e.meta.tasks for e in collect(episodes=16, cameras=(), phrasing="varied")}) > 4


def test_pictures_and_states_belong_together(episodes):
    """A drawn-again simulator state gives the stored picture, and the stored state the measured one."""
    import mujoco

    from dataengine.sim.cameras import render
    from dataengine.sim.scene import Scene

    episode, scene = episodes[1], Scene()
    nq, nv = scene.model.nq, scene.model.nv
    for frame in (0, episode.length // 2, episode.length - 1):
        state = episode.frames["sim.state"][frame]
        x, y, yaw = state[nq + nv :]
        scene.data.qpos[:], scene.data.qvel[:] = state[:nq], state[nq : nq + nv]
        scene.data.mocap_pos[0], scene.data.mocap_quat[0] = [x, y, 0], [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        mujoco.mj_forward(scene.model, scene.data)
        for camera in ("front", "wrist"):
            stored = episode.clips[f"observation.images.{camera}"].frame(frame).astype(int)
            assert np.abs(render(scene.still(), camera, 32) - stored).mean() < 1.0
        measured = np.array([*scene.joints, *scene.pose, scene.gripper], np.float32)
        np.testing.assert_allclose(episode.frames["observation.state"][frame], measured, atol=1e-6)


def test_failures_are_kept_and_marked_only_when_asked_for():
    failed = collect(episodes=6, noise=0.012, failed=True, cameras=())
    assert {episode.meta.success for episode in failed} == {True, False}
    assert all(e.meta.success == bool(e.frames["next.success"][-1]) for e in failed)
    again = collect(episodes=6, noise=0.012, cameras=())
    assert all(e.meta.success for e in again)
    assert any(e.meta.extra["attempt"] > 0 for e in again)


def test_an_expert_that_never_succeeds_is_an_error_and_no_endless_run(monkeypatch):
    monkeypatch.setattr("collectors.expert.PATIENCE", 2)
    monkeypatch.setattr("collectors.expert.TRIES", 1)
    collector = ExpertCollector(episodes=1, cameras=(), recovery=0.0)
    object.__setattr__(collector, "noise", 0.5)  # beyond what the front door lets in
    with pytest.raises(ConfigError, match="less noise"):
        next(iter(collector.collect()))


def test_provenance_is_told(episodes):
    meta = episodes[0].meta
    assert meta.source["format"] == "simulation" and meta.source["version"] == "1"
    assert meta.embodiment == "tabletop_arm" and meta.licence
    assert meta.lineage[0].name == "collect.expert" and meta.lineage[0].params["noise"] == 0.004
    assert meta.extra["task"] == "pick_red"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"episodes": 0}, "1 or more"),
        ({"noise": 1.0}, "0 to 0.02"),
        ({"recovery": 2.0}, "0 to 1"),
        ({"seed": -1}, "seeds are"),
        ({"world": "moon"}, "tabletop"),
        ({"tasks": ["dance"]}, "pick_red"),
    ],
)
def test_wrong_parameters_name_what_would_be_right(params, message):
    with pytest.raises(ConfigError, match=message):
        collect(**params)


def test_a_world_without_an_expert_is_refused(monkeypatch):
    made = plugins.make
    monkeypatch.setattr(
        plugins, "make", lambda kind, name, params=None: object() if kind == "worlds" else made(kind, name, params)
    )
    with pytest.raises(ConfigError, match="no expert"):
        next(iter(ExpertCollector(episodes=1).collect()))
