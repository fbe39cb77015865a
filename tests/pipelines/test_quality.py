"""The quality stage: learning, judging, dropping and trimming; and what it says of other people's data."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from fault_places import robust_scales
from motion_made import made_set

import faults
from conftest import shared_data
from converters.base import detect
from dataengine import plugins
from dataengine.episode import Episode
from dataengine.errors import ConfigError
from dataengine.plugins import Drop, Stage
from pipelines.quality import Quality

PLACES = 3
# Small sets of every kind of robot here; `bench.quality_matrix` takes all of them, with 20 places a cell.
REAL = (
    "lerobot_v21",
    "groot_lerobot/robot_sim.PickNPlace",
    "robomimic_hdf5/low_dim.hdf5",
    "robomimic_hdf5/image_depth_n1.hdf5",
    "aloha_act_hdf5/mobile_aloha",
    "umi_zarr/dataset.zarr.zip",
    "umi_zarr/pusht_replay.zarr",
)


@cache
def clean() -> list[Episode]:
    return made_set(5, cameras=False)


def learned(episodes: list[Episode], **params: object) -> Quality:
    """The stage as a flow makes it: summaries and artifact go through JSON."""
    stage = plugins.make("stages", "quality", params)
    summaries = [json.loads(json.dumps(stage.observe(e))) for e in episodes]
    return replace(stage, artifact=json.loads(json.dumps(stage.fit(iter(summaries)))))


def broken(fault: str, at: int = 1, seed: int = 0) -> list[Episode]:
    injected = faults.FAULTS[fault][0](clean()[at], np.random.default_rng(seed), robust_scales(clean()))
    assert injected is not None
    return [injected.episode if i == at else e for i, e in enumerate(clean())]


def test_it_is_a_stage_found_by_name():
    assert isinstance(plugins.make("stages", "quality"), Stage)


def test_a_learned_stage_judges_one_episode_at_a_time():
    stage = learned(clean())
    together = list(stage.run(iter(clean())))
    apart = [result for episode in clean() for result in stage.run(iter([episode]))]
    assert [e.labels["quality"].table for e in together] == [e.labels["quality"].table for e in apart]
    assert [e.meta.quality for e in apart] == [1.0] * len(clean())


def test_without_an_artifact_it_learns_from_what_it_is_given():
    given = broken("jump")
    assert [e.meta.quality for e in Quality().run(iter(given))] == [
        e.meta.quality for e in learned(given).run(iter(given))
    ]


def test_findings_are_labelled_and_nothing_is_dropped_unasked():
    results = list(learned(given := broken("noise")).run(iter(given)))
    assert all(isinstance(r, Episode) for r in results)
    bad = results[1]
    assert isinstance(bad, Episode) and bad.meta.quality is not None and bad.meta.quality <= 0.5
    label = bad.labels["quality"]
    assert label.kind == "span" and "noise" in label.table.column("check").to_pylist()
    assert label.source["name"] == "quality" and label.source["episodes"] == 5
    assert all(bad.frames[k] is given[1].frames[k] for k in bad.frames)


def test_faulty_episodes_can_be_dropped_by_grade_check_or_any():
    given = broken("reversed_episode")
    for params in ({"drop_below": 0.5}, {"drop_on": ["reversed"]}, {"drop_on": ["objective"]}):
        results = list(learned(given, **params).run(iter(given)))
        dropped = [r for r in results if isinstance(r, Drop)]
        assert [d.episode_id for d in dropped] == [given[1].id], params
        assert "reversed" in dropped[0].reason and json.dumps(dropped[0].evidence)
    kept = list(learned(given, drop_on=["jump"]).run(iter(given)))
    assert all(isinstance(r, Episode) for r in kept)


def test_only_the_second_of_two_equal_episodes_is_dropped():
    injected = faults.duplicated_episode(clean()[2], np.random.default_rng(0), {})
    assert injected is not None and injected.extra is not None
    given = [*clean(), injected.extra]
    results = list(learned(given, drop_on=["duplicate"]).run(iter(given)))
    assert [isinstance(r, Drop) for r in results] == [False] * 5 + [True]
    assert clean()[2].id in results[-1].reason  # type: ignore[union-attr]


def test_idle_ends_are_cut_into_a_derived_episode():
    episode = clean()[0]
    rest = {k: np.repeat(v[:1], 45, axis=0) for k, v in episode.frames.items()}
    tail = {k: np.repeat(v[-1:], 30, axis=0) for k, v in episode.frames.items()}
    long = replace(episode, frames={k: np.concatenate([rest[k], v, tail[k]]) for k, v in episode.frames.items()})
    long = long.select(["observation.state", "action"])
    others = [e.select(["observation.state", "action"]) for e in clean()[1:]]
    stage = learned([long, *others], trim=True, trim_keep=0.1)
    (cut,) = stage.run(iter([long]))
    assert isinstance(cut, Episode)
    assert cut.meta.parent == long.id and cut.id != long.id
    assert cut.length == pytest.approx(episode.length + 6, abs=2)
    assert cut.frames["action"][3] == pytest.approx(episode.frames["action"][0], abs=0.01)
    (same,) = stage.run(iter([others[0]]))
    assert isinstance(same, Episode) and same.id == others[0].id


def test_thresholds_can_be_set_and_are_checked():
    given = broken("jump")
    assert list(learned(given, thresholds={"jump": 1e9}).run(iter(given)))[1].meta.quality == 1.0  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="no check 'jumps'"):
        Quality(thresholds={"jumps": 1.0})
    with pytest.raises(ConfigError, match="no check 'lagg'"):
        Quality(drop_on=("lagg",))
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Quality(drop_below=5)


@cache
def real(name: str) -> list[Episode]:
    path = shared_data(name)
    converter = detect(path)
    plan = converter.plan(path)
    return [converter.read(plan, ref) for ref in plan.episodes if ref.problem is None]


@pytest.mark.parametrize("name", REAL)
def test_other_peoples_data_is_left_alone(name: str):
    for episode in learned(real(name), drop_on=["objective"]).run(iter(real(name))):
        assert isinstance(episode, Episode), episode
        assert episode.meta.quality == 1.0


@pytest.mark.parametrize("name", ["lerobot_v21", "robomimic_hdf5/low_dim.hdf5", "umi_zarr/pusht_replay.zarr"])
def test_faults_in_other_peoples_data_are_found(name: str):
    """A short version of the matrix: table faults, three places each, at least nine of ten found."""
    episodes = [e.select([k for k in e.features if k not in e.clips]) for e in real(name)]
    scales = robust_scales(episodes)
    found, missed = 0, []
    for fault in ("frozen_state", "jump", "noise", "nan", "extra_lag", "reversed_episode", "duplicated_episode"):
        inject, accepted = faults.FAULTS[fault]
        rng = np.random.default_rng([*fault.encode()])
        for _ in range(PLACES):
            at = int(rng.integers(len(episodes)))
            injected = inject(episodes[at], rng, scales)
            if injected is None:
                continue
            given = [injected.episode if i == at else e for i, e in enumerate(episodes)]
            given += [injected.extra] if injected.extra is not None else []
            (judged,) = learned(given).run(iter([injected.extra or injected.episode]))
            assert isinstance(judged, Episode)
            table = judged.labels["quality"].table.to_pylist()
            hit = any(r["check"] in accepted and r["class"] in ("major", "critical") for r in table)
            found += hit
            missed += [] if hit else [(fault, at, injected.start, injected.feature)]
    assert found >= 9 * len(missed), missed
