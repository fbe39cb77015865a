"""How far predicted actions are from the demonstrated ones in episodes the policy never saw, in physical units,
beside what needs no policy: the mean action, and doing the last action again.

The overall error hides whether the instruction is followed, since most of an episode can be told from the picture;
the first four steps of episodes show it, so they stand apart, also with no and with another instruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from pipelines.policy.data import Frames
from pipelines.policy.model import VLA
from pipelines.policy.spec import Spec

FIRST = 4  # steps of an episode that count as its beginning
MOST = 2000  # frames that are looked at


@dataclass(frozen=True)
class HeldOut:
    """Mean absolute errors over all steps of the chunks, per action element in its unit.

    `errors` by condition: `policy`, `no_instruction`, `other_instruction` (only where the data has several),
    `mean_action`, `repeat_last`, and each of them as `first_<condition>` over the first four steps of episodes.
    `score`: the same, each divided by the element's standard deviation in the training data and averaged.
    """

    names: tuple[str, ...]
    units: tuple[str | None, ...]
    frames: int
    episodes: int
    errors: Mapping[str, tuple[float, ...]]
    score: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """A table for people: each element's error and those of the baselines, then where the words count."""
        shown = ("policy", "mean_action", "repeat_last")
        rows = [f"held-out error of {self.episodes} episodes".ljust(34) + "".join(name.rjust(13) for name in shown)]
        for i, (name, unit) in enumerate(zip(self.names, self.units, strict=True)):
            values = "".join(f"{self.errors[each][i]:13.4g}" for each in shown)
            rows.append(f"  {name} [{unit or '?'}]".ljust(34) + values)
        spoken = [c for c in ("policy", "no_instruction", "other_instruction") if f"first_{c}" in self.score]
        scores = ", ".join(f"{c.replace('_', ' ')} {self.score[f'first_{c}']:.3g}" for c in spoken)
        return [*rows, f"first {FIRST} steps, in standard deviations: {scores}"]


def measure(spec: Spec, model: VLA, frames: Frames) -> HeldOut | None:
    """Errors of a policy on the held-out episodes; None when there are none."""
    pool = frames.frames_of(train=False)
    if not len(pool):
        return None
    begins = pool[pool - frames.start[frames.episode[pool]] < FIRST]
    sample = pool[np.unique(np.linspace(0, len(pool) - 1, min(MOST, len(pool))).astype(int))]
    at = np.union1d(sample, begins[:MOST])
    chunk, valid = frames.chunks(at, spec.config.chunk)

    right = frames.instruction[at]
    said = {"policy": [frames.instructions[i] for i in right], "no_instruction": [""] * len(at)}
    if len(frames.instructions) > 1:
        said["other_instruction"] = [frames.instructions[(i + 1) % len(frames.instructions)] for i in right]
    predicted = {name: predict(spec, model, frames, at, texts) for name, texts in said.items()}
    predicted |= baselines(spec, frames, at)

    std = frames.action[frames.frames_of(train=True)].astype(np.float64).std(0)
    std = np.where(std > 0, std, 1.0)
    in_sample, in_begins = np.isin(at, sample), np.isin(at, begins)
    errors, score = {}, {}
    for name, guess in predicted.items():
        for prefix, rows in (("", in_sample), ("first_", in_begins)):
            found = mean_error(spec, guess[rows], chunk[rows], valid[rows])
            errors[prefix + name] = tuple(found.tolist())
            score[prefix + name] = float((found / std).mean())
    episodes = int((~frames.train).sum())
    return HeldOut(spec.space.names, spec.space.units, len(sample), episodes, errors, score)


def mean_error(spec: Spec, guess: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`(A,)` mean absolute error of chunks `(N, H, A)` over the steps `(N, H)` inside the episode."""
    return np.abs(spec.space.difference(guess, truth))[valid].mean(0)


def baselines(spec: Spec, frames: Frames, at: np.ndarray) -> dict[str, np.ndarray]:
    """Chunks `(N, H, A)` that look at nothing: the mean training action, and the action before frame `at` again –
    in an episode's first frame the pose it is in, and the mean where the state does not say it."""
    mean = frames.action[frames.frames_of(train=True)].astype(np.float64).mean(0)
    first = at == frames.start[frames.episode[at]]
    last = np.where(first[:, None], spec.space.hold(frames.state[at], mean), frames.action[np.maximum(at - 1, 0)])
    steps = (1, spec.config.chunk, 1)
    return {"mean_action": np.tile(mean, (len(at), spec.config.chunk, 1)), "repeat_last": np.tile(last[:, None], steps)}


def predict(spec: Spec, model: VLA, frames: Frames, at: np.ndarray, instructions: list[str]) -> np.ndarray:
    """Predicted chunks `(N, H, A)` in physical units for frames `at`; the noise of a flow head is fixed."""
    draw = torch.Generator().manual_seed(0)
    device = spec.config.device
    words = torch.from_numpy(spec.vocabulary.encode(instructions)).to(device)
    found = []
    for rows in np.array_split(np.arange(len(at)), max(1, len(at) // 128)):
        state = frames.state[at[rows]]
        targets = model.act(
            torch.from_numpy(frames.look(at[rows])).to(device),
            torch.from_numpy(spec.state.normalise(state)).to(device),
            words[rows],
            draw,
        )
        found.append(spec.actions(targets.cpu().numpy(), state))
    return np.concatenate(found)
