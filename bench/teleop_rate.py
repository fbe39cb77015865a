"""Does the loop keep 30 Hz for ten minutes with two, and with three, cameras of 224², and is every row accounted for?

The expert drives the embedded world, its pictures are drawn and encoded beside the loop, and episodes of a minute are
recorded into a store, as `dataengine collect teleop --sim --headless` does. Then the store is read: rows a second, rows
that are missing or twice without their mark.

`python -m bench.teleop_rate [minutes]`; ten without.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.results import record
from collectors.teleop import build
from collectors.teleop.launch import Wishes, launch
from collectors.teleop.session import Session
from dataengine.episode import CAPTURE_TIME, Episode
from dataengine.store import Store

FPS, SIZE, EPISODE = 30.0, 224, 60.0
CAMERAS = {"two cameras": ("front", "wrist"), "three cameras": ("front", "wrist", "side")}
TOLERANCE = 0.02


def measure(cameras: tuple[str, ...], minutes: float, folder: Path) -> dict[str, Any]:
    """One run; what the loop and the store say of it."""
    seconds = min(EPISODE, 60 * minutes)
    episodes = max(round(60 * minutes / seconds), 1)
    wishes = Wishes(
        folder, sim=True, device=("expert",), task=("pick_red",), episodes=episodes, seconds=seconds,
        reset_seconds=0.0, headless=True, params={"cameras": cameras, "image_size": SIZE},
    )  # fmt: skip
    beats: list[float] = []

    def run(made: Session) -> None:
        object.__setattr__(made.plan, "settle", 1e9)  # the task is done long before the minute is over
        tick = made.tick

        def counted(beat: Any) -> None:
            beats.append(beat.time)
            tick(beat)

        made.tick = counted  # type: ignore[method-assign]
        build.run(made)

    begin = time.process_time()
    launch(wishes, lambda line: print(line, flush=True), run)
    cpu = time.process_time() - begin
    seen = [account(episode, cameras) for episode in Store.open(folder).episodes()]
    steps = np.diff(beats)
    return {
        "episodes": len(seen),
        "rows": sum(one["rows"] for one in seen),
        "rate_hz": round((len(beats) - 1) / (beats[-1] - beats[0]), 3),
        "rate_of_rows_hz": [round(min(one["rate"] for one in seen), 3), round(max(one["rate"] for one in seen), 3)],
        "tick_ms_p95_p99": [round(1000 * float(q), 2) for q in np.quantile(np.abs(steps - 1 / FPS), (0.95, 0.99))],
        "missed_and_marked": sum(one["missed"] for one in seen),
        "repeated_and_marked": {c: sum(one["repeated"][c] for one in seen) for c in cameras},
        "unmarked": sum(one["unmarked"] for one in seen),
        "incomplete_episodes": sum(one["incomplete"] for one in seen),
        "cores_used": round(cpu / (beats[-1] - beats[0]), 2),
    }


def account(episode: Episode, cameras: tuple[str, ...]) -> dict[str, Any]:
    """What an episode's rows say of themselves, and what they fail to say."""
    times, rows = episode.frames[CAPTURE_TIME], episode.length
    ticked = ~episode.frames["collect.filled"]  # the others stand for ticks that were missed, and say so
    missed = episode.frames["collect.missed"][ticked]
    due = (times - episode.frames["collect.late"])[ticked]
    unmarked = int((np.round(np.diff(due) * FPS).astype(int) - 1 != missed[1:]).sum())
    repeated = {}
    for camera in cameras:
        captured = times - episode.frames[f"collect.{camera}.age"]
        same = np.concatenate([[False], np.abs(np.diff(captured)) < 1e-4])
        marked = episode.frames[f"collect.{camera}.repeated"] | episode.frames[f"collect.{camera}.dropped"]
        repeated[camera] = int(marked.sum())
        unmarked += int((same & ~marked).sum()) + int(episode.clips[f"observation.images.{camera}"].length != rows)
    return {
        "rows": rows,
        "rate": float((rows - 1) / (times[-1] - times[0])),
        "missed": int(missed.sum()),
        "repeated": repeated,
        "unmarked": unmarked,
        "incomplete": bool(episode.meta.extra.get("incomplete", False)),
    }


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    figures: dict[str, Any] = {"minutes": minutes}
    met = True
    for name, cameras in CAMERAS.items():
        with tempfile.TemporaryDirectory(prefix="teleop-rate-") as folder:
            one = figures[name] = measure(cameras, minutes, Path(folder) / "store")
        rates = [one["rate_hz"], *one["rate_of_rows_hz"]]
        met &= all(abs(rate / FPS - 1) <= TOLERANCE for rate in rates) and not one["unmarked"]
        print(name, one, flush=True)
    record("teleop_rate", figures, met=met)


if __name__ == "__main__":
    main()
