"""The training loop: read the store, understand its actions, fit, measure on held-out episodes, write everything down.

out/policy/        the finished policy (averaged weights)         out/loss.jsonl, loss.svg   every step's loss
out/report.json    what `TrainReport` says                        out/resume/                states to go on from
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataengine.errors import ConfigError
from dataengine.plugins import load
from dataengine.progress import Progress
from pipelines.policy.checkpoint import begin_with, build, load_run, read_policy, save_policy, save_run, write_whole
from pipelines.policy.config import PolicyConfig
from pipelines.policy.curve import draw_losses, read_losses
from pipelines.policy.data import Batch, Frames, batch, gather, pools
from pipelines.policy.heldout import HeldOut, measure
from pipelines.policy.model import VLA, check_device, threads
from pipelines.policy.spec import Scale, Spec, continued, specify

log = logging.getLogger(__name__)

# Parameters that do not change what is learned, so a run may be resumed with others.
FREE = ("save_every", "device", "threads")


@dataclass(frozen=True)
class TrainReport:
    """policy: folder that `load_policy` reads. loss: means over the first and the last 50 steps, or halves of a
    shorter run. seconds, cpu_seconds: of the training steps alone, over all resumptions. notes: what was decided about
    the data. held_out: None without held-out episodes.
    """

    policy: str
    head: str
    dtype: str
    parameters: int
    steps: int
    seconds: float
    cpu_seconds: float
    loss: tuple[float, float]
    episodes: int
    frames: int
    notes: tuple[str, ...]
    held_out: HeldOut | None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "summary": self.summary}

    @property
    def summary(self) -> str:
        """What a person wants to know, in a few lines."""
        first, last = self.loss
        size, minutes = f"{self.parameters / 1e6:.2f} M parameters", f"{self.seconds / 60:.1f} min"
        head = (
            f"{self.head} head, {size}, {self.dtype}: {self.steps} steps in {minutes}, loss {first:.3g} -> {last:.3g}"
        )
        lines = [head, f"learned from {self.episodes} episodes, {self.frames} frames", *self.notes]
        return "\n".join([*lines, *(self.held_out.lines() if self.held_out else ()), f"policy in {self.policy}"])


def train(
    store: Path,
    out: Path,
    config: PolicyConfig | None = None,
    *,
    resume: bool = False,
    cache: Path | None = None,
    init: Path | None = None,
) -> TrainReport:
    """Train the reference policy on a store and leave it in `out/policy`.

    resume: go on from the newest state in `out`; the losses are those of a run that was never stopped. cache: folder
    for pictures at training size (default `out/pictures`), which several runs may share. init: a policy whose weights,
    words and scales to begin with; the dataset must have its inputs and actions.
    Raises `ConfigError` with every reason when the dataset cannot train it, when `out` holds another run, or when it
    holds this one and `resume` is false.
    """
    from dataengine.store import Store

    config, out = with_dtype(config or PolicyConfig()), Path(out)
    check_device(config.device)
    with Progress() as progress, threads(config.threads):
        opened = Store.open(Path(store))
        frames = gather(opened, config, cache or out / "pictures", progress.counter)
        spec, notes = specify(frames, config)
        begun = None if init is None else read_policy(init)
        if begun is not None:
            spec, known = continued(spec, begun[0], frames.instructions)
            notes += [f"begins with the weights of {Path(init or '').name}", *known]
        notes = [*frames.notes, *notes]
        for note in notes:
            log.info("%s", note)
        run = _fingerprint(frames, config, begun and begun[1])
        _claim(out, run, resume)
        model, average = _models(spec, frames, out / "resume" / "tokenizer")
        if begun is not None:
            for each in (model, average):
                begin_with(each, begun[1])
        losses, spent = _fit(spec, frames, model, average, out, progress)
        held_out = measure(spec, average.eval(), frames)

    learned = {"steps": config.steps, "episodes": int(frames.train.sum()), "dataset": opened.digest(), "run": run}
    save_policy(out / "policy", spec, average, learned)
    draw_losses(losses, out / "loss.svg")
    values = [row["loss"] for row in losses]
    span = min(50, max(1, len(values) // 2))
    report = TrainReport(
        policy=str(out / "policy"),
        head=config.head,
        dtype=config.dtype,
        parameters=model.size,
        steps=config.steps,
        seconds=round(float(spent[0]), 1),
        cpu_seconds=round(float(spent[1]), 1),
        loss=(float(np.mean(values[:span])), float(np.mean(values[-span:]))),
        episodes=int(frames.train.sum()),
        frames=len(frames.frames_of(train=True)),
        notes=tuple(notes),
        held_out=held_out,
    )
    (out / "report.json").write_text(json.dumps(report.to_json(), indent=2) + "\n")
    return report


def _models(spec: Spec, frames: Frames, fitted: Path) -> tuple[VLA, VLA]:
    """The model that is trained and the one that holds its moving average, equal at the start.

    fitted: where a token head's tokenizer is kept from the first start on.
    """
    config, tokenizer, lengths = spec.config, None, (0, 0)
    if config.head in ("fast", "bins"):
        pool = frames.frames_of(train=True)
        targets = spec.targets(frames.chunks(pool, config.chunk)[0], frames.state[pool])
        kind = load("tokenizers", config.head)
        if not fitted.exists():
            write_whole(fitted, kind.fit(targets).save)
        tokenizer = kind.load(fitted)
        counts = [len(tokens) for tokens in tokenizer.encode(targets)]
        lengths = (min(counts), max(counts))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model, average = (build(spec, tokenizer, lengths).to(config.device) for _ in range(2))
    average.load_state_dict(model.state_dict())
    return model.train(), average.requires_grad_(False)


def _fit(
    spec: Spec, frames: Frames, model: VLA, average: VLA, out: Path, progress: Progress
) -> tuple[list[dict[str, float]], np.ndarray]:
    """Run the remaining steps. Gives the loss of every step since the first, and the seconds they took: `(2,)`, by
    the clock and of the processor."""
    config, pool = spec.config, frames.frames_of(train=True)
    arrivals = frames.action[frames.waypoints(spec.space.grippers)][:, None]
    distances = Scale.of(spec.space.encode(arrivals[pool], frames.state[pool]))
    words = torch.from_numpy(spec.vocabulary.encode(frames.instructions)).to(config.device)
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=config.weight_decay)
    done = load_run(out / "resume", model, average, optimizer) or {"step": 0, "seconds": [0, 0]}
    first, earlier = int(done["step"]), _clocks() - np.asarray(done["seconds"], float)
    rows = [row for row in read_losses(out / "loss.jsonl") if row["step"] < first]

    with _rewritten(out / "loss.jsonl", rows) as write:
        advance = progress.counter("training", config.steps, first)
        for step, b in _batches(frames, config, first):
            rate = learning_rate(config, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            arrival = distances.normalise(spec.space.encode(arrivals[b.at], b.state))[:, 0]
            tensors = (b.pictures, spec.state.normalise(b.state), spec.targets(b.chunk, b.state), b.valid, arrival)
            pictures, state, target, valid, far = (torch.from_numpy(t).to(config.device) for t in tensors)
            draw = torch.Generator().manual_seed((config.seed << 32) + step)
            with torch.autocast(config.device.split(":")[0], torch.bfloat16, enabled=config.dtype == "bfloat16"):
                loss = model.loss(pictures, state, words[b.instruction], target, valid, far, draw)
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(weights, config.clip)
            optimizer.step()
            decay = min(config.ema, (1 + step) / (10 + step))
            for mean, weight in zip(average.parameters(), weights, strict=True):
                mean.lerp_(weight.detach(), 1 - decay)

            row = {"step": step, "loss": loss.item(), "lr": rate, "grad_norm": norm.item()}
            if not np.isfinite(row["loss"]):
                raise ConfigError(
                    f"the loss became {row['loss']} at step {step}: lower learning_rate={config.learning_rate}"
                )
            write(row)
            rows.append(row)
            advance(1)
            if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
                seconds = (_clocks() - earlier).tolist()
                save_run(out / "resume", step + 1, model, average, optimizer, {"seconds": seconds})
    return rows, _clocks() - earlier


def _batches(frames: Frames, config: PolicyConfig, first: int) -> Iterator[tuple[int, Batch]]:
    """Every step from the first on with its batch; the next one is read while one is learnt from."""
    drawn_from = pools(frames, config)
    with ThreadPoolExecutor(1, "reader") as reader:
        coming = reader.submit(batch, frames, drawn_from, config, first)
        for step in range(first, config.steps):
            here = coming.result()
            coming = reader.submit(batch, frames, drawn_from, config, step + 1)
            yield step, here


def _clocks() -> np.ndarray:
    return np.array([time.monotonic(), time.process_time()])


def learning_rate(config: PolicyConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    left = max(0, step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * warm * 0.5 * (1 + float(np.cos(np.pi * min(1.0, left))))


def with_dtype(config: PolicyConfig) -> PolicyConfig:
    """`auto` settled for this machine: bfloat16 where the device multiplies it natively, elsewhere it is slower."""
    if config.dtype != "auto":
        return config
    if config.device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        flags = Path("/proc/cpuinfo")  # Linux; elsewhere unknown, so float32
        native = config.device == "cpu" and flags.exists() and "avx512_bf16" in flags.read_text()
    return replace(config, dtype="bfloat16" if native else "float32")


def _fingerprint(frames: Frames, config: PolicyConfig, begun: VLA | None) -> str:
    """What makes two runs the same: the parameters that matter, the data, and the weights it began with."""
    digest = hashlib.sha256(
        json.dumps({k: v for k, v in config.to_json().items() if k not in FREE}, sort_keys=True).encode()
    )
    digest.update(json.dumps([frames.ids, frames.instructions, frames.inputs, list(frames.pictures)]).encode())
    for column in (frames.state, frames.action, frames.instruction, frames.train):
        digest.update(np.ascontiguousarray(column).data)
    for weight in begun.state_dict().values() if begun is not None else ():
        digest.update(weight.contiguous().numpy().data)
    return digest.hexdigest()[:24]


def _claim(out: Path, run: str, resume: bool) -> None:
    """Make `out` the folder of this run, or refuse to mix two."""
    out.mkdir(parents=True, exist_ok=True)
    owner = out / "run.id"
    if not owner.exists():
        owner.write_text(run + "\n")
    elif owner.read_text().strip() != run:
        raise ConfigError(f"{out} holds a run on other data or with other parameters; choose another folder")
    elif not resume and (out / "loss.jsonl").exists():
        raise ConfigError(f"{out} already holds this run; go on with resume, or choose another folder")


@contextmanager
def _rewritten(path: Path, rows: list[dict[str, float]]) -> Iterator[Any]:
    """A loss.jsonl that begins with the rows before the resumed state and grows by a row a step."""
    partial = path.with_suffix(".tmp")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
    partial.replace(path)
    with path.open("a", buffering=1) as lines:

        def write(row: Mapping[str, float]) -> None:
            lines.write(json.dumps(row) + "\n")

        yield write
