"""Rollouts as episodes: the same whoever runs them, whole, resumable, and with what came of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policies_made import Wavering, demonstrations, install, tiny_policy

from collectors.rollout import RolloutCollector
from dataengine import plugins
from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.sim.world import Tabletop
from dataengine.store import Store
from dataengine.store.gather import append_all

SMALL = {"image_size": 32, "seed": 2}


def collector(policy: str | Path, **choices: Any) -> RolloutCollector:
    return plugins.make("collectors", "rollout", {"policy": str(policy), **SMALL, **choices})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rollout")
    return tiny_policy(demonstrations(folder / "demo"), folder / "l1", "l1")


@pytest.fixture(scope="module")
def episodes(checkpoint: Path) -> list[Episode]:
    return list(collector(checkpoint, episodes=4, group=2, noise=0.5).collect())


def test_they_are_whole_and_hold_the_decisions(episodes: list[Episode]) -> None:
    assert len(episodes) == 4
    for episode in episodes:
        frames = episode.check().frames
        decided = np.flatnonzero(frames["policy.decided"])
        table = episode.labels["rollout_decisions"].table
        assert table.column("frame").to_pylist() == decided.tolist() and decided[0] == 0
        assert sum(table.column("steps").to_pylist()) == episode.length
        log_prob, parts = table.column("log_prob").to_numpy(), table.column("parts").to_pylist()
        np.testing.assert_allclose(frames["policy.log_prob"][decided], log_prob, rtol=1e-6)
        np.testing.assert_allclose(log_prob, [sum(each) for each in parts])
        for key in ("policy.features", "policy.noise", "policy.log_prob"):  # the decision in force
            held = np.repeat(frames[key][decided], table.column("steps").to_numpy(), axis=0)
            np.testing.assert_array_equal(frames[key], held)
        assert frames["next.done"].tolist() == [False] * (episode.length - 1) + [True]


def test_nothing_of_it_looks_like_input_or_output_of_a_policy(episodes: list[Episode]) -> None:
    world = set(Tabletop(image_size=32).features)
    for episode in episodes:
        assert {key for key in episode.features if key.startswith(("observation", "action"))} == world


def test_the_actions_done_again_give_the_same_states_and_outcome(episodes: list[Episode]) -> None:
    episode, world = episodes[1], Tabletop(image_size=32)
    observation, _ = world.reset(seed=episode.meta.source["seed"], options={"task": episode.meta.source["task"]})
    for frame, action in enumerate(episode.frames["action"]):
        np.testing.assert_array_equal(episode.frames["observation.state"][frame], observation["observation.state"])
        if frame % 20 == 0:
            picture = episode.clips["observation.images.front"].frame(frame)
            np.testing.assert_array_equal(picture, observation["observation.images.front"])
        observation, progress, terminated, truncated, info = world.step(action)
        assert episode.frames["sim.progress"][frame] == np.float32(progress)
    assert terminated or truncated
    assert info["is_success"] == episode.meta.success


def test_a_group_begins_alike_and_differs_in_noise(episodes: list[Episode]) -> None:
    values = [episode.meta.extra["rollout"] for episode in episodes]
    assert [v["group"] for v in values[:2]] == [values[0]["group"]] * 2 != [v["group"] for v in values[2:]]
    assert [v["member"] for v in values] == [0, 1, 0, 1]
    for one, other in (episodes[:2], episodes[2:]):
        assert one.meta.extra["rollout"]["start"] == other.meta.extra["rollout"]["start"]
        for key in ("observation.state", "policy.features"):
            np.testing.assert_array_equal(one.frames[key][0], other.frames[key][0])
        assert np.abs(one.frames["action"][0] - other.frames["action"][0]).max() > 1e-4
    assert values[0]["start"] == values[2]["start"]  # a scene is the same under every task


def test_the_number_of_workers_changes_nothing(checkpoint: Path, episodes: list[Episode]) -> None:
    shared = list(collector(checkpoint, episodes=4, group=2, noise=0.5, workers=2).collect())
    assert [e.id for e in shared] == [e.id for e in episodes]
    for one, other in zip(shared, episodes, strict=True):
        assert one.meta == other.meta and one.hashes() == other.hashes()


def test_a_killed_run_goes_on_where_it_stopped(
    checkpoint: Path, episodes: list[Episode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = collector(checkpoint, episodes=4, group=2, noise=0.5)
    append_all(episodes[:3], tmp_path / "store")  # killed in the middle of a group
    run, again = RolloutCollector.run, []
    monkeypatch.setattr(RolloutCollector, "run", lambda self, number: (again.append(number), run(self, number))[1])
    assert append_all(asked.collect(set(Store.open(tmp_path / "store").ids)), tmp_path / "store") == 1
    assert again == [1] and list(Store.open(tmp_path / "store").ids) == [e.id for e in episodes]
    assert list(asked.collect({e.id for e in episodes})) == [] and again == [1]


def test_other_weights_noise_or_seeds_are_other_episodes(checkpoint: Path, tmp_path: Path) -> None:
    asked = collector(checkpoint, episodes=2, group=2, noise=0.5)
    assert asked.ids(0) == collector(checkpoint, episodes=8, group=2, noise=0.5, workers=2).ids(0)
    others = [{"noise": 0.4}, {"seed": 3}, {"reward": "gain"}, {"scenes": "evaluation"}, {"gamma": 0.9}]
    ids = {replace(asked, **other).ids(0)[0] for other in others}
    weights = checkpoint / "policy" / "model.safetensors"
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        ids.add(collector(checkpoint, episodes=2, group=2, noise=0.5).ids(0)[0])
    finally:
        weights.write_bytes(before)
    assert len(ids | {asked.ids(0)[0]}) == len(others) + 2


def test_outcomes_are_of_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Wavering] = []

    def wavering() -> Wavering:
        made.append(Wavering())
        return made[-1]

    install(monkeypatch, wavering=wavering)
    asked = collector("wavering", episodes=12, group=6, noise=1.0, cameras=[], gamma=0.9, tasks=["pick_red"])
    tried = list(asked.collect())
    assert {episode.meta.success for episode in tried} == {True, False}
    for episode in tried:
        values = episode.meta.extra["rollout"]
        row = episode.labels["rollout"].table.to_pylist()[0]
        assert row == values
        event = episode.labels["failure_onset"].table.to_pylist()
        if episode.meta.success:
            assert values["return"] == 1.0 and values["onset"] is None and event == []
            assert values["discounted_return"] == pytest.approx(0.9 ** (episode.length - 1))
            assert episode.frames["next.reward"].tolist() == [0.0] * (episode.length - 1) + [1.0]
            told = episode.labels["rollout_decisions"].table
            np.testing.assert_allclose(told.column("return_to_go"), 0.9 ** np.arange(episode.length - 1, -1, -1))
            assert told.column("chunk_return").to_pylist() == [0.0] * (episode.length - 1) + [1.0]
        else:
            made[-1].begin(values["seed"], 1.0)
            assert made[-1].lost is not None and abs(values["onset"] - made[-1].lost) <= 3
            assert event == [{"frame": values["onset"], "cause": "lost"}] and values["return"] == 0.0


def test_progress_can_be_the_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, wavering=Wavering)
    (episode,) = collector("wavering", episodes=1, cameras=[], reward="gain").collect()
    assert episode.meta.extra["rollout"]["return"] == pytest.approx(1.0, abs=1e-5)
    assert episode.meta.extra["rollout"]["advantage"] is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"episodes": 3, "group": 2}, "multiple"),
        ({"gamma": 2.0}, "gamma"),
        ({"noise": -1.0}, "noise"),
        ({"workers": 0}, "workers"),
        ({"tasks": ["dance"]}, "pick_red"),
        ({"tasks": []}, "task"),
        ({"policy": "nowhere"}, "lerobot"),
        ({"policy": "expert", "noise": 0.1}, "explore"),
    ],
)
def test_wrong_parameters_name_what_would_be_right(checkpoint: Path, params: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        next(iter(collector(params.pop("policy", checkpoint), **params).collect()))


def test_the_verb_rolls_out_and_tells(checkpoint: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from dataengine.cli import app

    command = [
        "collect",
        "rollout",
        str(tmp_path / "s"),
        "--policy",
        "expert",
        "--task",
        "pick_red",
        "--task",
        "pick_blue",
    ]
    command += ["--episodes", "4", "--set", "image_size=32", "--json"]
    for new in (4, 0):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout[done.stdout.index("{") :])
        assert told["new_episodes"] == new and told["episodes"] == 4 and told["success"] == 1.0
