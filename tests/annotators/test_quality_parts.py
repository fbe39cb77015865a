"""The parts that quality checks are made of, against numpy and plain Python."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from motion_made import made_episode, made_set

from annotators.quality import View, assess, learn, measure, tracking
from annotators.quality.jumps import Noise
from annotators.quality.pictures import trace
from annotators.quality.reference import fit_peers, pack, peers, unpack
from dataengine.episode import ArrayClip
from dataengine.runs import runs


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_peers_are_the_others(values: list[float]):
    part = fit_peers([[v] for v in values])
    for at, own in enumerate(values):
        others = sorted(values[:at] + values[at + 1 :])
        found = peers(part, np.array([own]))
        assert found is not None and found[0] == others[len(others) // 2]


@given(st.lists(st.booleans(), max_size=40))
def test_runs_are_the_true_stretches(mask: list[bool]):
    found = runs(np.array(mask, bool))
    assert [m for m in mask if m] == [True] * sum(b - a for a, b in found)
    assert all(all(mask[a:b]) for a, b in found)
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(found))


def test_noise_is_measured_as_a_standard_deviation():
    rng = np.random.default_rng(0)
    t = np.linspace(0, 6, 400)[:, None]
    noisy = np.sin(t) + rng.normal(0, 0.05, t.shape)
    episode = made_episode(0, 400, cameras=False).map(
        "observation.state", lambda s: np.repeat(noisy, 5, 1).astype(s.dtype)
    )
    signal = View(episode).signals["observation.state"]
    assert np.median(Noise().profile(signal)) == pytest.approx(0.05, rel=0.15)


def test_the_model_is_least_squares_over_the_others():
    pairs = [tracking.pairing(View(e)) for e in made_set(4, cameras=False)]
    assert all(isinstance(p, tracking.Pairing) and p.paired for p in pairs)
    part = tracking.fit({str(i): tracking.measure(p) for i, p in enumerate(pairs)})  # type: ignore[arg-type]
    assert part is not None and len(part["used"]) == len(pairs)
    model = tracking.model_of_peers(part, "0", pairs[0])  # type: ignore[arg-type]
    assert isinstance(model, tracking.Model)
    delay, last = model.delay, tracking.DELAYS[-1]
    rows, change = [], []
    for pair in pairs[1:]:
        assert isinstance(pair, tracking.Pairing)
        t = np.arange(len(pair.state) - last)
        rows.append(np.stack([pair.action[t + delay, 1], pair.state[t, 1], np.ones(len(t))], axis=1))
        change.append(pair.state[t + 1, 1] - pair.state[t, 1])
    x, y = np.concatenate(rows), np.concatenate(change)
    damped = np.diag(np.sqrt(tracking.RIDGE * (x**2).sum(axis=0)))
    expected = np.linalg.lstsq(np.concatenate([x, damped]), np.concatenate([y, np.zeros(3)]), rcond=None)[0]
    assert model.weights[1, :, 0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_each_clip_is_decoded_once():
    class Counted(ArrayClip):
        passes = 0

        def frames(self, start: int = 0, stop: int | None = None):
            type(self).passes += 1
            return super().frames(start, stop)

    episode = made_episode(50)
    clips = {k: Counted(np.stack(list(c.frames())), c.fps) for k, c in episode.clips.items()}
    watched = replace(episode, clips=clips)
    assess(watched, learn([measure(e) for e in (watched, *made_set(2))]))
    assert Counted.passes == len(clips)


def test_small_and_depth_pictures_can_be_traced():
    tiny = ArrayClip(np.zeros((4, 3, 5, 3), np.uint8), 10)
    assert trace(tiny).thumbnail.shape == (8, 8, 3)
    depth = ArrayClip(np.full((4, 90, 70, 1), 2.0, np.float32), 10)
    assert trace(depth).mean == pytest.approx([127.5] * 4)


@given(st.integers(1, 4), st.integers(1, 5))
def test_arrays_pack_to_json(a: int, b: int):
    array = np.random.default_rng(a * b).normal(size=(a, b))
    assert np.array_equal(unpack(json.loads(json.dumps(pack(array)))), array)
