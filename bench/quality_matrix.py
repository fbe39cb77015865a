"""How many faults the quality checks find, and whether they leave untouched data alone: data set × fault × places.

For every real set (and demonstrations of the embedded world) every fault of `tests/faults.py` is put into a random
episode at a random place, 20 times; the set is learned *with* the faulty episode in it, and all its episodes are
judged. A cell is `unknown` where the set cannot show the fault: the checks say "not assessed" there, on the clean
set too.

Thresholds: the shipped ones, and beside them thresholds fixed without the set in question, on all sets that do not
share its rollouts: for each check a quarter above the largest value on their untouched episodes, and at least a
third of what nine of ten of their faults give. Targets, with both: recall at least 90 % in every
cell, and no objective finding on any untouched episode.

`python -m bench.quality_matrix [set …]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from annotators.quality import CHECKS, Verdict, assess, learn, measure
from bench.results import DATA, record
from converters.base import detect
from dataengine.episode import Episode

# The faults live with the tests, which are no package.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fault_places import robust_scales

from faults import FAULTS, with_clock

PLACES = 20
RECALL = 0.9
# By name: where it lies, and which sets share its rollouts, so that none of them fixes its thresholds.
SETS = {
    "lerobot_v20": ("lerobot_v20", "aloha"),
    "lerobot_v21": ("lerobot_v21", "aloha"),
    "lerobot_v30": ("lerobot_v30_depth_language", "aloha"),
    "aloha_raw": ("aloha_act_hdf5/raw_sim_transfer_cube_scripted", "aloha"),
    "aloha_jpeg": ("aloha_act_hdf5/sim_transfer_cube_scripted_compressed", "aloha"),
    "mobile_aloha": ("aloha_act_hdf5/mobile_aloha", "aloha"),
    "unitree_g1": ("lerobot_v21_g1", "unitree_g1"),
    "groot": ("groot_lerobot/robot_sim.PickNPlace", "groot"),
    "robosuite": ("robomimic_hdf5/demo_robosuite.hdf5", "robomimic"),
    "robomimic_demo": ("robomimic_hdf5/demo.hdf5", "robomimic"),
    "robomimic_low_dim": ("robomimic_hdf5/low_dim.hdf5", "robomimic"),
    "robomimic_image": ("robomimic_hdf5/image.hdf5", "robomimic"),
    "robomimic_depth": ("robomimic_hdf5/image_depth_n1.hdf5", "robomimic"),
    "umi": ("umi_zarr/dataset.zarr.zip", "pusht"),
    "pusht": ("umi_zarr/pusht_replay.zarr", "pusht"),
    "tabletop": (None, "tabletop"),
}
# Formats that store a time for every row: a fault of the clock shows in what a converter gives.
CLOCKED = ("lerobot_v20", "lerobot_v21", "lerobot_v30", "unitree_g1", "groot")


@dataclass
class Cell:
    """The outcome of one fault in one set. values: of each accepted check, one for every place."""

    values: dict[str, list[float]] = field(default_factory=dict)
    found: int = 0
    missed: int = 0
    unknown: set[str] = field(default_factory=set)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def places(self) -> int:
        return self.found + self.missed

    @property
    def known(self) -> bool:
        return self.places > 0


def load(name: str) -> list[Episode]:
    if name == "tabletop":
        from collectors.expert import ExpertCollector

        tasks = ("pick_red", "pick_blue", "place_red", "place_blue")
        return list(ExpertCollector(episodes=32, tasks=tasks).collect())
    path = DATA / str(SETS[name][0])
    converter = detect(path)
    plan = converter.plan(path)
    episodes = [converter.read(plan, ref) for ref in plan.episodes if ref.problem is None]
    return [with_clock(e) for e in episodes] if name in CLOCKED else episodes


def clean_values(episodes: Sequence[Episode], measures: Sequence[dict[str, Any]]) -> tuple[dict[str, float], list[str]]:
    """Every check's largest value on untouched episodes, and what it objected to."""
    reference = learn(measures)
    largest = {check.name: 0.0 for check in CHECKS if check.objective}
    alarms = []
    for episode in episodes:
        for name, verdict in assess(episode, reference).items():
            if name in largest:
                largest[name] = max(largest[name], verdict.worst or 0.0)
                alarms += [f"{name}: {f.reason}, frame {f.start}" for f in verdict.findings]
    return largest, alarms


def cell(
    name: str, episodes: Sequence[Episode], measures: Sequence[dict[str, Any]], fault: str, clean: dict[str, Verdict]
) -> Cell:
    inject, accepted = FAULTS[fault]
    result = Cell({check: [] for check in accepted})
    # Where the clean set cannot be assessed, nothing can be missed; faults that show all the same are not counted.
    primary = clean[accepted[0]]
    if primary.worst is None and primary.unknown:
        result.unknown.add(primary.unknown)
        return result
    rng = np.random.default_rng([*name.encode(), *fault.encode()])
    scales = robust_scales(episodes)
    for _ in range(30 * PLACES):
        if result.places == PLACES:
            break
        at = int(rng.integers(len(episodes)))
        injected = inject(episodes[at], rng, scales)
        if injected is None:
            continue
        seen = list(measures)
        seen[at] = measure(injected.episode)
        target = injected.episode
        if injected.extra is not None:
            seen.append(measure(injected.extra))
            target = injected.extra
        reference = learn(seen)
        verdicts = assess(target, reference)
        reasons = {verdicts[c].unknown for c in accepted if verdicts[c].worst is None}
        if fault == "empty_task" and reasons - {None}:
            result.unknown |= {r for r in reasons if r}
            return result
        for check in accepted:
            result.values[check].append(verdicts[check].worst or 0.0)
        hit = any(verdicts[check].findings for check in accepted)
        result.found += hit
        result.missed += not hit
        other = (at + 1) % len(episodes)
        if other != at:
            judged = assess(episodes[other], reference)
            result.elsewhere += [f.reason for v in judged.values() for f in v.findings if f.objective]
    if not result.places:
        result.unknown.add(_why_never(fault))
    return result


def _why_never(fault: str) -> str:
    return {
        "frozen_state": "there is no state",
        "frozen_rows": "there is no state",
        "dead_sensor": "no command belongs to a sensor",
        "extra_lag": "action and state are not both there",
        "frozen_camera": "there is no camera",
        "black_camera": "there is no camera",
        "swapped_cameras": "there are no two cameras of one shape",
    }.get(fault, "no place in the set can have it")


def fixed_elsewhere(
    name: str, clean: dict[str, dict[str, float]], cells: dict[str, dict[str, Cell]]
) -> dict[str, float]:
    """Thresholds from all sets of other families; a check none of them shows keeps the shipped one."""
    others = [other for other in clean if SETS[other][1] != SETS[name][1]]
    thresholds = {}
    for check in (c for c in CHECKS if c.objective):
        untouched = max((clean[o][check.name] for o in others), default=0.0)
        faulty = [
            value
            for other in others
            for fault, (_, accepted) in FAULTS.items()
            if accepted[0] == check.name
            for value in cells[other][fault].values.get(check.name, [])
        ]
        if not faulty:
            thresholds[check.name] = check.threshold
            continue
        thresholds[check.name] = max(1.25 * untouched, float(np.percentile(faulty, 10)) / 3)
    return thresholds


def recall_with(cell: Cell, thresholds: dict[str, float]) -> float | None:
    if not cell.known:
        return None
    hits = [
        any(values[place] >= thresholds[check] for check, values in cell.values.items()) for place in range(cell.places)
    ]
    return round(float(np.mean(hits)), 3)


def main(say: Callable[[str], None] = print) -> None:
    names = sys.argv[1:] or list(SETS)
    clean: dict[str, dict[str, float]] = {}
    cells: dict[str, dict[str, Cell]] = {}
    alarms: dict[str, list[str]] = {}
    for name in names:
        begin = time.monotonic()
        episodes = load(name)
        measures = [measure(e) for e in episodes]
        clean[name], alarms[name] = clean_values(episodes, measures)
        first = assess(episodes[0], learn(measures))
        cells[name] = {fault: cell(name, episodes, measures, fault, first) for fault in FAULTS}
        line = {f: f"{c.found}/{c.places}" if c.known else "unknown" for f, c in cells[name].items()}
        say(f"{name} {time.monotonic() - begin:.0f} s, {len(episodes)} episodes, alarms {alarms[name]}, {line}")
    report(names, clean, cells, alarms)


def report(
    names: list[str],
    clean: dict[str, dict[str, float]],
    cells: dict[str, dict[str, Cell]],
    alarms: dict[str, list[str]],
) -> None:
    matrix: dict[str, Any] = {}
    alarms_elsewhere: dict[str, list[str]] = {}
    below: list[str] = []
    thresholds: dict[str, dict[str, float]] = {}
    for name in names:
        thresholds[name] = fixed_elsewhere(name, clean, cells)
        alarms_elsewhere[name] = [c for c, value in clean[name].items() if value >= thresholds[name][c] and value > 0]
        matrix[name] = {}
        for fault, found in cells[name].items():
            if not found.known:
                matrix[name][fault] = {"unknown": sorted(found.unknown)}
                continue
            shipped, fixed = round(found.found / found.places, 3), recall_with(found, thresholds[name])
            matrix[name][fault] = {
                "places": found.places,
                "recall": shipped,
                "recall_thresholds_from_other_sets": fixed,
                "alarms_on_another_episode": found.elsewhere,
            }
            if shipped < RECALL or fixed is None or fixed < RECALL:
                below.append(f"{name} {fault}: {shipped}, {fixed}")
    known = [c for faults in cells.values() for c in faults.values() if c.known]
    figures = {
        "cells": len(known),
        "cells_unknown": sum(len(f) for f in cells.values()) - len(known),
        "places": sum(c.places for c in known),
        "recall": round(sum(c.found for c in known) / max(sum(c.places for c in known), 1), 4),
        "cells_below_90_percent": below,
        "alarms_on_untouched": {n: a for n, a in alarms.items() if a},
        "alarms_on_untouched_thresholds_from_other_sets": {n: a for n, a in alarms_elsewhere.items() if a},
        "alarms_on_another_episode_of_a_faulty_set": sum(len(c.elsewhere) for c in known),
        "matrix": matrix,
        "largest_clean_values": {n: {k: round(v, 3) for k, v in clean[n].items()} for n in names},
        "thresholds_shipped": {c.name: c.threshold for c in CHECKS if c.objective},
        "thresholds_from_other_sets": {n: {k: round(v, 3) for k, v in t.items()} for n, t in thresholds.items()},
    }
    met = not below and not any(alarms.values()) and not any(alarms_elsewhere.values())
    record("quality", figures, met=met, module="quality_matrix")


if __name__ == "__main__":
    main()
