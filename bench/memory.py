"""Peak memory of a conversion: does it grow with the number of episodes, or with the length of one?

Three conversions of the same format, each in its own process tree: a base, 20 times the episodes, one episode
20 times as long. The figure is the largest resident set of any process in the tree. Target: less than 10 % more.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.made import write_aloha
from bench.results import record


def peak_of(command: list[str]) -> float:
    """MiB of the largest process that `command` and its descendants were."""
    script = (
        "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode; "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"conversion failed: {done.stderr[-2000:]}")
    return int(done.stdout.split()[-1]) / 1024


def main() -> None:
    assert resource.RUSAGE_CHILDREN
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        sources = {
            "base": write_aloha(root / "base", episodes=2, frames=100),
            "episodes_x20": write_aloha(root / "many", episodes=40, frames=100),
            "length_x20": write_aloha(root / "long", episodes=2, frames=2000),
        }
        peaks = {
            key: peak_of(
                [sys.executable, "-m", "dataengine", "convert", str(source), str(root / f"out-{key}"), "--workers", "1"]
            )
            for key, source in sources.items()
        }
    growth = {key: round(peaks[key] / peaks["base"] - 1, 4) for key in ("episodes_x20", "length_x20")}
    figures = {"peak_mib": {k: round(v, 1) for k, v in peaks.items()}, "growth": growth, "target": 0.10}
    record("memory", figures, met=max(growth.values()) < 0.10)


if __name__ == "__main__":
    main()
