"""Quality checks: every fault is found where it was put, clean data is left alone, no fault improves a grade."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from motion_made import made_episode, made_set

import faults
from annotators.quality import CHECKS, Reference, View, assess, learn, measure, tracking
from annotators.quality.grade import NOT_ASSESSED, SCHEMA, grade, label, objective
from annotators.quality.jumps import Noise
from annotators.quality.pictures import trace
from annotators.quality.reference import fit_peers, pack, peers, unpack
from annotators.quality.view import runs
from dataengine.episode import CAPTURE_TIME, ArrayClip, Episode

PLACES = 6


@cache
def clean() -> list[Episode]:
    return made_set()


@cache
def measures() -> list[dict[str, Any]]:
    return [measure(e) for e in clean()]


def judged(
    episodes: Sequence[Episode], target: Episode, known: Sequence[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return assess(target, learn(known or [measure(e) for e in episodes]))


def with_fault(fault: str, at: int, rng: np.random.Generator, episode: Episode | None = None) -> tuple[Episode, dict]:
    """A faulty episode and its verdicts, the set having been learned with it."""
    inject, _ = faults.FAULTS[fault]
    injected = inject(episode or clean()[at], rng, faults.robust_scales(clean()))
    if injected is None:
        pytest.skip(f"{fault} has no place here")
    seen = list(measures())
    seen[at] = measure(injected.episode)
    target = injected.episode
    if injected.extra is not None:
        seen.append(measure(injected.extra))
        target = injected.extra
    return target, assess(target, learn(seen))


def test_untouched_episodes_have_no_objective_finding():
    reference = learn(measures())
    for episode in clean():
        verdicts = assess(episode, reference)
        assert objective(verdicts) == []
        assert grade(verdicts, episode.length) == 1.0


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_every_fault_is_found_where_it_is(fault: str):
    rng = np.random.default_rng([3, *fault.encode()])
    accepted = faults.FAULTS[fault][1]
    scales = faults.robust_scales(clean())
    for _ in range(PLACES):
        at = int(rng.integers(len(clean())))
        injected = faults.FAULTS[fault][0](clean()[at], rng, scales)
        assert injected is not None
        seen = list(measures())
        seen[at] = measure(injected.episode)
        target = injected.episode
        if injected.extra is not None:
            seen.append(measure(injected.extra))
            target = injected.extra
        found = [f for check in accepted for f in assess(target, learn(seen))[check].findings]
        assert found, (fault, at, injected.start, injected.stop, injected.feature)
        near = [f for f in found if f.start <= injected.stop and f.stop >= injected.start]
        assert near, f"{fault} is at {injected.start}:{injected.stop}, found at {[(f.start, f.stop) for f in found]}"
        assert all(f.reason and f.value >= f.threshold and 0 <= f.start < f.stop <= target.length for f in found)


def test_a_fault_in_one_episode_is_not_seen_in_another():
    rng = np.random.default_rng(11)
    for fault in ("jump", "noise", "extra_lag", "reversed_episode", "frozen_camera", "swapped_cameras", "nan"):
        injected = faults.FAULTS[fault][0](clean()[2], rng, faults.robust_scales(clean()))
        assert injected is not None
        seen = [*measures()[:2], measure(injected.episode), *measures()[3:]]
        reference = learn(seen)
        for other in (0, 3, 5):
            assert objective(assess(clean()[other], reference)) == [], fault


# Doing these twice, or in turn, puts an episode right again.
UNDOING = {"reversed_episode", "swapped_cameras", "extra_lag"}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(faults.FAULTS)), st.sampled_from(sorted(faults.FAULTS)), st.integers(0, 2**32))
def test_no_fault_improves_a_grade(first: str, second: str, seed: int):
    if {first, second} <= UNDOING:
        return
    rng = np.random.default_rng(seed)
    at = int(rng.integers(len(clean())))
    once = faults.FAULTS[first][0](clean()[at], rng, faults.robust_scales(clean()))
    if once is None:
        return
    one = once.extra or once.episode
    twice = faults.FAULTS[second][0](one, rng, faults.robust_scales(clean()))
    if twice is None:
        return
    two = twice.extra or twice.episode
    grades = []
    for target in (clean()[at], one, two):
        seen = [measure(e) for e in (target,)]
        others = [m for number, m in enumerate(measures()) if number != at]
        seen = others + ([measures()[at]] if target.id != clean()[at].id else []) + seen
        grades.append(grade(assess(target, learn(seen)), target.length))
    assert grades[0] == 1.0
    assert grades[1] < 1.0 or first in ("gap", "empty_task")
    assert grades[2] <= grades[1], (first, second)


def test_risks_do_not_move_the_grade():
    episode = clean()[0]
    rest = np.repeat(episode.frames["action"][:1], 40, axis=0)
    idle = replace(
        episode.select(["observation.state", "action"]),
        frames={
            "action": np.concatenate([rest, episode.frames["action"]]),
            "observation.state": np.concatenate(
                [np.repeat(episode.frames["observation.state"][:1], 40, axis=0), episode.frames["observation.state"]]
            ),
        },
    )
    plain = [e.select(["observation.state", "action"]) for e in clean()]
    verdicts = judged([idle, *plain[1:]], idle)
    assert [f.check for f in verdicts["idle"].findings] == ["idle"]
    assert (verdicts["idle"].findings[0].start, verdicts["idle"].findings[0].stop) == (0, pytest.approx(40, abs=1))
    assert grade(verdicts, idle.length) == 1.0


def test_what_cannot_be_known_is_said():
    bare = [e.select(["observation.state", "action"]).with_meta(tasks=()) for e in clean()]
    verdicts = judged(bare, bare[0])
    assert verdicts["gap"].unknown == "the source keeps no capture times"
    assert verdicts["frozen_camera"].unknown == "there is no camera"
    assert verdicts["empty_task"].unknown == "no episode of the set has a task text"
    alone = judged(clean()[:1], clean()[0])
    assert "no other episode" in str(alone["lag"].unknown)
    assert "fewer than three" in str(alone["swapped_cameras"].unknown)
    assert alone["noise"].unknown and alone["duplicate"].unknown
    two = judged(clean()[:2], clean()[0])
    assert "two episodes" in str(two["lag"].unknown)
    rows = label(alone, clean()[0].length).table.to_pylist()
    assert {r["check"] for r in rows if r["class"] == NOT_ASSESSED} >= {"lag", "swapped_cameras", "noise"}


def test_reversal_needs_no_other_episode():
    turned = faults.reversed_episode(clean()[0], np.random.default_rng(0), {})
    assert turned is not None
    without_end = turned.episode.select(["observation.state", "action"])
    assert judged([without_end], without_end)["reversed"].findings


def test_the_label_is_a_table_of_places():
    target, verdicts = with_fault("jump", 1, np.random.default_rng(5))
    found = label(verdicts, target.length)
    assert found.kind == "span" and found.table.schema == SCHEMA
    row = next(r for r in found.table.to_pylist() if r["check"] == "jump")
    assert row["class"] == "major" and row["feature"] in ("observation.state", "action")
    assert 0 <= row["start"] < row["stop"] <= target.length and row["value"] >= row["threshold"]


def test_the_reference_survives_json():
    reference = learn(json.loads(json.dumps(measures())))
    again = Reference.from_json(json.loads(json.dumps(reference.to_json())))
    for episode in clean()[:2]:
        assert assess(episode, again) == assess(episode, reference)


def test_grippers_that_switch_in_every_episode_do_not_jump():
    def snap(episode: Episode) -> Episode:
        """The command switches within one frame, as it does for a button."""
        return episode.map("action", lambda a: np.where(np.arange(5) == 4, np.round(a), a).astype(a.dtype))

    switching = [snap(e) for e in clean()]
    for episode in switching:
        assert not judged(switching, episode)["jump"].findings


def test_angles_that_wrap_and_quaternions_that_flip_do_not_jump():
    turning = np.linspace(0, 7, 110)
    episodes = []
    for number, episode in enumerate(clean()):
        angle = (turning[: episode.length] if number == 0 else turning[: episode.length] * 0.2) if number else turning
        angle = np.resize(angle, episode.length)
        wrapped = np.angle(np.exp(1j * angle))
        half = np.stack([np.cos(angle / 2), np.sin(angle / 2), 0 * angle, 0 * angle], axis=1)
        flipped = half * np.where(np.arange(episode.length) > 60, -1, 1)[:, None] if number == 0 else half
        state = np.concatenate([wrapped[:, None], flipped], axis=1).astype(np.float32)
        episodes.append(episode.map("observation.state", lambda _, s=state: s))
    assert not judged(episodes, episodes[0])["jump"].findings


def test_a_camera_that_repeats_while_the_robot_rests_is_no_fault():
    episode = clean()[0]
    frames = {k: v.copy() for k, v in episode.frames.items()}
    for key in ("observation.state", "action"):
        frames[key][30:60] = frames[key][30]
    order = np.arange(episode.length)
    order[30:60] = 30
    clips = {k: faults.Rearranged(c, tuple(order.tolist())) for k, c in episode.clips.items()}
    resting = replace(episode, frames=frames, clips=clips)
    # What follows continues from where it rested, so nothing was missed.
    for key in ("observation.state", "action"):
        frames[key][60:] += frames[key][30] - episode.frames[key][60]
    assert not judged([resting, *clean()[1:]], resting)["frozen_camera"].findings


def test_masked_pictures_are_not_black():
    def mask(episode: Episode) -> Episode:
        clips = {}
        for key, clip in episode.clips.items():
            pictures = np.stack(list(clip.frames()))
            pictures[:, 18:] = 0
            clips[key] = ArrayClip(pictures, clip.fps)
        return replace(episode, clips=clips)

    masked = [mask(e) for e in clean()]
    assert not judged(masked, masked[0])["blank_picture"].findings


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
    pairs = [tracking.pairing(View(e)) for e in clean()]
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


@pytest.mark.parametrize("shift", [-9, -5, 5, 9])
def test_extra_lag_is_measured_in_frames(shift: int):
    episode = clean()[3]
    action = episode.frames["action"]
    moved = np.roll(action, shift, axis=0)
    if shift > 0:
        moved[:shift] = action[0]
    else:
        moved[shift:] = action[-1]
    late = episode.map("action", lambda _: moved)
    found = judged([*clean()[:3], late, *clean()[4:]], late)
    value = max(found["lag"].worst or 0, 0)
    assert value == pytest.approx(abs(shift), abs=1) or found["reversed"].findings


def test_each_clip_is_decoded_once():
    class Counted(ArrayClip):
        passes = 0

        def frames(self, start: int = 0, stop: int | None = None):
            type(self).passes += 1
            return super().frames(start, stop)

    episode = made_episode(50)
    clips = {k: Counted(np.stack(list(c.frames())), c.fps) for k, c in episode.clips.items()}
    watched = replace(episode, clips=clips)
    assess(watched, learn([measure(watched), *measures()]))
    assert Counted.passes == len(clips)


def test_small_and_depth_pictures_can_be_traced():
    tiny = ArrayClip(np.zeros((4, 3, 5, 3), np.uint8), 10)
    assert trace(tiny).thumbnail.shape == (8, 8, 3)
    depth = ArrayClip(np.full((4, 90, 70, 1), 2.0, np.float32), 10)
    assert trace(depth).mean == pytest.approx([127.5] * 4)


def test_odd_episodes_give_verdicts_and_no_traceback():
    short = clean()[0].slice(0, 2)
    one = clean()[1].slice(3, 4)
    nothing = clean()[2].select(["next.done"])
    broken = clean()[3].map("observation.state", lambda s: np.full_like(s, np.nan))
    timeless = clean()[4].map(CAPTURE_TIME, lambda t: np.full_like(t, np.nan))
    odd = [short, one, nothing, broken, timeless, clean()[5]]
    for episode in odd:
        verdicts = judged(odd, episode)
        assert set(verdicts) == {check.name for check in CHECKS}
    assert judged(odd, broken)["nan"].findings


@given(st.integers(1, 4), st.integers(1, 5))
def test_arrays_pack_to_json(a: int, b: int):
    array = np.random.default_rng(a * b).normal(size=(a, b))
    assert np.array_equal(unpack(json.loads(json.dumps(pack(array)))), array)
