"""A recorder that is killed (SIGKILL) at any instant: run as a program, it records one take after the other for ever.

    python recording_killed.py STORE SEED

says a line of JSON for everything that is true from then on: how many rows of which take have been given (`rows`, with
the time), that a take is about to be kept (`keeping`) and is kept (`kept`), or is discarded.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from faulty_robot import FaultyRobot  # noqa: E402
from recording_made import setup_of, ticks  # noqa: E402

from collectors.recorder import Recorder, Setup  # noqa: E402

CAMERAS = {"front": (64, 64), "wrist": (48, 48)}


def robot() -> FaultyRobot:
    return FaultyRobot(cameras=CAMERAS, joints=3)


def setup() -> Setup:
    return setup_of(robot())


def say(what: str, take: str, **more: Any) -> None:
    print(json.dumps({"what": what, "take": take, "at": time.monotonic(), **more}), flush=True)


def main(root: Path, seed: int) -> None:
    rng = random.Random(seed)
    with Recorder(root, setup()) as recorder:
        say("recovered", "", ids=[found.identity for found in recorder.recovered if found.index is not None])
        while True:
            take, length = recorder.start("pick"), rng.randrange(5, 90)
            for tick in ticks(robot(), length):
                take.add(tick)
                say("rows", take.head.identity, rows=take.rows)
                time.sleep(1 / 120)  # four times as fast as life
            if rng.random() < 0.2:
                say("discarding", take.head.identity)
                take.discard()
                say("discarded", take.head.identity)
            else:
                say("keeping", take.head.identity, rows=take.rows)
                take.keep(success=True)
                say("kept", take.head.identity, rows=take.rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
