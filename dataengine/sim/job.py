"""Evaluating a trained policy as a job: after training in a flow, or on its own from the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from dataengine.errors import ConfigError
from dataengine.plugins import load


@dataclass(frozen=True)
class Evaluate:
    """Run a policy in unseen scenes of a world, each under every task; success with Wilson's 95 % interval.

    checkpoint: a policy's folder, or the folder its training wrote. episodes: attempts. seed: which scenes; no
    demonstration is ever made in them. workers: processes.
    """

    checkpoint: Path
    episodes: int = 100
    seed: int = 0
    workers: int = 1
    world: str = "tabletop"
    tasks: tuple[str, ...] = ("pick_red", "pick_blue")
    policy: str = "reference"

    name: ClassVar[str] = "evaluate"
    version: ClassVar[str] = "1"

    def run(self, store: Path | None, out: Path) -> Mapping[str, Any]:
        """The evaluation, with a filmstrip beside it. `store` is not needed: the world is the judge."""
        from dataengine.sim.evaluate import evaluate
        from dataengine.sim.filmstrip import filmstrip

        folder = self.checkpoint / "policy" if (self.checkpoint / "policy").is_dir() else self.checkpoint
        if not folder.is_dir():
            raise ConfigError(f"there is no checkpoint at {self.checkpoint}; `dataengine train` writes one")
        result = evaluate(
            partial(load("policies", self.policy), folder),
            world=self.world,
            tasks=self.tasks,
            episodes=self.episodes,
            seed=self.seed,
            workers=self.workers,
        )
        out.mkdir(parents=True, exist_ok=True)
        (out / "evaluation.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
        report = {"summary": str(result), **result.to_json()}
        if result.films:
            (out / "filmstrip.png").write_bytes(filmstrip(result.films))
            report["filmstrip"] = "filmstrip.png"
        return report
