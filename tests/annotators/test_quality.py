"""Quality checks: every fault is found where it was put, clean data is left alone, no fault improves a grade."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from fault_places import robust_scales
from motion_made import made_set
from rearranged import Rearranged

import faults
from annotators.quality import CHECKS, Reference, assess, learn, measure
from annotators.quality.grade import NOT_ASSESSED, SCHEMA, grade, label, objective
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
    injected = inject(episode or clean()[at], rng, robust_scales(clean()))
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
    scales = robust_scales(clean())
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
        injected = faults.FAULTS[fault][0](clean()[2], rng, robust_scales(clean()))
        assert injected is not None
        seen = [*measures()[:2], measure(injected.episode), *measures()[3:]]
        reference = learn(seen)
        for other in (0, 3, 5):
            assert objective(assess(clean()[other], reference)) == [], fault


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
    episodes = []
    for number, episode in enumerate(clean()):
        angle = np.linspace(0, 0.7 if number else 7, episode.length)
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
    clips = {k: Rearranged(c, tuple(order.tolist())) for k, c in episode.clips.items()}
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
    for finding in found["lag"].findings:
        assert finding.reason.startswith("actions" if shift > 0 else "states")


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
