"""LeRobot's checkpoints act here as LeRobot has them act, and are rolled out like ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lerobot.policies.act")

import torch
from lerobot.policies.factory import make_pre_post_processors
from lerobot_commands import untrained_act

from collectors.rollout import RolloutCollector
from dataengine import plugins
from dataengine.errors import ConfigError, SourceError
from dataengine.sim.world import Tabletop
from pipelines.policy.stock_policy import StockPolicy, load_stock

SIZE = 32


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stock") / "act"
    untrained_act(folder, SIZE, seed=1)
    return folder


@pytest.fixture(scope="module")
def seen() -> dict[str, np.ndarray]:
    return Tabletop(image_size=SIZE).reset(seed=1)[0]


def test_it_gives_lerobots_own_actions_one_by_one(checkpoint: Path, seen: dict[str, np.ndarray]) -> None:
    from lerobot.policies.act.modeling_act import ACTPolicy

    theirs = ACTPolicy.from_pretrained(checkpoint)
    theirs.eval()
    before, after = make_pre_post_processors(theirs.config, pretrained_path=str(checkpoint))
    batch = {"observation.state": torch.from_numpy(seen["observation.state"])[None], "task": ["pick"]}
    for view in ("front", "wrist"):
        picture = torch.from_numpy(seen[f"observation.images.{view}"])
        batch[f"observation.images.{view}"] = picture.permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        chunk = after(theirs.predict_action_chunk(before(batch)))[0].numpy()
    ours = load_stock(checkpoint)
    got = np.concatenate([ours.act(seen, "pick") for _ in range(len(chunk))])
    np.testing.assert_allclose(got, chunk, atol=1e-5)
    explained = ours.act_explained(seen, "pick")
    assert explained.features is not None and explained.features.shape == (32,) and explained.log_prob is None
    ours.reset()
    np.testing.assert_array_equal(ours.act(seen, "pick"), got[:1])  # a new episode begins with an empty queue


def test_its_randomness_is_its_own(
    checkpoint: Path, seen: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = StockPolicy(checkpoint)
    monkeypatch.setattr(type(policy._policy), "select_action", lambda self, batch: torch.randn(1, 5))
    monkeypatch.setattr(
        policy,
        "_processors",
        tuple(type("P", (), {"__call__": lambda s, x: x, "reset": lambda s: None})() for _ in range(2)),
    )
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = {}
    for seed in (1, 1, 2):
        policy.begin(seed)
        again = np.concatenate([policy.act(seen, "x") for _ in range(2)])
        np.testing.assert_array_equal(drawn.setdefault(seed, again), again)
        assert np.abs(again[0] - again[1]).max() > 0
        torch.randn(3)
    assert np.abs(drawn[1] - drawn[2]).max() > 0
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ConfigError, match="cannot explore"):
        policy.begin(0, 0.1)


def test_it_is_rolled_out_like_any_other(checkpoint: Path) -> None:
    asked = {"policy": f"lerobot:{checkpoint}", "episodes": 2, "image_size": SIZE}
    episodes = list(plugins.make("collectors", "rollout", asked).collect())
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.features["policy.features"].shape == (32,) and "policy.log_prob" not in episode.features
        assert episode.meta.lineage[-1].params["policy"] == "lerobot" and episode.meta.operator == "policy lerobot"
        assert str(checkpoint) not in str(episode.meta)
    assert RolloutCollector(f"lerobot:{checkpoint}", image_size=SIZE).ids(0)[0] == episodes[0].id


def test_what_is_missing_is_said(checkpoint: Path, seen: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"config\.json"):
        load_stock(tmp_path)
    with pytest.raises(ConfigError, match=r"observation\.images\.wrist"):
        load_stock(checkpoint).act({k: v for k, v in seen.items() if "wrist" not in k}, "pick")
