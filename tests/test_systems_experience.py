"""docs/systems.md, the rows on experience: rollouts, failures and groups, read back from a published dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policies_made import Wavering, demonstrations, install, tiny_policy
from test_systems import published

from collectors.rollout import RolloutCollector
from dataengine.episode import Episode
from dataengine.sim.world import Tabletop
from dataengine.store import Store
from dataengine.store.gather import append_all
from pipelines.failure import FitFailureDetector
from pipelines.policy.infer import load_policy


def test_10_the_log_probs_of_published_rollouts_are_those_of_the_policys_own_chain(tmp_path: Path) -> None:
    """The policy sees numbers alone here, so that it can be asked again from what was published."""
    import torch
    from lerobot.datasets import LeRobotDataset
    from lerobot.utils.feature_utils import dataset_to_policy_features
    from torch.distributions import Normal

    demo = demonstrations(tmp_path / "demo")
    checkpoint = tiny_policy(demo, tmp_path / "flow", "flow", cameras=())
    shown = {"image_size": 32, "cameras": ("front",)}
    rolled = RolloutCollector(str(checkpoint), episodes=2, noise=0.2, gamma=0.9, reward="gain", **shown)
    append_all(rolled.collect(), tmp_path / "store")
    got, policy = published(tmp_path / "store", tmp_path), load_policy(checkpoint)
    head = policy._model.head
    for episode in got.episodes():
        frames, values = episode.frames, episode.meta.extra["rollout"]
        for frame in np.flatnonzero(frames["policy.decided"])[:5]:
            chain = [torch.from_numpy(x)[None] for x in (frames["policy.noise"][frame], *frames["policy.path"][frame])]
            want = Normal(0.0, 1.0).log_prob(chain[0].double()).sum()
            seen = {"observation.state": frames["observation.state"][frame]}
            with torch.inference_mode():
                memory, text = policy._model.encoder(*policy._look(seen, episode.meta.tasks[0])[:3])
                for step in range(head.steps):
                    guess = head._chunk(chain[step], torch.tensor([step / head.steps]), memory, text)
                    mean = chain[step] + (guess - chain[step]) / (head.steps - step)
                    want += Normal(mean.double(), 0.2).log_prob(chain[step + 1].double()).sum()
            assert frames["policy.log_prob"][frame] == pytest.approx(float(want), rel=1e-4, abs=2e-2)
        reward = frames["next.reward"].astype(float)
        assert np.abs(reward).sum() > 0 and values["return"] == pytest.approx(reward.sum())
        assert episode.meta.success is values["success"] is bool(frames["next.success"][-1])
        assert values["discounted_return"] == pytest.approx((reward * 0.9 ** np.arange(len(reward))).sum())
        decisions = got.labels("rollout_decisions")[episode.id].table
        starts = np.append(decisions.column("frame").to_numpy(), len(reward))
        chunks = [sum(0.9**k * r for k, r in enumerate(reward[a:b])) for a, b in pairwise(starts)]
        np.testing.assert_allclose(decisions.column("chunk_return").to_numpy(), chunks)
    stock = LeRobotDataset("local/reach", root=got.root, video_backend="pyav")
    assert stock.num_episodes == 2 and stock[3]["policy.path"].shape == (3, 8, 5)
    kinds = dataset_to_policy_features(stock.meta.features)
    assert set(kinds) == {"observation.state", "observation.images.front", "action"}


@pytest.fixture
def wavering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """Published rollouts of an expert that gives up half of its attempts."""
    install(monkeypatch, wavering=Wavering)

    def roll(**choices: Any) -> Store:
        rolled = RolloutCollector("wavering", noise=1.0, cameras=(), **choices)
        append_all(rolled.collect(), tmp_path / "store")
        if choices.get("group", 1) == 1:
            FitFailureDetector(alpha=0.2).run(tmp_path / "store", tmp_path / "detector")
        return published(tmp_path / "store", tmp_path)

    return roll


def test_28_failures_have_their_onset_and_are_told_from_features_at_a_stated_rate(
    wavering: Callable[..., Store], tmp_path: Path
) -> None:
    got = wavering(episodes=60)
    fitted = json.loads((tmp_path / "detector" / "detector.json").read_text())
    band, scores, onsets = fitted["band"], got.labels("failure_score"), got.labels("failure_onset")
    alarms: dict[bool, list[bool]] = {True: [], False: []}
    for episode in got.episodes():
        frames, onset = episode.frames, onsets[episode.id].table.to_pylist()
        lost = np.flatnonzero(frames["policy.features"][:, 0] > 0.5)  # the policy's own view of having given up
        assert bool(len(lost)) == (episode.meta.success is False) == bool(onset)
        if onset:
            assert abs(onset[0]["frame"] - lost[0]) <= 3
            assert frames["sim.progress"][onset[0]["frame"] :].max() <= frames["sim.progress"].max() + 1e-6
        table = scores[episode.id].table
        score = fitted["score"]
        logits = (frames["policy.features"] - score["mean"]) / score["std"] @ score["weight"] + score["bias"]
        running = np.cumsum(1 / (1 + np.exp(-logits))) / np.arange(1, len(logits) + 1)
        np.testing.assert_allclose(table.column("score").to_numpy(), running, atol=1e-6)
        place = np.minimum(np.arange(len(running)), len(band["centre"]) - 1)
        limit = np.array(band["centre"])[place] + band["height"] * np.array(band["spread"])[place]
        np.testing.assert_allclose(table.column("threshold").to_numpy(), limit)
        alarms[episode.meta.success is False].append(bool((running > limit).any()))
    assert np.mean(alarms[True]) > 0.9 and np.mean(alarms[False]) < 0.4


def test_71_groups_begin_in_one_state_and_their_advantage_is_leave_one_out(wavering: Callable[..., Store]) -> None:
    got = wavering(episodes=12, group=4, tasks=("pick_red",))
    groups: dict[str, list[Episode]] = {}
    for episode in got.episodes():
        groups.setdefault(got.labels("rollout")[episode.id].table.column("group")[0].as_py(), []).append(episode)
    assert [len(group) for group in groups.values()] == [4, 4, 4]
    returns = []
    for group in groups.values():
        world = Tabletop(cameras=())
        world.reset(seed=group[0].meta.source["seed"], options={"task": "pick_red"})
        physics = world.snapshot().physics.tobytes()
        for number, episode in enumerate(group):
            assert episode.frames["observation.state"][0].tobytes() == group[0].frames["observation.state"][0].tobytes()
            world.reset(seed=episode.meta.source["seed"], options={"task": "pick_red"})
            assert world.snapshot().physics.tobytes() == physics
            others = [float(other.meta.success) for other in group if other is not episode]
            row = got.labels("rollout")[episode.id].table.to_pylist()[0]
            assert row["advantage"] == pytest.approx(float(episode.meta.success) - sum(others) / 3)
            assert row["member"] == number and row["return"] == float(episode.meta.success)
            returns.append(row["return"])
    assert set(returns) == {0.0, 1.0}
