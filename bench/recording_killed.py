"""200 × SIGKILL at random instants of a recorder with two cameras: what was kept stays, what was under way is salvaged.

After each kill the next recorder opens the store. Every take that was acknowledged must be there once, with all its
rows; the one under way must be there up to its last second, marked incomplete (or whole and judged, where it was being
kept); none that was discarded may be; nothing else. `verify` decodes everything, and stock LeRobot reads every
frame that is ever there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.results import record
from dataengine.progress import track
from dataengine.store import Edit, Store

sys.path.append(str(Path(__file__).parents[1] / "tests"))

KILLS, LONGEST, LOST_SECONDS = 200, 1.5, 1.0
MOST_EPISODES, LEROBOT_EVERY = 30, 10  # no episode goes before LeRobot has read it
PROGRAM = Path(__file__).parents[1] / "tests" / "recording_killed.py"


def killed(root: Path, seed: int, seconds: float) -> tuple[list[dict[str, Any]], float]:
    """What a recorder said that was killed so many seconds after its first row, and when it was killed."""
    command = [sys.executable, str(PROGRAM), str(root), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [json.loads(process.stdout.readline())]
        time.sleep(seconds)
        at = time.monotonic()
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):
                said.append(json.loads(line))
    if process.returncode != -9:
        raise RuntimeError(f"the recorder ended by itself with {process.returncode}")
    return said, at


def wrongs(store: Store, before: set[str], said: list[dict[str, Any]], at: float) -> tuple[list[str], str, float]:
    """What is not as it must be after a kill; in what it happened; how many seconds of the take were lost."""
    found, wrong, lost = dict(zip(store.ids, store.table_of_episodes.length.tolist(), strict=True)), [], 0.0
    takes: dict[str, dict[str, Any]] = {}
    for line in said[1:]:
        take = takes.setdefault(line["take"], {"rows": []})
        take["last"] = line["what"]
        if "rows" in line:
            take["rows"].append((line["at"], line["rows"]))
    during = "starting"
    for identity, take in takes.items():
        rows, last = (take["rows"][-1][1] if take["rows"] else 0), take["last"]
        here, during = found.get(identity), last
        if last == "kept" and here != rows:
            wrong.append(f"{identity} was kept with {rows} rows; {here} are there")
        elif last == "discarded" and here is not None:
            wrong.append(f"{identity} was discarded and is there")
        elif last == "keeping" and here is not None:
            judged = store.get(identity).meta
            whole = here == rows and judged.success and not judged.extra.get("incomplete")
            if not (whole or judged.extra.get("incomplete")):
                wrong.append(f"{identity} was being kept; it has {here} of {rows} rows and is not marked so")
        if last in ("rows", "keeping") and rows:
            safe = max((count for when, count in take["rows"] if when < at - LOST_SECONDS), default=0)
            if (here or 0) < safe - 1:
                wrong.append(f"{identity}: {here} rows are there, {safe} were given {LOST_SECONDS} s before the end")
            if here is not None and last == "rows" and not store.get(identity).meta.extra.get("incomplete"):
                wrong.append(f"{identity} is not marked incomplete")
            given = [when for when, count in take["rows"] if count > (here or 0)]
            lost = at - given[0] if given else 0.0
    if strange := found.keys() - takes.keys() - before:
        wrong.append(f"nobody knows {strange}")
    if missing := before - found.keys():
        wrong.append(f"{missing} are gone")
    return wrong, during, lost


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", nargs="?", type=int, default=KILLS)
    kills = parser.parse_args().kills
    from recording_killed import setup

    from bench.killed import read_by_lerobot
    from collectors.recorder import Recorder

    rng, during, wrong = random.Random(1), Counter[str](), list[str]()
    losses: list[float] = []
    frames = recovered = kept = 0
    with tempfile.TemporaryDirectory() as name:
        root, cache = Path(name) / "store", Path(name) / "cache"
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(cache)}
        import datasets

        datasets.config.HF_DATASETS_CACHE = cache
        datasets.disable_progress_bars()
        before: set[str] = set()
        for kill in track(range(kills), total=kills, what="kills"):
            said, at = killed(root, kill, rng.uniform(0, LONGEST))
            with Recorder(root, setup()) as recorder:
                recovered += sum(found.index is not None for found in recorder.recovered)
                unsalvaged = [r.words for r in recorder.recovered if r.index is None and "first row" not in r.words]
            store = Store.open(root)
            problems, what, lost = wrongs(store, before, said, at)
            during[what] += 1
            losses += [lost] if what in ("rows", "keeping") else []
            kept += sum(line["what"] == "kept" for line in said)
            report = store.verify(deep=True)
            wrong += [f"kill {kill} in {what}: {problem}" for problem in (*problems, *unsalvaged)]
            wrong += [] if report.ok else [f"kill {kill} in {what}: {report}"]
            if journals := list((root / ".dataengine" / "journal").rglob("*.*")):
                wrong.append(f"kill {kill} in {what}: {journals[0].name} stays")
            if len(store) and (kill % LEROBOT_EVERY == 0 or kill == kills - 1 or len(store) > MOST_EPISODES):
                frames += read_by_lerobot(root, cache)
            if len(store) > MOST_EPISODES:
                Edit(store).delete([f"0-{len(store) - 4}"]).commit()
                store.reload()
            before = set(store.ids)
            if wrong:
                break
        shutil.rmtree(root, ignore_errors=True)
    losses.sort()
    figures = {
        "kills": kill + 1,
        "wrong": wrong,
        "takes_kept": kept,
        "takes_salvaged": recovered,
        "seconds_lost_median": round(losses[len(losses) // 2], 3) if losses else None,
        "seconds_lost_most": round(losses[-1], 3) if losses else None,
        "killed_during": dict(during.most_common()),
        "frames_read_by_lerobot": frames,
    }
    if kills >= KILLS:
        record("recording_killed", figures, met=not wrong)
    else:
        print(json.dumps(figures))
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
