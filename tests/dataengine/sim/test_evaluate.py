"""Evaluation: honest figures, unseen scenes, equal results however many workers."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest

from collectors.expert import ExpertCollector
from dataengine.errors import ConfigError
from dataengine.intervals import wilson
from dataengine.sim.controls import Blind, MeanAction, RandomTargets, RepeatLast
from dataengine.sim.evaluate import Evaluation, evaluate
from dataengine.sim.expert import ExpertPolicy
from dataengine.sim.filmstrip import filmstrip, spread
from dataengine.sim.seeds import EVALUATION, RUNS, SCENES, evaluation_scene, training_scene


@pytest.fixture(scope="module")
def expert() -> Evaluation:
    return evaluate(ExpertPolicy(), episodes=8, seed=3, films=3)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_the_interval_is_scipys(counts, confidence):
    low, high = wilson(*counts, confidence)
    want = binomtest(*counts).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose([low, high], [want.low, want.high], atol=1e-9)


def test_nothing_tried_is_nothing_known():
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, RUNS - 1), st.integers(0, SCENES - 1), st.integers(0, RUNS - 1), st.integers(0, SCENES - 1))
def test_no_training_scene_is_ever_evaluated_and_no_two_runs_share_one(run, scene, other_run, other_scene):
    assert training_scene(run, scene) < EVALUATION <= evaluation_scene(other_run, other_scene)
    same = (run, scene) == (other_run, other_scene)
    assert (training_scene(run, scene) == training_scene(other_run, other_scene)) == same


def test_seeds_out_of_range_are_refused():
    for run, scene in ((-1, 0), (RUNS, 0), (0, SCENES)):
        with pytest.raises(ConfigError, match="seeds are"):
            training_scene(run, scene)


def test_what_is_evaluated_is_disjoint_from_what_is_collected(expert):
    collected = {e.meta.source["seed"] for e in ExpertCollector(episodes=8, seed=3, cameras=()).collect()}
    assert not collected & {attempt.seed for attempt in expert.attempts}


def test_scenes_are_attempted_under_every_instruction(expert):
    by_scene: dict[int, set[str]] = {}
    for attempt in expert.attempts:
        by_scene.setdefault(attempt.seed, set()).add(attempt.instruction)
    assert len(by_scene) == 4
    assert all(len(found) == 2 for found in by_scene.values())
    assert [rate.n for rate in expert.by_instruction.values()] == [4, 4]


def test_figures_are_those_of_the_attempts_and_json_holds_them(expert):
    data = json.loads(json.dumps(expert.to_json()))
    assert data["n"] == 8 and len(data["attempts"]) == 8
    assert data["success"] == sum(a["success"] for a in data["attempts"]) / 8 == expert.success
    assert data["interval_95"] == [round(x, 4) for x in wilson(round(8 * expert.success), 8)]
    assert "of 8 attempts" in str(expert)


def test_the_expert_beats_every_control(expert):
    mean = MeanAction.of(ExpertCollector(episodes=4, cameras=()).collect())
    assert expert.success == 1.0
    for control in (RepeatLast(), RandomTargets(), mean):
        found = evaluate(control, episodes=8, seed=3, films=0, params={"cameras": []})
        assert found.success <= 0.25, type(control).__name__


def test_two_workers_find_what_one_finds(expert):
    found = evaluate(ExpertPolicy, episodes=8, seed=3, films=0, workers=2)
    assert found.attempts == expert.attempts


def test_a_repeated_evaluation_is_equal(expert):
    again = evaluate(ExpertPolicy, episodes=8, seed=3, films=3)
    assert again.to_json() == expert.to_json()
    for one, other in zip(again.films, expert.films, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)


def test_films_show_the_attempt_and_become_a_png(expert):
    assert len(expert.films) == 3
    picture = Image.open(io.BytesIO(filmstrip(expert.films)))
    assert picture.format == "PNG"
    film = expert.films[0]
    assert picture.width >= film.frames.shape[0] * film.frames.shape[2]
    assert (film.frames[0] != film.frames[-1]).any()


def test_failures_come_first_into_the_films():
    class Late(ExpertPolicy):
        """Fails under one of the two instructions."""

        def act(self, observation, instruction):
            action = super().act(observation, instruction)
            return RepeatLast().act(observation, instruction) if "blue" in instruction else action

    found = evaluate(Late(), episodes=8, films=4)
    assert found.success == 0.5
    assert [film.success for film in found.films].count(False) == 2


def test_a_policy_without_eyes_is_filmed_all_the_same():
    assert evaluate(ExpertPolicy(), episodes=1, params={"cameras": []}, films=1).films[0].frames.shape[1:] == (
        224,
        112,
        3,
    )


def test_no_film_is_an_error_not_an_empty_picture():
    with pytest.raises(ConfigError):
        filmstrip([])


@given(st.integers(1, 300), st.integers(1, 20))
def test_spread_frames_reach_from_first_to_last(length, shown):
    found = spread(length, shown)
    assert found[0] == 0 and len(found) <= shown
    assert found[-1] == length - 1 or shown == 1


def test_a_blind_policy_reads_no_instruction():
    class Reads:
        told: str = ""

        def reset(self):
            pass

        def act(self, observation, instruction):
            self.told = instruction
            return np.zeros((1, 5))

    policy = Reads()
    Blind(policy).act({}, "pick up the red cube")
    assert policy.told == ""


@pytest.mark.parametrize("chunk", [np.zeros((0, 5)), np.zeros(5), np.zeros((2, 4)), np.full((1, 5), np.nan)])
def test_a_policy_that_gives_no_usable_actions_is_an_error(chunk):
    class Bad(RepeatLast):
        def act(self, observation, instruction):
            return chunk

    with pytest.raises(ConfigError):
        evaluate(Bad(), episodes=1, films=0)


def test_what_is_no_policy_is_refused():
    with pytest.raises(ConfigError, match="act"):
        evaluate(lambda: object(), episodes=1)
    with pytest.raises(ConfigError, match="at least one"):
        evaluate(RepeatLast(), episodes=0)
