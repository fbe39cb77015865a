"""Training as a job of a flow: what a finished store is used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from pipelines.policy.config import PolicyConfig


@dataclass(frozen=True, kw_only=True)
class TrainPolicy(PolicyConfig):
    """Train the reference policy on the store; parameters are the policy's own. A killed job goes on where it was.

    init: a trained policy to begin with.
    """

    name: ClassVar[str] = "train"
    version: ClassVar[str] = "1"

    init: Path | None = None

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        from pipelines.policy.train import train

        config = PolicyConfig(**{f.name: getattr(self, f.name) for f in fields(PolicyConfig)})
        return train(store, out, config, resume=True, init=self.init).to_json()


@dataclass(frozen=True, kw_only=True)
class TrainStock:
    """Train one of LeRobot's own policies on the store, as proof that it fits: `act`, `diffusion` or `smolvla`.

    if_possible: report why a dataset cannot train it (`trained: false`, `reason`) instead of failing.
    """

    name: ClassVar[str] = "train_lerobot"
    version: ClassVar[str] = "1"

    policy: str = "act"
    steps: int = 20
    batch: int = 8
    seed: int = 0
    if_possible: bool = False

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        from dataengine.store import Store
        from pipelines.policy.stock import train_stock, why_not

        if self.if_possible and (reason := why_not(self.policy, Store.open(store).features)):
            return {"trained": False, "reason": reason}

        return train_stock(self.policy, store, out, self.steps, batch=self.batch, seed=self.seed).to_json()  # type: ignore[arg-type]
