"""A hundred sessions with an arm and a camera that fail: late, stuck, NaN, gone, silent, another shape, a wild clock,
and recorded for real: is anything that was committed lost or unmarked, and is the arm held within 250 ms?

Time is turned by hand, so that a session takes a second; recorder, journal, encoder and store are the real ones. Every
kept episode is read back from the store: its rows are those the session gave, a fault in its time stands in its marks.

`python -m bench.faulty_sessions [sessions]`; a hundred without.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from faulty_robot import Fault, Kind
from teleop_rig import Rig, Told, TurnedArm, TurnedClock

from bench.results import record
from collectors.recorder import Recorder, Setup
from collectors.teleop.plan import Plan
from dataengine.store import Store

SESSIONS, HELD = 100, 0.25
KINDS: tuple[Kind, ...] = (
    "late",
    "stuck",
    "nan",
    "shape",
    "gone",
    "silent",
    "clock_back",
    "clock_ahead",
    "clock_stuck",
)
# These end an episode at once; a camera that shows nothing new is given a second, its rows are marked meanwhile.
ENDING = {"state": ("nan", "shape", "gone", "silent"), "front": ("shape",)}
STATE = "observation.state"


def fault_of(rng: np.random.Generator, call: int) -> Fault:
    """One of any kind, of body or camera, for a while."""
    kind = KINDS[rng.integers(len(KINDS))]
    what = STATE if rng.random() < 0.6 or kind == "gone" else "front"
    lasts = int(rng.integers(1, 50)) if kind != "late" else 1
    amount = float(rng.uniform(0.3, 3.0)) if kind == "late" else float(rng.uniform(0.2, 60.0))
    return Fault(kind, what, call, call + lasts, amount)


class Held:
    """How long the arm went on being told to move after it could no longer be seen, worst of all [s].

    Silence begins when a call to sense does not come back, or comes back with a fault that ends an episode."""

    def __init__(self, arm: TurnedArm) -> None:
        self.arm, self.worst = arm, 0.0
        observe = arm.observe

        def watched() -> Any:
            began, calls = arm.turned.now(), arm.calls
            bad = any(fault.kind in ENDING[fault.what.rsplit(".")[-1]] and fault.holds(calls) for fault in arm.faults)
            try:
                return observe()
            finally:
                if arm.turned.now() - began > HELD or (bad and arm.acted and began - arm.acted[-1][0] < 0.1):
                    self.pending = min(self.pending, began)

        self.pending = np.inf
        arm.observe = watched  # type: ignore[method-assign]

    def look(self) -> None:
        """After a tick: settle what is open."""
        if np.isfinite(self.pending):
            after = [when for when in self.arm.held if when >= self.pending - 1e-9]
            if after:
                self.worst = max(self.worst, after[0] - self.pending)
                self.pending = np.inf


def session(seed: int, folder: Path) -> dict[str, Any]:
    """One session of three episodes or so; what it lost, left unmarked, and how late the arm was held."""
    rng = np.random.default_rng(seed)
    clock = TurnedClock()
    faults = tuple(fault_of(rng, int(call)) for call in np.sort(rng.integers(20, 400, rng.integers(1, 5))))
    arm = TurnedArm(turned=clock, cameras={"front": (32, 48)}, faults=faults, seed=seed)
    told = Told(lambda now: 0.4 * np.sin(1.5 * now + np.arange(arm.joints)))
    setup = Setup(30.0, arm.features, actors=("told",), embodiment="test arm")
    given: list[dict[str, Any]] = []
    with Recorder(folder, setup) as recorder:
        plan = Plan(instruction="wave", target=99, reset_seconds=0.2, seconds=3.0, alone=True)
        rig = Rig(arm, told, plan, recorder, clock)
        rig.session.desk.checks = False
        _note(rig, given)
        held = Held(arm)
        end = clock.now() + 16.0
        while clock.now() < end:
            rig.session.tick(rig.metronome.wait())
            held.look()
        rig.session.end()
        rig.run(0.2)
        rig.session.close()
    kept = [one for one in given if one["index"] is not None]
    read = list(Store.open(folder).episodes())
    lost = abs(len(kept) - len(read))
    unmarked = 0
    for one, episode in zip(kept, read, strict=False):
        ticked = ~episode.frames["collect.filled"]
        lost += abs(int(ticked.sum()) - one["rows"])
        lost += int(not np.array_equal(episode.frames["action"][ticked], one["actions"]))
        unmarked += int(int(episode.frames["collect.missed"].sum()) != one["missed"])
        unmarked += int(bool(one["why"]) != bool(episode.meta.extra.get("incomplete")))
        unmarked += int(bool(one["why"]) and not episode.meta.extra.get("flagged"))
    return {"faults": [fault.kind for fault in faults], "kept": len(kept), "lost": lost, "unmarked": unmarked,
            "held_ms": round(1000 * held.worst, 1), "cut_short": sum(bool(one["why"]) for one in kept)}  # fmt: skip


def _note(rig: Rig, given: list[dict[str, Any]]) -> None:
    """Write down what the recorder is given, and what it says of it."""
    recorder = rig.recorder
    start = recorder.start

    def started(task: str, extra: Any = None) -> Any:
        take = start(task, extra)
        add, keep, one = take.add, take.keep, {"index": None, "rows": 0, "missed": 0, "actions": [], "why": ""}

        def adding(tick: Any) -> None:
            add(tick)
            one["rows"] += 1
            one["missed"] += tick.missed
            one["actions"].append(np.asarray(tick.action, np.float32))

        def keeping(**said: Any) -> int:
            one["index"] = keep(**said)
            one["why"] = take.stopped or ""
            given.append(one)
            return one["index"]

        take.add, take.keep = adding, keeping
        return take

    recorder.start = started


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS
    warnings.simplefilter("ignore")
    found = []
    for seed in range(count):
        with tempfile.TemporaryDirectory(prefix="faulty-") as folder:
            found.append(session(seed, Path(folder) / "store"))
    kinds = [kind for one in found for kind in one["faults"]]
    figures = {
        "sessions": count,
        "faults": {kind: kinds.count(kind) for kind in KINDS},
        "episodes_kept": sum(one["kept"] for one in found),
        "cut_short_and_marked": sum(one["cut_short"] for one in found),
        "lost": sum(one["lost"] for one in found),
        "unmarked": sum(one["unmarked"] for one in found),
        "held_ms_worst": max(one["held_ms"] for one in found),
    }
    met = not figures["lost"] and not figures["unmarked"] and figures["held_ms_worst"] <= 1000 * HELD
    record("faulty_sessions", figures, met=met)


if __name__ == "__main__":
    main()
