"""How soon a dataset can be read: a store of 10,000 episodes opened, and a new process's first row and first picture.

Each figure is the median over several new processes, from their start where that is said. The large store has two
cameras, so that its episodes table is as wide as it gets; the first row and the first picture are those of the store of
the reading benchmark (10 × 200 frames, two cameras of 256×256). LeRobot's figures are those of the same files.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench import reading
from bench.results import record
from dataengine.episode import ArrayClip, Episode, Feature, Meta
from dataengine.store import Store

EPISODES, LENGTH, TIMES = 10_000, 10, 7
CAMERAS = ("observation.images.top", "observation.images.wrist")
FEATURES = {
    "observation.state": Feature("float32", (14,)),
    "action": Feature("float32", (14,)),
    **{camera: Feature("video", (32, 32, 3)) for camera in CAMERAS},
}
TARGETS = {
    "import_s": 0.1,
    "open_s": 1.0,
    "open_peak_mib": 200.0,
    "first_row_s": 0.8,
    "first_picture_s": 1.0,
}
OURS = "from dataengine.store import FrameReader, Store"
STOCK = "from lerobot.datasets.lerobot_dataset import LeRobotDataset"
# Which dataset, what comes before the clock starts (None: Python itself is timed too), and what is timed.
PARTS: dict[str, tuple[str, str | None, str]] = {
    "import": ("", "", "import dataengine"),
    "open": ("large", OURS, "assert len(Store.open(root)) == 10_000"),
    "open_lerobot": ("large", STOCK, "assert LeRobotDataset('a/b', root=root).num_episodes == 10_000"),
    "first_row": ("ours", None, f"{OURS}; FrameReader(Store.open(root), columns=['action'])[0]"),
    "first_picture": ("ours", None, f"{OURS}; FrameReader(Store.open(root))[0]"),
    "first_picture_lerobot": ("ours", None, f"{STOCK}; LeRobotDataset('a/b', root=root)[0]"),
}


def large(root: Path) -> None:
    """Many episodes from one that is sealed once: everything but its content is as it would be."""
    store = Store.create(root, fps=10, features=FEATURES)
    numbers = {key: np.zeros((LENGTH, 14), np.float32) for key in FEATURES if key not in CAMERAS}
    clips = {camera: ArrayClip(np.zeros((LENGTH, 32, 32, 3), np.uint8), 10) for camera in CAMERAS}
    one = Episode("e", 10.0, FEATURES, numbers, clips, meta=Meta(tasks=("move the cube",), success=True))
    shard = store.seal(one, root.with_name("shard"))
    names = [f"{number:06d}{number * 7919 % 2**32:08x}" for number in range(EPISODES)]
    with store.writer() as writer:
        for start in range(0, EPISODES, 500):
            part = names[start : start + 500]
            writer.commit_all([replace(shard, manifest={**shard.manifest, "episode_id": name}) for name in part])


def timed(root: Path, before: str | None, code: str) -> tuple[float, float]:
    """Seconds and peak MiB of a new process, or of its code alone."""
    # Not `getrusage`: a new process begins with what its parent had.
    memory = "print(int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024)"
    clock = "import time; begin = time.perf_counter()"
    lines = [f"root = {str(root)!r}", before or "", clock, code, "print(time.perf_counter() - begin)", memory]
    begin = time.perf_counter()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(root.parent / "cache")}
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(lines)]
    out = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    whole = time.perf_counter() - begin
    inside, peak = map(float, out.stdout.split()[-2:])
    return (whole if before is None else inside), peak


def main() -> None:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large(folder / "large")
        store = Store.create(folder / "ours", fps=reading.FPS, features=reading.FEATURES)
        with store.writer() as writer:
            for number in range(reading.EPISODES):
                writer.append(reading.episode(number))
        for part, (dataset, before, code) in PARTS.items():
            turns = [
                timed(folder / (dataset or "none"), before, code) for _ in range(3 if "lerobot" in part else TIMES)
            ]
            figures[f"{part}_s"] = round(statistics.median(seconds for seconds, _ in turns), 3)
            figures[f"{part}_peak_mib"] = round(statistics.median(peak for _, peak in turns), 1)
            print(part, figures[f"{part}_s"], figures[f"{part}_peak_mib"], flush=True)
    met = all(figures[key] <= target for key, target in TARGETS.items())
    record("opening", {**figures, "episodes": EPISODES, "targets": TARGETS}, met=met)


if __name__ == "__main__":
    main()
