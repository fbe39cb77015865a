"""Demonstrations as a person makes them at the page's keyboard, and what the quality checks say of them.

A program presses the keys (`collectors/teleop/devices/typist.py`: late, in taps, with pauses and slips) through a whole
session: keyboard device, Cartesian control, safety, recorder. Target: 200 demonstrations over all tasks of the
six-jointed arm raise no objective fault. What an earlier run has recorded into `--work` is not recorded again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from bench.results import record


def demonstrate(store: Path, episodes: int, *, seed: int = 0, fps: float = 30.0, size: int = 96) -> None:
    """Record until the store holds `episodes`, every task in turn, by the command a user would give."""
    from dataengine.sim.tasks import tasks_of

    tasks = [word for task in tasks_of("six") for word in ("--task", task)]
    session = ["--sim", "--headless", "--simulated-time", "--device", f"typist:seed={seed}", "--seed", str(seed)]
    world = ["--fps", str(fps), "--set", f"image_size={size}", "--set", "arm=six", "--episodes", str(episodes)]
    command = [sys.executable, "-m", "dataengine", "collect", "teleop", str(store), *session, *world, *tasks]
    subprocess.run(command, check=True)


def judged(store: Path) -> dict[str, Any]:
    """What the stage `quality` says of every episode, counted."""
    from dataengine import plugins
    from dataengine.store import Store

    opened = Store.open(store)
    objective: list[str] = []
    risks: Counter[str] = Counter()
    grades, seconds, successes = [], [], 0
    for episode in plugins.make("stages", "quality").run(opened.episodes()):
        for row in episode.labels["quality"].table.to_pylist():
            if row["class"] == "risk":
                risks[row["check"]] += 1
            elif row["class"] != "not assessed":
                objective.append(f"{episode.id}: {row['check']}: {row['reason']}")
        grades.append(episode.meta.quality)
        seconds.append(episode.length / episode.fps)
        successes += episode.meta.success is True
    return {
        "episodes": len(grades),
        "successes": successes,
        "seconds": round(sum(seconds), 1),
        "objective": objective,
        "risks": dict(risks),
        "lowest_grade": min(grades),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.keyboard", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("out/bench/keyboard"))
    args = parser.parse_args()
    demonstrate(args.work, args.episodes, seed=args.seed)
    found = judged(args.work)
    figures = {"target": "no objective finding", **found}
    record("keyboard", figures, met=found["episodes"] >= args.episodes and not found["objective"])


if __name__ == "__main__":
    main()
