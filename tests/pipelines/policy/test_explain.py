"""What a policy says of its decisions, worked out again from scratch with torch's distributions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Normal

from dataengine.errors import ConfigError
from dataengine.plugins import Explained, Explaining
from pipelines.policy.config import PolicyConfig
from pipelines.policy.infer import ReferencePolicy, load_policy
from pipelines.policy.train import train

FRONT = "observation.images.front"
SIGMA = 0.3


@pytest.fixture(scope="module")
def policies(toy_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReferencePolicy]:
    """Every kind of head, hardly trained."""
    made = {}
    for head in ("l1", "flow", "fast", "bins"):
        small: dict[str, Any] = {"width": 16, "channels": (8, 8), "image_size": 32, "attention_heads": 2}
        config = PolicyConfig(
            head=head,  # type: ignore[arg-type]
            steps=4,
            batch=4,
            warmup=0,
            encoder_layers=1,
            decoder_layers=1,
            flow_steps=3,
            dtype="float32",
            **small,
        )
        folder = tmp_path_factory.mktemp("explained") / head
        train(toy_store, folder, config)
        made[head] = load_policy(folder)
    return made


@pytest.fixture(scope="module")
def looked(toy: Any) -> tuple[dict[str, np.ndarray], str]:
    first = toy.listed[0]
    seen = {"observation.state": first.frames["observation.state"][2], FRONT: first.clips[FRONT].frame(2)}
    return seen, first.meta.tasks[0]


def said(policy: ReferencePolicy, looked: tuple[dict[str, np.ndarray], str], noise: float, seed: int = 5) -> Explained:
    policy.begin(seed, noise)
    return policy.act_explained(*looked)


@torch.inference_mode()
def memory(policy: ReferencePolicy, looked: tuple[dict[str, np.ndarray], str]) -> tuple[torch.Tensor, torch.Tensor]:
    return policy._model.encoder(*policy._look(*looked)[:3])


@pytest.mark.parametrize("head", ["l1", "flow", "fast", "bins"])
def test_without_noise_it_does_what_it_does(policies: dict, looked: Any, head: str) -> None:
    policy = policies[head]
    assert isinstance(policy, Explaining)
    policy.reset()
    plain = [policy.act(*looked) for _ in range(2)]
    policy.reset()
    explained = [policy.act_explained(*looked) for _ in range(2)]
    for one, other in zip(plain, explained, strict=True):
        np.testing.assert_allclose(one, other.actions, atol=1e-6)
    np.testing.assert_allclose(explained[0].features, memory(policy, looked)[0][0].mean(0).numpy(), atol=1e-6)
    assert (explained[0].log_prob is None) == (head in ("l1", "flow"))
    assert (explained[0].noise is None) == (head != "flow")


@pytest.mark.parametrize("head", ["l1", "flow", "fast", "bins"])
def test_the_seed_decides_and_nothing_else(policies: dict, looked: Any, head: str) -> None:
    one, same, other = (said(policies[head], looked, SIGMA, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.actions, same.actions)
    assert one.log_prob == same.log_prob
    if head in ("l1", "flow"):
        assert np.abs(one.actions - other.actions).max() > 1e-3
    torch.manual_seed(123)
    np.testing.assert_array_equal(said(policies[head], looked, SIGMA).actions, one.actions)


def test_the_log_prob_of_an_l1_head_is_that_of_its_gaussian_noise(policies: dict, looked: Any) -> None:
    policy = policies["l1"]
    got = said(policy, looked, SIGMA)
    with torch.inference_mode():
        mean = policy._model.head.act(*memory(policy, looked), torch.Generator())[0]
    state = looked[0]["observation.state"][None]
    targets = torch.from_numpy(policy.spec.targets(got.actions[None], state))[0]
    want = Normal(mean[: len(targets)].double(), SIGMA).log_prob(targets.double()).sum(-1)
    np.testing.assert_allclose(got.parts, want, atol=2e-3)  # actions are stored in float32
    assert got.log_prob == pytest.approx(float(want.sum()), abs=5e-3) and len(got.parts) == len(got.actions)
    assert got.noise.shape == (policy.spec.config.chunk, targets.shape[1])


def test_the_log_prob_of_a_flow_head_is_that_of_its_whole_chain(policies: dict, looked: Any) -> None:
    policy = policies["flow"]
    got, head = said(policy, looked, SIGMA), policy._model.head
    chain = [torch.from_numpy(x)[None] for x in (got.noise, *got.path)]
    want = [Normal(0.0, 1.0).log_prob(chain[0].double()).sum()]
    with torch.inference_mode():
        seen = memory(policy, looked)
        for step, (x, then) in enumerate(itertools.pairwise(chain)):
            tau = step / head.steps
            velocity = (head._chunk(x, torch.tensor([tau]), *seen) - x) / (1 - tau)
            want.append(Normal((x + velocity / head.steps).double(), SIGMA).log_prob(then.double()).sum())
    np.testing.assert_allclose(got.parts, torch.stack(want), rtol=1e-4, atol=1e-3)
    assert got.log_prob == pytest.approx(float(sum(want)), abs=1e-2) and len(got.path) == head.steps
    actions = policy.spec.actions(got.path[-1][None], looked[0]["observation.state"][None])[0]
    np.testing.assert_allclose(got.actions, actions[: len(got.actions)], atol=1e-6)


@pytest.mark.parametrize("head", ["fast", "bins"])
@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_the_log_prob_of_tokens_is_the_softmaxs(policies: dict, looked: Any, head: str, temperature: float) -> None:
    policy = policies[head]
    got, network = said(policy, looked, temperature), policy._model.head
    ended = len(got.tokens) < network.longest
    ids = [network.begin, *got.tokens]
    with torch.inference_mode():
        logits = network._logits(torch.tensor([ids]), *memory(policy, looked))[0].double()
    want = []
    for place, token in enumerate([*got.tokens, *([network.end] if ended else [])]):
        row = logits[place] / (temperature or 1.0)
        row = row[: network.end] if place < network.shortest else row
        want.append(float(Categorical(logits=row).log_prob(torch.tensor(token))))
    np.testing.assert_allclose(got.parts, want, rtol=1e-4, atol=1e-4)
    assert got.log_prob == pytest.approx(sum(want), rel=1e-4)


def test_tokens_are_drawn_as_often_as_they_are_likely(policies: dict, looked: Any) -> None:
    firsts = [said(policies["bins"], looked, 1.0, seed) for seed in range(40)]
    assert len({each.tokens[0] for each in firsts}) > 1
    assert min(each.log_prob for each in firsts) < 0


def test_impossible_noise_is_refused(policies: dict) -> None:
    for noise in (-1.0, 11.0, float("nan")):
        with pytest.raises(ConfigError, match="noise"):
            policies["l1"].begin(0, noise)
