from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dataengine.episode import ArrayClip, Feature
from dataengine.errors import ConfigError, EpisodeError
from pipelines.policy.config import PolicyConfig
from pipelines.policy.data import batch, gather, pools, shift
from pipelines.policy.heldout import baselines, mean_error, measure
from pipelines.policy.pictures import resize
from pipelines.policy.spec import Scale, Spec, specify

FRONT = "observation.images.front"
CONFIG = PolicyConfig(image_size=32, batch=5)


@pytest.fixture(scope="module")
def frames(toy, tmp_path_factory):
    return gather(toy, CONFIG, tmp_path_factory.mktemp("pictures"))


def test_arrays_are_the_episodes(toy, frames):
    assert frames.pictures[FRONT].shape == (24 * 12, 32, 32, 3)
    np.testing.assert_array_equal(frames.pictures[FRONT][13], toy.listed[1].clips[FRONT].frame(1))
    np.testing.assert_array_equal(frames.action[12:24], toy.listed[1].frames["action"])
    assert [frames.instructions[i] for i in frames.instruction[::12]] == [e.meta.tasks[0] for e in toy.listed]
    assert not frames.pictures[FRONT].flags.writeable


def test_chunks_end_with_the_episode(frames):
    chunk, valid = frames.chunks(np.array([0, 9, 11]), 8)
    assert valid.sum(1).tolist() == [8, 3, 1]
    np.testing.assert_array_equal(chunk[1, 2:], np.repeat(frames.action[11][None], 6, 0))
    assert frames.episode[[11, 12]].tolist() == [0, 1]


def test_a_step_sees_the_same_whenever_it_runs(frames):
    pool = frames.frames_of(train=True)
    a, b, c = (batch(frames, pools(frames, CONFIG), CONFIG, step) for step in (7, 7, 8))
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a.at, c.at) and set(a.at) <= set(pool)


def test_shift_moves_each_picture_and_repeats_its_border():
    pictures = np.random.default_rng(0).integers(0, 256, (20, 2, 8, 8, 3), np.uint8)
    moved = shift(pictures, 2, np.random.default_rng(1))
    dy, dx = np.random.default_rng(1).integers(-2, 3, (2, 20, 2, 1))
    for n in range(20):
        for c in range(2):
            padded = np.pad(pictures[n, c], ((2, 2), (2, 2), (0, 0)), mode="edge")
            y, x = 2 + dy[n, c, 0], 2 + dx[n, c, 0]
            np.testing.assert_array_equal(moved[n, c], padded[y : y + 8, x : x + 8])


def test_resize_averages_areas():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    want = picture.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(resize(picture, 32) - want).mean() < 3  # through libswscale's 8-bit chroma
    assert resize(picture, 64) is picture


def test_the_split_is_the_datasets_own_or_by_hash(toy, frames, tmp_path):
    assert 0 < (~frames.train).sum() < 12 and "by hash" in " ".join(frames.notes)
    listed = [e.with_meta(split="val" if i < 5 else "train") for i, e in enumerate(toy.listed)]
    own = gather(replace(toy, listed=tuple(listed)), CONFIG, tmp_path)
    assert own.train.tolist() == [False] * 5 + [True] * 19 and "the dataset's own" in " ".join(own.notes)
    fewer = gather(replace(toy, listed=tuple(toy.listed[3:])), CONFIG, tmp_path)
    assert fewer.train.tolist() == frames.train[3:].tolist()  # an episode keeps its side when others leave
    one = gather(replace(toy, listed=toy.listed[:1]), CONFIG, tmp_path)
    assert one.train.all() and "no held-out error" in " ".join(one.notes)


def test_failed_and_broken_episodes_stay_out_and_it_is_said(toy, tmp_path):
    listed = list(toy.listed)
    listed[0] = listed[0].with_meta(success=False)
    bad = listed[1].frames["action"].copy()
    bad[3, 0] = np.nan
    listed[1] = replace(listed[1], frames={**listed[1].frames, "action": bad})
    found = gather(replace(toy, listed=tuple(listed)), CONFIG, tmp_path)
    notes = " ".join(found.notes)
    assert len(found.ids) == 22 and "1 of 24 episodes failed" in notes and "NaN or Inf" in notes and "toy00001" in notes
    both = gather(replace(toy, listed=tuple(listed)), replace(CONFIG, include_failed=True), tmp_path)
    assert len(both.ids) == 23


def test_no_camera_and_environment_state(toy, tmp_path):
    def blind(e):
        environment = Feature("float32", (2,), ("cube.x", "cube.y"), "environment", "m")
        e = e.select(["observation.state", "action"])
        values = np.ones((12, 2), np.float32) * np.arange(12)[:, None]
        return e.with_columns({"observation.environment_state": environment}, {"observation.environment_state": values})

    found = gather(toy.map(blind), CONFIG, tmp_path)
    assert found.inputs == ("observation.state", "observation.environment_state")
    assert found.state.shape[1] == 5 and found.look(np.arange(3)).shape == (3, 0, 1, 1, 3)
    assert specify(found, CONFIG)[0].space.relative == ("ee.x", "ee.y")


def refused(source, tmp_path, config=CONFIG) -> str:
    with pytest.raises(ConfigError) as caught:
        specify(gather(source, config, tmp_path), config)
    return str(caught.value)


def test_refusals_list_every_reason(toy, tmp_path):
    no_action = toy.map(lambda e: e.select(["observation.state"]))
    assert "no 'action'" in refused(no_action, tmp_path)
    nothing = refused(
        toy.map(lambda e: e.select(["action"])), tmp_path, replace(CONFIG, cameras=("observation.images.x",))
    )
    assert "is no colour camera here; there are: none" in nothing and "cannot train" in nothing
    assert "nothing to look at" in refused(toy.map(lambda e: e.select(["action"])), tmp_path)
    still = toy.map(lambda e: e.map("action", np.zeros_like))
    assert "no element of 'action' ever changes" in refused(still, tmp_path)
    failed = toy.map(lambda e: e.with_meta(success=False))
    assert "none of its 24 episodes is usable" in refused(failed, tmp_path)


def test_a_video_that_ends_early_is_an_error(toy, tmp_path):
    class Short(ArrayClip):
        def frames(self, start=0, stop=None):
            return iter(self.array[:5])

    cut = toy.map(lambda e: replace(e, clips={FRONT: Short(e.clips[FRONT].array, 10.0)}))
    with pytest.raises(EpisodeError, match="holds 5 of 12 frames"):
        gather(cut, CONFIG, tmp_path)
    assert not list(tmp_path.iterdir())


def test_normalisation_round_trip_and_constants(frames):
    spec, notes = specify(frames, CONFIG)
    pool = frames.frames_of(train=True)
    chunk, _ = frames.chunks(pool, 8)
    targets = spec.targets(chunk, frames.state[pool])
    np.testing.assert_allclose(spec.actions(targets, frames.state[pool]), chunk, atol=1e-6)
    np.testing.assert_allclose(Spec.from_json(spec.to_json()).target.std, spec.target.std, rtol=0)
    assert any("relative to the state at the chunk's start: ee.x, ee.y" in note for note in notes)
    scale = Scale.of(np.array([[1.0, 0.3], [3.0, 0.3]]))
    assert scale.mean.tolist() == [2, 0.3] and scale.std.tolist() == [1, 1]


class Exact:
    """A model that answers with given targets plus a known error."""

    def __init__(self, answers: np.ndarray) -> None:
        self.answers, self.place = answers, 0

    def act(self, pictures, state, words, draw):
        import torch

        rows = self.answers[self.place : self.place + len(state)]
        self.place = (self.place + len(state)) % len(self.answers)
        return torch.from_numpy(rows.astype(np.float32))


def test_held_out_error_by_hand(frames):
    spec, _ = specify(frames, CONFIG)
    pool = frames.frames_of(train=False)
    chunk, valid = frames.chunks(pool, 8)
    answers = spec.targets(chunk, frames.state[pool]) + np.array([0.0, 1.0, -2.0])  # in standard deviations
    found = measure(spec, Exact(answers), frames)
    np.testing.assert_allclose(found.errors["policy"], [0, spec.target.std[1], 2 * spec.target.std[2]], atol=1e-6)
    assert found.frames == len(pool) and found.names == ("ee.x", "ee.y", "gripper.pos") and found.units[0] == "m"

    train = frames.frames_of(train=True)
    mean = frames.action[train].astype(np.float64).mean(0)
    total, steps = np.zeros(3), 0
    last_total = np.zeros(3)
    for at in pool:
        number = frames.episode[at]
        for k in range(8):
            if at + k < frames.stop[number]:
                total += np.abs(mean - frames.action[at + k])
                first = at == frames.start[number]
                before = np.array([*frames.state[at][:2], mean[2]]) if first else frames.action[at - 1]
                last_total += np.abs(before - frames.action[at + k])
                steps += 1
    np.testing.assert_allclose(found.errors["mean_action"], total / steps, rtol=1e-6)
    np.testing.assert_allclose(found.errors["repeat_last"], last_total / steps, rtol=1e-6)

    begins = pool[(pool - frames.start[frames.episode[pool]]) < 4]
    chunk, valid = frames.chunks(begins, 8)
    guess = baselines(spec, frames, begins)["mean_action"]
    np.testing.assert_allclose(found.errors["first_mean_action"], mean_error(spec, guess, chunk, valid))
    std = frames.action[train].astype(np.float64).std(0)
    assert found.score["policy"] == pytest.approx(np.mean(np.array(found.errors["policy"]) / std), rel=1e-5)


def test_a_batch_is_what_was_seen_and_done_in_the_same_frame(frames):
    """Off by one, a policy would still learn, and lag."""
    pool = frames.frames_of(train=True)
    b = batch(frames, pools(frames, CONFIG), replace(CONFIG, shift=0), 3)
    assert np.isin(b.at, pool).all()
    np.testing.assert_array_equal(b.chunk[:, 0], frames.action[b.at])
    np.testing.assert_array_equal(b.state, frames.state[b.at])
    np.testing.assert_array_equal(b.pictures, frames.look(b.at))
    np.testing.assert_array_equal(b.instruction, frames.instruction[b.at])


def test_the_waypoint_is_where_a_gripper_next_turns_or_the_episode_ends(frames):
    action = np.random.default_rng(0).uniform(size=frames.action.shape).astype(np.float32)
    found = replace(frames, action=action).waypoints([2])
    closed = action[:, 2] > (action[:, 2].min() + action[:, 2].max()) / 2
    for at, number in enumerate(frames.episode):
        later = range(at + 1, frames.stop[number])
        turns = [k for k in later if closed[k] != closed[k - 1]]
        assert found[at] == (turns[0] if turns else frames.stop[number] - 1)
    ends = (frames.stop - 1)[frames.episode]
    np.testing.assert_array_equal(frames.waypoints([]), ends)  # no gripper: where the episode ends
    spec, _ = specify(frames, CONFIG)
    assert spec.space.grippers == [2]


def test_scales_come_from_training_steps_inside_the_episodes_alone(frames):
    spec, _ = specify(frames, CONFIG)
    pool = frames.frames_of(train=True)
    np.testing.assert_allclose(spec.state.mean, frames.state[pool].astype(float).mean(0))
    inside = []
    for at in pool:
        stop = frames.stop[frames.episode[at]]
        steps = frames.action[at : min(at + CONFIG.chunk, stop)].astype(float)
        inside.append(np.column_stack([steps[:, :2] - frames.state[at, :2], steps[:, 2]]))
    np.testing.assert_allclose(spec.target.mean, np.concatenate(inside).mean(0), atol=1e-7)
    np.testing.assert_allclose(spec.target.std, np.concatenate(inside).std(0), rtol=1e-5)


def test_embodiments_have_their_shares_of_what_is_learnt(toy, tmp_path):
    listed = [e.with_meta(embodiment="person" if i < 18 else "arm") for i, e in enumerate(toy.listed)]
    config = replace(CONFIG, shares={"arm": 3.0, "person": 1.0}, batch=40)
    found = gather(replace(toy, listed=tuple(listed)), config, tmp_path)
    drawn_from = pools(found, config)
    assert [share for share, _ in drawn_from] == [0.75, 0.25]
    for step in range(20):
        drawn = batch(found, drawn_from, config, step).at
        acted = np.array(found.embodiments)[found.episode[drawn]]
        assert (acted == "arm").sum() == 30 and found.train[found.episode[drawn]].all()
    alone = pools(found, replace(config, shares={"arm": 1, "person": 0}))
    assert len(alone) == 1 and {found.embodiments[e] for e in found.episode[alone[0][1]]} == {"arm"}
    for wrong in ({"arm": 1}, {"arm": 1, "person": 1, "nobody": 1}):
        with pytest.raises(ConfigError, match="the episodes to train on are of arm, person"):
            pools(found, replace(config, shares=wrong))
    with pytest.raises(ConfigError, match="shares are numbers"):
        replace(config, shares={"arm": -1.0})
