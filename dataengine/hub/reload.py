"""Prove that stock LeRobot reads what we wrote: from the Hub it was published to, or straight from the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataengine.errors import DataEngineError
from dataengine.store import Store

SECONDS = 900


@dataclass(frozen=True)
class Reload:
    """Load the dataset with stock LeRobot in a fresh cache and compare random frames and windows with our reader.

    repo_id: download it from the Hub (`endpoint`, or the client's own); without one the store's folder is read.
    samples: how many random indices.
    """

    repo_id: str | None = None
    endpoint: str | None = None
    samples: int = 200
    seed: int = 0

    name = "reload"
    version = "1"

    def run(self, store: Path, out: Path) -> Mapping[str, Any]:
        """Raises `DataEngineError` with the first difference."""
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as cache:
            # What was published carries language written into columns; compare with that state of the store.
            whole = Path(cache) / "snapshot"
            Store.open(store).snapshot(whole)
            command = [sys.executable, "-m", "dataengine.hub.stock", str(whole), "--samples", str(self.samples)]
            command += ["--seed", str(self.seed), "--repo-id", self.repo_id or "local/store"]
            if self.repo_id is None:
                command += ["--root", str(whole)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, env=self._environment(Path(cache))
            )
        if done.returncode:
            tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise DataEngineError(f"stock LeRobot does not read {self.repo_id or store.name} as we do: {tail[0]}")
        report = json.loads(done.stdout.splitlines()[-1])
        (out / "reload.json").write_text(json.dumps(report, indent=2) + "\n")
        return report

    def _environment(self, cache: Path) -> dict[str, str]:
        environment = {**os.environ, "HF_HOME": str(cache / "hf"), "HF_DATASETS_CACHE": str(cache / "datasets")}
        environment["HF_LEROBOT_HOME"] = str(cache / "lerobot")
        environment["HF_HUB_OFFLINE"] = "0" if self.repo_id else "1"
        return environment | ({"HF_ENDPOINT": self.endpoint} if self.endpoint else {})
