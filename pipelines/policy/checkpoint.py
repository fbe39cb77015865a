"""Policies and unfinished runs on disk: safetensors and JSON, nothing that could run code.

    policy/   policy.json  model.safetensors  [tokenizer/]                   what `load_policy` reads
    resume/step-00000200/  model, average, optimizer .safetensors  run.json   what a killed run goes on from

A folder of either kind appears whole, by one rename, or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dataengine.errors import ConfigError, SourceError
from dataengine.guard import read_json
from dataengine.plugins import load
from pipelines.policy.heads import FlowHead, L1Head, TokenHead
from pipelines.policy.model import VLA, ActionHead, Encoder, check_device
from pipelines.policy.spec import Spec


def build(spec: Spec, tokenizer: Any = None, lengths: tuple[int, int] = (0, 0)) -> VLA:
    """The model of a spec with fresh weights. Token heads need a fitted tokenizer and its chunks' lengths."""
    config = spec.config
    words = len(spec.vocabulary.known)
    encoder = Encoder(config, cameras=len(spec.cameras), state_size=spec.state_size, words=words)
    size = spec.space.target_size
    head: ActionHead
    if config.head == "l1":
        head = L1Head(config, size)
    elif config.head == "flow":
        head = FlowHead(config, size)
    else:
        head = TokenHead(config, size, tokenizer, lengths)
    return VLA(encoder, head, config, size)


def save_policy(folder: Path, spec: Spec, model: VLA, trained: Mapping[str, Any]) -> None:
    """trained: where the weights come from (steps, episodes, digest of the data); kept for a reader."""

    def write(into: Path) -> None:
        content: dict[str, Any] = {**spec.to_json(), "trained": dict(trained)}
        if isinstance(model.head, TokenHead):
            model.head.tokenizer.save(into / "tokenizer")
            content["token_lengths"] = [model.head.shortest, model.head.longest]
        (into / "policy.json").write_text(json.dumps(content, indent=2) + "\n")
        _save(into / "model.safetensors", model.state_dict())

    write_whole(folder, write)


def read_policy(folder: Path, device: str = "cpu") -> tuple[Spec, VLA]:
    """A saved policy, from its folder or the folder of its run. Raises `SourceError` when there is none."""
    folder = Path(folder)
    place = next((p for p in (folder, folder / "policy") if (p / "policy.json").is_file()), None)
    if place is None:
        hint = "it is trained but not finished: train with resume" if (folder / "resume").is_dir() else ""
        raise SourceError(folder, "holds no policy (policy.json and model.safetensors)", hint=hint)
    data = read_json(place / "policy.json")
    try:
        spec = Spec.from_json(data)
        tokenizer, lengths = None, (0, 0)
        if spec.config.head in ("fast", "bins"):
            tokenizer = load("tokenizers", spec.config.head).load(place / "tokenizer")
            shortest, longest = map(int, data["token_lengths"])
            lengths = (shortest, longest)
        tensors = _read(place / "model.safetensors")
        with torch.device("meta"):  # what the description asks for, before memory is given to it
            _compare(place / "model.safetensors", tensors, build(spec, tokenizer, lengths))
        model = build(spec, tokenizer, lengths)
        model.load_state_dict(tensors)
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:  # the last: sizes torch cannot count
        raise SourceError(place / "policy.json", str(error)) from error
    check_device(device)
    return replace(spec, config=replace(spec.config, device=device)), model.to(device).eval()


def begin_with(model: VLA, other: VLA) -> None:
    """Take over the weights of another model. Raises `ConfigError` where it is built differently."""
    mine, theirs = model.state_dict(), other.state_dict()
    unlike = [name for name in mine if name not in theirs or mine[name].shape != theirs[name].shape]
    unlike += [name for name in theirs if name not in mine]
    if unlike:
        raise ConfigError(f"the policy to begin with is built differently: {', '.join(unlike[:5])}")
    model.load_state_dict(theirs)


def save_run(
    folder: Path, step: int, model: VLA, average: VLA, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """A state to resume from after `step` steps; older ones are removed once this one is whole."""

    def write(into: Path) -> None:
        _save(into / "model.safetensors", model.state_dict())
        _save(into / "average.safetensors", average.state_dict())
        moments = optimizer.state_dict()["state"]
        _save(
            into / "optimizer.safetensors",
            {f"{k}.{name}": v for k, each in moments.items() for name, v in each.items()},
        )
        (into / "run.json").write_text(json.dumps({"step": step, **state}, indent=2) + "\n")

    newest = folder / f"step-{step:08d}"
    write_whole(newest, write)
    for old in [*folder.glob("step-*"), *folder.glob(".step-*")]:  # the latter are what a kill left half written
        if old != newest:
            shutil.rmtree(old)


def load_run(folder: Path, model: VLA, average: VLA, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Restore the newest state and give its run.json; None when there is none yet."""
    found = sorted(folder.glob("step-*[0-9]"))
    if not found:
        return None
    newest = found[-1]
    _load(newest / "model.safetensors", model)
    _load(newest / "average.safetensors", average)
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in _read(newest / "optimizer.safetensors").items():
        number, name = key.split(".", 1)
        moments.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return read_json(newest / "run.json")


def write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Fill a folder beside its place, then rename it there in one step."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    for file in (f for f in partial.rglob("*") if f.is_file()):
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise SourceError(path, "is missing from the checkpoint")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise SourceError(path, f"is damaged or no safetensors file ({error})") from error


def _load(path: Path, model: VLA) -> None:
    tensors = _read(path)
    _compare(path, tensors, model)
    model.load_state_dict(tensors)


def _compare(path: Path, tensors: Mapping[str, Tensor], model: VLA) -> None:
    want = model.state_dict()
    wrong = [n for n in sorted(want.keys() | tensors.keys()) if n not in want or n not in tensors]
    wrong += [n for n in want.keys() & tensors.keys() if want[n].shape != tensors[n].shape]
    if wrong:
        raise SourceError(path, f"does not fit the model that policy.json describes: {', '.join(wrong[:5])}")
