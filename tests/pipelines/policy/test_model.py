from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dataengine.errors import ConfigError
from pipelines.policy.actions import ActionSpace
from pipelines.policy.checkpoint import build
from pipelines.policy.config import PolicyConfig
from pipelines.policy.heads import masked_mean
from pipelines.policy.model import Attention, FiLM
from pipelines.policy.spec import Scale, Spec
from pipelines.policy.text import Vocabulary

TINY = {"image_size": 32, "width": 32, "channels": (8, 8, 16, 16), "attention_heads": 2, "flow_draws": 2}
TEXTS = ("go to the red square", "go to the blue square")


def a_spec(cameras: int = 1, state: int = 3, actions: int = 3, **changes) -> Spec:
    config = PolicyConfig(**{**TINY, **changes})
    names = tuple(f"a{i}" for i in range(actions))
    unit = Scale(np.zeros(actions), np.ones(actions))
    return Spec(
        config=config,
        fps=10,
        inputs=(("observation.state", state),) if state else (),
        cameras=tuple(f"observation.images.c{i}" for i in range(cameras)),
        space=ActionSpace(names, (None,) * actions, (-1,) * actions),
        vocabulary=Vocabulary.of(TEXTS),
        state=Scale(np.zeros(state), np.ones(state)),
        target=unit,
    )


def a_batch(spec: Spec, n: int = 6) -> tuple[torch.Tensor, ...]:
    rng = np.random.default_rng(0)
    side = spec.config.image_size
    arrays = (
        rng.integers(0, 256, (n, len(spec.cameras), side, side, 3), np.uint8),
        rng.normal(size=(n, spec.state_size)).astype(np.float32),
        spec.vocabulary.encode([TEXTS[i % 2] for i in range(n)]),
        rng.uniform(-1, 1, (n, spec.config.chunk, spec.space.target_size)).astype(np.float32),
        np.ones((n, spec.config.chunk), bool),
        rng.uniform(-1, 1, (n, spec.space.target_size)).astype(np.float32),
    )
    return tuple(torch.from_numpy(a) for a in arrays)


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def model_of(spec: Spec):
    torch.manual_seed(0)
    if spec.config.head not in ("fast", "bins"):
        return build(spec)
    from dataengine.plugins import load

    tokenizer = load("tokenizers", spec.config.head).fit(a_batch(spec, 64)[3].numpy())
    counts = [len(t) for t in tokenizer.encode(a_batch(spec, 64)[3].numpy())]
    return build(spec, tokenizer, (min(counts), max(counts)))


@pytest.mark.parametrize("head", ["l1", "flow", "fast", "bins"])
@pytest.mark.parametrize(("cameras", "state"), [(0, 3), (1, 0), (2, 5)])
def test_shapes(head, cameras, state):
    spec = a_spec(cameras, state, head=head)
    model, batch = model_of(spec), a_batch(spec)
    assert model.loss(*batch, draw()).shape == ()
    chunk = model.act(*batch[:3], draw())
    assert chunk.shape == (6, 8, 3) and chunk.isfinite().all()


@pytest.mark.parametrize("strides", [(), (2, 2, 2, 3)])
def test_every_pixel_reaches_the_chunk_whatever_the_strides(strides):
    spec = a_spec(1, 0, image_size=48, strides=strides)
    model, (pictures, state, words, *_) = model_of(spec).eval(), a_batch(spec, 1)
    assert model.encoder(pictures, state, words)[0].shape[1] == 1 + (48 // spec.config.stride) ** 2 + 1
    seen = pictures.clone().float().requires_grad_()
    model.encoder(seen, state, words)[0].square().sum().backward()
    assert (seen.grad.abs().sum(-1) > 0).all()


def test_the_bundled_model_has_the_promised_size():
    for head in ("l1", "flow"):
        size = build(a_spec(2, 10, 5, head=head, **{k: getattr(PolicyConfig(), k) for k in TINY})).size
        assert 1.6e6 < size < 1.85e6


@pytest.mark.parametrize(("head", "steps", "below"), [("l1", 60, 0.15), ("flow", 80, 0.25), ("bins", 60, 1.0)])
def test_overfits_one_batch_and_then_reads_the_instruction(head, steps, below):
    spec = a_spec(head=head)
    model, batch = model_of(spec), list(a_batch(spec, 2))
    batch[0], batch[1] = batch[0][:1].expand_as(batch[0]), batch[1][:1].expand_as(batch[1])  # only the words differ
    batch[5] = torch.zeros_like(batch[5])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        loss = model.loss(*batch, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < below
    said = model.act(*batch[:3], draw())
    assert (said[0] - said[1]).abs().mean() > 0.3
    assert (said - batch[3]).abs().mean() < 0.25


def test_film_starts_as_the_identity_and_then_scales_and_shifts():
    film, picture, text = FiLM(8, 4), torch.randn(2, 4, 3, 3), torch.randn(2, 8)
    assert torch.equal(film(picture, text), picture)
    torch.nn.init.normal_(film.project.weight)
    scale, shift = film.project(text).chunk(2, dim=-1)
    want = torch.stack([picture[i] * (1 + scale[i, :, None, None]) + shift[i, :, None, None] for i in range(2)])
    torch.testing.assert_close(film(picture, text), want)
    tokens = picture.flatten(2).transpose(1, 2)
    torch.testing.assert_close(film(tokens, text), want.flatten(2).transpose(1, 2))


def test_attention_equals_torchs():
    attention = Attention(16, 4)
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    heads = lambda t: t.unflatten(-1, (4, -1)).transpose(1, 2)  # noqa: E731
    k, v = attention.key_value(memory).chunk(2, dim=-1)
    for causal in (False, True):
        want = F.scaled_dot_product_attention(heads(attention.query(x)), heads(k), heads(v), is_causal=causal)
        want = attention.out(want.transpose(1, 2).flatten(2))
        torch.testing.assert_close(attention(x, memory, causal), want)


def test_steps_past_the_end_do_not_count():
    error = torch.tensor([[[1.0], [100.0]], [[3.0], [5.0]]])
    valid = torch.tensor([[True, False], [True, True]])
    assert masked_mean(error, valid).item() == pytest.approx(3.0)


@pytest.mark.parametrize("text", ["put {} on {}", "stack the {} cube on the {} cube"])
def test_word_order_is_read(text: str):
    both = [text.format("red", "blue"), text.format("blue", "red")]
    a, b = Vocabulary.of(both).encode(both)
    assert sorted(a.tolist()) != sorted(b.tolist())


def test_unknown_words_say_nothing():
    words = Vocabulary.of(["put red on blue"])
    assert words.encode(["zebra"]).tolist() == [[0]] and words.unknown("Put the zebra") == ["the", "zebra"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"execute": 9}, "execute=9 runs more actions than chunk=8"),
        ({"image_size": 40}, "multiple of 16"),
        ({"image_size": 64, "strides": (2, 2, 2, 3)}, "multiple of 24"),
        ({"strides": (2, 2)}, "must be as many"),
        ({"strides": (2, 2, 2, 4)}, "skips pixels"),
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"width": 30}, "attention_heads"),
    ],
)
def test_configurations_that_cannot_be(changes, says):
    with pytest.raises(ConfigError, match=says):
        PolicyConfig(**changes)


def test_configuration_survives_json():
    config = PolicyConfig(head="flow", relative=("ee.x",), steps=7)
    assert PolicyConfig.from_json(config.to_json()) == config
    with pytest.raises(ConfigError, match="the policy has no parameter 'wrong'"):
        PolicyConfig.from_json({"wrong": 1})


@pytest.mark.parametrize("head", ["l1", "flow", "bins"])
def test_where_the_motion_arrives_is_learnt_beside_the_chunk(head):
    spec = a_spec(head=head)
    model, batch = model_of(spec), list(a_batch(spec))
    near = model.loss(*batch, draw())
    batch[5] = batch[5] + 3.0
    assert model.loss(*batch, draw()) > near + 1.5  # the mean of |.| over all elements, with weight one
    near.backward()
    assert model.encoder.query.grad.abs().sum() > 0 and model.waypoint.weight.grad.abs().sum() > 0


def test_without_a_waypoint_the_model_is_the_older_one_and_older_policies_are_read():
    spec = a_spec(waypoint=0.0)
    model, batch = model_of(spec), list(a_batch(spec))
    assert not [name for name in model.state_dict() if "waypoint" in name or name == "encoder.query"]
    before = model.loss(*batch, draw())
    batch[5] = batch[5] + 3.0
    assert model.loss(*batch, draw()) == before
    older = spec.to_json()
    del older["config"]["waypoint"]
    assert Spec.from_json(older).config.waypoint == 0.0
