"""Recording at 30 Hz with two and with three cameras of 224²: the rate that is kept, and what it costs.

A paced loop gives `Take.add` pictures that were made before, for as many minutes as are asked for (default 10). The
target: 30 Hz within 2 %, and nothing that is odd but unmarked – as many rows as ticks, every late or missing one
flagged.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.results import record
from collectors.recorder import Recorder, Setup, Take, Tick
from dataengine.episode import Feature
from dataengine.robot import Sample
from dataengine.store import Store

MINUTES, FPS, SIDE, JOINTS = 10.0, 30.0, 224, 14
STATE = "observation.state"


def features(cameras: int) -> dict[str, Feature]:
    found = {STATE: Feature("float32", (JOINTS,), role="state"), "action": Feature("float32", (JOINTS,), role="action")}
    return found | {f"observation.images.camera_{n}": Feature("video", (SIDE, SIDE, 3)) for n in range(cameras)}


def pictures(cameras: int, count: int = 90) -> list[list[np.ndarray]]:
    """Smooth moving content with a little noise, made before it is timed."""
    rng, (x, y) = np.random.default_rng(0), np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    found = []
    for n in range(count):
        row = []
        for camera in range(cameras):
            wave = np.sin((x + 2 * n) / 23 + camera) + np.cos((y - n) / 17)
            row.append(
                np.stack([127 + 55 * wave, 127 - 55 * wave, 90 + 25 * wave], -1) + rng.normal(0, 2, (SIDE, SIDE, 3))
            )
        found.append([np.clip(picture, 0, 255).astype(np.uint8) for picture in row])
    return found


def paced(take: Take, cameras: int, shown: list[list[np.ndarray]], minutes: float) -> dict[str, Any]:
    """Drive a take as a session does: a tick that comes too late to be kept is missed, and counted."""
    keys = [f"observation.images.camera_{n}" for n in range(cameras)]
    begin, n, given, missed = time.monotonic() + 0.1, 0, 0, 0
    late, costs, most = [], [], 0
    while n < minutes * 60 * FPS:
        due = begin + n / FPS
        if (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
        now = time.monotonic()
        action = np.sin(np.arange(JOINTS) + now).astype(np.float32)
        seen = {key: Sample(picture, now - 0.004) for key, picture in zip(keys, shown[n % len(shown)], strict=True)}
        seen[STATE] = Sample(action, now - 0.001)
        clock = time.perf_counter()
        take.add(Tick(due, now, seen, action, action, "person", missed=missed))
        costs.append(time.perf_counter() - clock)
        late.append(now - due)
        given += 1
        following = max(n + 1, int((time.monotonic() - begin) * FPS) + 1) if late[-1] > 1 / FPS else n + 1
        missed, n = following - n - 1, following
        most = max(most, max((camera.waiting for camera in take._cameras.values()), default=0))
    seconds = late[-1] + (n - 1) / FPS - late[0]
    return {
        "rate_hz": round((given - 1) / seconds, 3),
        "late_ms_median": round(1000 * float(np.median(late)), 2),
        "late_ms_99": round(1000 * float(np.quantile(late, 0.99)), 2),
        "late_ms_most": round(1000 * max(late), 1),
        "add_ms_median": round(1000 * float(np.median(costs)), 2),
        "add_ms_99": round(1000 * float(np.quantile(costs, 0.99)), 2),
        "add_ms_most": round(1000 * max(costs), 1),
        "ticks_given": given,
        "ticks_missed": round(minutes * 60 * FPS) - given,
        "pictures_waiting_most": most,
    }


def by_thread(take: Take) -> dict[str, float]:
    """CPU seconds so far: of the loop, of all encoders, of the journal, of the whole process."""
    found = {"loop": time.thread_time(), "process": time.process_time()}
    for thread in threading.enumerate():
        if thread.ident is not None and thread is not threading.current_thread():
            part = (
                "encoders" if thread.name.startswith("encode") else "journal" if "journal" in thread.name else "other"
            )
            clock = time.pthread_getcpuclockid(thread.ident)
            found[part] = found.get(part, 0.0) + time.clock_gettime(clock)
    return found


def measured(folder: Path, cameras: int, minutes: float) -> dict[str, Any]:
    shown = pictures(cameras)
    with Recorder(folder, Setup(FPS, features(cameras))) as recorder:
        warm = recorder.start("warm up")
        paced(warm, cameras, shown, 2 / 60)
        warm.discard()
        take, before = recorder.start("stack the cubes"), {"loop": time.thread_time(), "process": time.process_time()}
        figures = paced(take, cameras, shown, minutes)
        spent, trouble = by_thread(take), take.health().trouble
        wall = minutes * 60
        figures["cpu_percent_of_a_core"] = {
            part: round(100 * (seconds - before.get(part, 0.0)) / wall, 1) for part, seconds in spent.items()
        }
        figures["journal_mb"] = round(take.journal.written / 1e6, 1)
        begin = time.perf_counter()
        take.stop()
        take.keep(success=True)
        figures["keep_ms"] = round(1000 * (time.perf_counter() - begin))
    store = Store.open(folder)
    episode = store[0]
    frames = episode.frames
    figures["video_mb"] = round(sum(path.stat().st_size for path in (folder / "videos").rglob("*.mp4")) / 1e6, 1)
    figures["rows"], figures["marks"], figures["trouble"] = episode.length, episode.meta.extra["collect"], list(trouble)
    unmarked = figures["ticks_missed"] - int(frames["collect.missed"].sum())
    filled = int(frames["collect.filled"].sum())
    figures["unmarked"] = abs(unmarked) + abs(episode.length - filled - figures["ticks_given"])
    figures["verify"] = str(store.verify(deep=True))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("minutes", nargs="?", type=float, default=MINUTES)
    minutes = parser.parse_args().minutes
    figures: dict[str, Any] = {"minutes": minutes}
    with tempfile.TemporaryDirectory() as name:
        for cameras in (2, 3):
            figures[f"{cameras} cameras"] = measured(Path(name) / str(cameras), cameras, minutes)
    runs = [figures[f"{cameras} cameras"] for cameras in (2, 3)]
    met = all(
        abs(run["rate_hz"] / FPS - 1) <= 0.02 and not run["unmarked"] and "all as it" in run["verify"] for run in runs
    )
    if minutes >= MINUTES:
        record("recording", figures, met=met)
    else:
        print(met, figures)


if __name__ == "__main__":
    main()
