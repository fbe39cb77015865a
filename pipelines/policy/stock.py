"""Hand a store to stock LeRobot: its own `lerobot-train`, in its own process, without a network.

For comparison, and as proof that what we write trains elsewhere. Sizes are for a CPU and weights start random;
nothing of LeRobot is imported here, since that alone takes twenty seconds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from dataengine.episode import Feature
from dataengine.errors import ConfigError, MissingDependency
from pipelines.policy.tiny_vlm import IMAGE_SIZE, write_tiny_vlm

PolicyType = Literal["act", "smolvla", "diffusion"]

# Small enough for one core; every name is a field of LeRobot's own configuration of that policy.
SIZES: dict[str, dict[str, Any]] = {
    "act": {
        "chunk_size": 16,
        "n_action_steps": 16,
        "dim_model": 128,
        "n_heads": 4,
        "dim_feedforward": 256,
        "n_encoder_layers": 2,
        "n_vae_encoder_layers": 2,
        "pretrained_backbone_weights": "null",
    },
    "diffusion": {
        "horizon": 16,
        "n_action_steps": 8,
        "down_dims": "[32,64,128]",
        "diffusion_step_embed_dim": 32,
        "num_train_timesteps": 20,
        "pretrained_backbone_weights": "null",
        "use_group_norm": "true",
    },
    "smolvla": {
        "chunk_size": 16,
        "n_action_steps": 16,
        "resize_imgs_with_padding": f"[{IMAGE_SIZE},{IMAGE_SIZE}]",
        "num_vlm_layers": 2,
        "load_vlm_weights": "false",
        "train_expert_only": "false",
        "freeze_vision_encoder": "false",
    },
}
_LOSS = re.compile(r"\bloss:([-+.\w]+)")
_ERROR = re.compile(r"[\w.]*(Error|Exception)\b")


@dataclass(frozen=True)
class StockReport:
    """losses: as LeRobot logged them, one per step. checkpoint: LeRobot's `pretrained_model` folder."""

    policy: str
    steps: int
    losses: tuple[float, ...]
    seconds: float
    checkpoint: str
    command: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "summary": self.summary}

    @property
    def summary(self) -> str:
        first, last = self.losses[0], self.losses[-1]
        return (
            f"{self.policy}: {self.steps} steps in {self.seconds:.0f} s, loss {first:.4g} -> {last:.4g}\n"
            f"checkpoint in {self.checkpoint}"
        )


def why_not(policy_type: str, features: Mapping[str, Feature]) -> str | None:
    """Why stock LeRobot cannot train this policy on these features, in words; None when it can.

    LeRobot takes a feature for an input by its key alone: `observation.image*` and every other camera,
    `observation.environment_state`, `observation.state`.
    """
    cameras = {k: f.shape for k, f in features.items() if f.is_camera and f.shape[-1] == 3}
    environment = "observation.environment_state" in features
    state = "observation.state" in features
    if "action" not in features:
        return "it has no 'action'"
    if policy_type in ("act", "diffusion") and not cameras and not environment:
        return f"{policy_type} needs a colour camera or observation.environment_state, and it has neither"
    if policy_type == "smolvla" and not cameras:
        return "smolvla needs a colour camera, and it has none"
    if policy_type in ("smolvla", "diffusion") and not state:
        return f"{policy_type} needs observation.state, and it has none"
    if policy_type == "diffusion" and len(set(cameras.values())) > 1:
        sizes = ", ".join(f"{key} {shape[0]}x{shape[1]}" for key, shape in cameras.items())
        return f"diffusion needs cameras of one size, and it has {sizes}"
    if policy_type == "smolvla":
        for key in ("observation.state", "action"):
            if features[key].size > 32:
                return f"smolvla takes at most 32 numbers, and {key} has {features[key].size}"
    return None


def train_stock(
    policy_type: PolicyType,
    store: Path,
    out: Path,
    steps: int,
    *,
    batch: int = 8,
    seed: int = 0,
    device: str = "cpu",
    include_failed: bool = False,
    overrides: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> StockReport:
    """Train LeRobot's own policy on a store. overrides: fields of its policy configuration, beside `SIZES`.

    Raises `ConfigError` that says why the dataset cannot train it, or what LeRobot answered; `MissingDependency`
    without lerobot.
    """
    from dataengine.store import Store

    if policy_type not in get_args(PolicyType):
        raise ConfigError(f"no stock policy {policy_type!r}; there are {', '.join(get_args(PolicyType))}")
    if steps < 1 or batch < 1:
        raise ConfigError(f"steps={steps} and batch={batch} must be at least 1")
    if find_spec("lerobot") is None:
        raise MissingDependency("lerobot", extra="lerobot")
    if policy_type == "diffusion" and find_spec("diffusers") is None:
        raise ConfigError("LeRobot's diffusion policy needs a package of its own: pip install 'lerobot[diffusion]'")
    opened, out = Store.open(Path(store)), Path(out)
    if reason := why_not(policy_type, opened.features):
        raise ConfigError(f"{opened.root.name}: stock LeRobot cannot train this dataset: {reason}")
    if (out / "run").exists():
        raise ConfigError(f"{out} already holds a run; choose another folder")

    options = dict(SIZES[policy_type]) | dict(overrides or {})
    if policy_type == "smolvla" and "vlm_model_name" not in options:
        write_tiny_vlm(out / "tiny_vlm", opened.tasks)
        options["vlm_model_name"] = (out / "tiny_vlm").resolve()
    command = [
        *(sys.executable, "-m", "lerobot.scripts.lerobot_train"),
        f"--dataset.repo_id=local/{re.sub(r'[^A-Za-z0-9]+', '-', opened.root.name).strip('-') or 'store'}",
        f"--dataset.root={opened.root.resolve()}",
        *("--dataset.video_backend=pyav", "--dataset.use_imagenet_stats=false"),
        *(f"--policy.type={policy_type}", f"--policy.device={device}", "--policy.push_to_hub=false"),
        *(f"--policy.{name}={value}" for name, value in options.items()),
        *(f"--output_dir={(out / 'run').resolve()}", f"--steps={steps}", f"--batch_size={batch}", f"--seed={seed}"),
        *("--num_workers=0", "--log_freq=1", f"--save_freq={steps}", "--env_eval_freq=0", "--wandb.enable=false"),
    ]
    if len(looked_at := _inputs(opened.features)) < len([k for k in opened.features if k.startswith("observation.")]):
        command.append(f"--policy.input_features={json.dumps(looked_at)}")
    if not include_failed:
        good = [i for i, episode in enumerate(opened.episodes()) if episode.meta.success is not False]
        if not good:
            raise ConfigError(f"{opened.root.name}: every episode failed; include_failed trains on them all the same")
        if len(good) < len(opened):
            command.append(f"--dataset.episodes={json.dumps(good, separators=(',', ':'))}")
    began = time.monotonic()
    losses = _run(command, out, timeout)
    if len(losses) != steps:
        raise ConfigError(f"stock LeRobot logged {len(losses)} losses in {steps} steps; see {out / 'train.log'}")
    checkpoint = next((out / "run" / "checkpoints").glob("[0-9]*/pretrained_model"))
    return StockReport(
        policy=f"lerobot:{policy_type}",
        steps=steps,
        losses=tuple(losses),
        seconds=round(time.monotonic() - began, 1),
        checkpoint=str(checkpoint),
        command=tuple(command),
    )


def _inputs(features: Mapping[str, Feature]) -> dict[str, dict[str, Any]]:
    """What a stock policy can look at, as LeRobot writes it: it would take a depth camera for a picture in colour
    and fail in its first convolution, and text for numbers."""
    kinds = {"observation.state": "STATE", "observation.environment_state": "ENV"}
    found: dict[str, dict[str, Any]] = {}
    for key, feature in features.items():
        if feature.is_camera and feature.shape[-1] == 3:
            height, width, channels = feature.shape
            found[key] = {"type": "VISUAL", "shape": [channels, height, width]}
        elif key in kinds:
            found[key] = {"type": kinds[key], "shape": list(feature.shape)}
    return found


def _run(command: Sequence[str], out: Path, timeout: float | None) -> list[float]:
    """Run LeRobot with caches inside `out` (its `datasets` cache keeps a copy of every table it ever opened) and no
    way to a network; gives the losses it logged."""
    out.mkdir(parents=True, exist_ok=True)
    cache = out / "cache"
    environment = os.environ | {
        "HF_HOME": str(cache.resolve()),
        "HF_LEROBOT_HOME": str((cache / "lerobot").resolve()),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "disabled",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "400",  # LeRobot's log handler folds lines at the terminal's width
    }
    path = out / "train.log"
    try:
        with path.open("w") as log:
            found = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"stock LeRobot did not finish in {error.timeout:g} s; its output is in {path}") from error
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    lines = path.read_text(errors="replace").splitlines()
    if found.returncode:
        last = next((line for line in reversed(lines) if _ERROR.match(line)), lines[-1] if lines else "no output")
        raise ConfigError(f"stock LeRobot could not train this dataset: {last.strip()} (all of it in {path})")
    return list(_losses(lines))


def _losses(lines: Sequence[str]) -> Iterator[float]:
    for line in lines:
        if "step:" in line and (match := _LOSS.search(line)):
            yield float(match[1])
