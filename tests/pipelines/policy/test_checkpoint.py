"""A checkpoint from a stranger: what its description cannot mean is refused, with the file's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataengine.errors import ConfigError, SourceError
from pipelines.policy.actions import ActionSpace
from pipelines.policy.checkpoint import build, load_run, read_policy, save_policy, save_run
from pipelines.policy.config import PolicyConfig
from pipelines.policy.infer import load_policy
from pipelines.policy.spec import Scale, Spec
from pipelines.policy.text import Vocabulary

TINY = {"image_size": 32, "width": 32, "channels": (8, 8, 16, 16), "attention_heads": 2, "head": "flow"}


@pytest.fixture(scope="module")
def spec() -> Spec:
    names = ("ee.x", "ee.y", "gripper.pos")
    space = ActionSpace(names, ("m", "m", "1"), (0, 1, -1), control="absolute")
    scale = Scale(np.zeros(3), np.ones(3))
    inputs = (("observation.state", 3),)
    return Spec(PolicyConfig(**TINY), 10.0, inputs, (), space, Vocabulary.of(["go"]), scale, scale)


@pytest.fixture(scope="module")
def saved(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "policy"
    save_policy(folder, spec, build(spec), {"steps": 1})
    return folder


def changed(saved: Path, into: Path, place: tuple[str | int, ...], value: Any) -> Path:
    described = json.loads((saved / "policy.json").read_text())
    at = described
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    (into / "policy.json").write_text(json.dumps(described))
    (into / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    return into


HOSTILE: list[tuple[tuple[str | int, ...], Any]] = [
    (("config", "flow_steps"), 10**12),  # would compute for ever
    (("config", "flow_steps"), 2.5),
    (("config", "threads"), 10**12),
    (("config", "threads"), True),
    (("config", "head"), "x"),
    (("config", "execute"), 2.5),
    (("config", "channels", 0), -1),
    (("config", "width"), 10**12),
    (("config", "image_size"), "32"),
    (("fps",), 0),
    (("fps",), 1e999),
    (("action", "names", 0), None),
    (("action", "units"), []),
    (("action", "state"), [0, 1]),
    (("action", "state", 0), 3),
    (("action", "state", 0), -2),
    (("action", "quaternions"), [[0, 1, 2, 3]]),
    (("action", "quaternions"), [[0, 1]]),
    (("action", "rotvecs"), [[0, 1, 2]]),  # the third is not relative
    (("action", "rotvecs"), [[0, 1, 0]]),
    (("normalization", "state", "mean"), [0, 0]),
    (("normalization", "state", "std"), []),
    (("normalization", "state", "std", 0), 0),
    (("normalization", "state", "std", 0), None),
    (("normalization", "target", "std", 0), 1e300),
    (("normalization", "target", "mean", 0), 1e300),
]


@pytest.mark.parametrize(("place", "value"), HOSTILE, ids=str)
def test_a_description_that_cannot_be_is_refused(
    saved: Path, tmp_path: Path, place: tuple[str | int, ...], value: Any
) -> None:
    with pytest.raises(SourceError, match=r"policy\.json"):
        load_policy(changed(saved, tmp_path, place, value))


def test_a_header_that_lies_is_refused(saved: Path, tmp_path: Path) -> None:
    folder = changed(saved, tmp_path, ("fps",), 10)
    whole = (saved / "model.safetensors").read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    first = next(key for key in header if key != "__metadata__")
    for lie in ({"data_offsets": [0, 2**50]}, {"shape": [2**40, 2**40]}, {"dtype": "F99"}):
        told = json.dumps({**header, first: {**header[first], **lie}}).encode()
        (folder / "model.safetensors").write_bytes(len(told).to_bytes(8, "little") + told + whole[8 + size :])
        with pytest.raises(SourceError, match=r"model\.safetensors: is damaged"):
            read_policy(folder)
    (folder / "model.safetensors").write_bytes((2**60).to_bytes(8, "little") + whole[8:])
    with pytest.raises(SourceError, match=r"model\.safetensors: is damaged"):
        read_policy(folder)


def test_a_policy_says_what_its_actions_are(saved: Path, spec: Spec, tmp_path: Path) -> None:
    policy = load_policy(saved)
    assert policy.action.names == spec.space.names and policy.action.unit == ("m", "m", "1")
    assert policy.action.control == "absolute" and policy.fps == 10
    unnamed = load_policy(changed(saved, tmp_path, ("action", "names"), [f"action[{i}]" for i in range(3)]))
    assert unnamed.action.names is None


def test_killed_while_a_state_is_written_the_last_whole_one_counts(spec: Spec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, average = build(spec), build(spec)
    optimizer = torch.optim.AdamW(model.parameters())
    save_run(tmp_path, 10, model, average, optimizer, {"seconds": [1, 1]})
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    half = tmp_path / ".step-00000020.4711"  # as a kill in the middle of writing leaves it
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    old = tmp_path / "step-00000005"  # as a kill in the middle of cleaning up leaves it
    old.mkdir()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert load_run(tmp_path, model, average, optimizer) == {"step": 10, "seconds": [1, 1]}
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)
    save_run(tmp_path, 20, model, average, optimizer, {"seconds": [2, 2]})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000020"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channels": (0, 8, 8, 8)}, "at least 1"),
        ({"learning_rate": float("nan")}, "positive"),
        ({"clip": 0.0}, "posi"),
    ],
)
def test_parameters_torch_would_stumble_over_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        PolicyConfig(**changes)
