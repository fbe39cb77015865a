"""Two Dask workers against one, one codec thread each: the same store, in how much of the time?

The job is what real robots leave: ALOHA episodes of two 640×480 cameras in JPEG. Starting Python and the cluster
is in both times. Runs alternate (one, two, one, two, …) and the ratio is taken pair by pair. Target: median at most
0.60.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.made import write_aloha
from bench.results import record

PAIRS, EPISODES = 3, 48


def convert(source: Path, store: Path, workers: int) -> float:
    command = [sys.executable, "-m", "dataengine", "convert", str(source), str(store), "--workers", str(workers)]
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def digest(store: Path) -> str:
    command = [sys.executable, "-m", "dataengine", "verify", str(store), "--digest"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = write_aloha(root / "source", episodes=EPISODES, frames=250, height=480, width=640, compressed=True)
        pairs, digests = [], set()
        for i in range(PAIRS):
            times = [convert(source, root / f"{i}-{workers}", workers) for workers in (1, 2)]
            pairs.append(times)
            digests |= {digest(root / f"{i}-{workers}") for workers in (1, 2)}
    ratios = [round(two / one, 3) for one, two in pairs]
    figures = {
        "seconds": [[round(t, 1) for t in pair] for pair in pairs],
        "ratios": ratios,
        "median": statistics.median(ratios),
        "target": 0.60,
        "identical": len(digests) == 1,
    }
    record("workers", figures, met=len(digests) == 1 and statistics.median(ratios) <= 0.60)


if __name__ == "__main__":
    main()
