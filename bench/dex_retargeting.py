"""Against dex-retargeting, AnyTeleop's program, on the same hands and landmarks: who comes nearer, and how fast?

`python -m bench.dex_retargeting [--peer PYTHON]`. The peer is a Python that has dex-retargeting 0.5, also by
`DATAENGINE_DEX_RETARGETING`, else this one; without it nothing is measured and nothing written. It runs in a child
process on the same URDF files (`bench.robot_hand_urdf`; its own hands are in no wheel), scales, objectives and
constants. Landmarks: a person's hand in MuJoCo, known exactly, and the hand that the peer's own example shows, as
another program tracked it.

*The same problems*: every frame from the peer's last solution, so that both minimise the same function (but that the
peer may go 0.001 rad beyond a joint's limit). *Each its own
way*: a clip from the same start, each from its own last solution. Values are the peer's own function at both solutions;
its value leaves the pull to the last solution out that its derivative has, so that it is added here as AnyTeleop has it
(Qin et al. 2023). *As it comes*: the second, with this engine's speeds and its pull to the middle of the ranges.

Targets: values of the same problems and each its own way within 2 % of the peer's, summed over all frames; at most
the peer's time per frame. Times are CPU times of one thread, measured by turns; the median of the ratios is told.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import robot_hand_urdf
from bench.results import DATA, record
from bench.robot_hand_urdf import DIRECTIONS, Hand
from dataengine import hands
from dataengine.sim.human_hand import MOTIONS, HumanHand
from pipelines.retarget.dexterous import DexterousHand
from pipelines.retarget.dexterous_config import HandConfig

PEER = "DATAENGINE_DEX_RETARGETING"
SCRIPT = Path(__file__).with_name("dex_retargeting_peer.py")
RECORDED = DATA / "hands" / "dexretargeting_human_joint_right.pkl"
OBJECTIVES = ("vector", "position", "dexpilot")
WITHIN, FPS = 1.02, 30.0
HANDS = {"four": robot_hand_urdf.four, "five": robot_hand_urdf.five}
SAME = {"ease": 0.0, "speed": 1e3}  # what the peer does not have, left out
# From the axes of a human palm to those of the hands' files.
_Y, _Z = (np.array(DIRECTIONS[way]) for way in ("fingers", "out"))
AXES = np.stack([np.cross(_Y, _Z), _Y, _Z], 1)


class Clip(NamedTuple):
    """points: `(T, 21, 3)` from the wrist in the palm's frame [m]."""

    name: str
    points: np.ndarray


class Found(NamedTuple):
    """Of a clip. Values `(T,)` by the peer's function, ours and theirs: fits without the pull to the last solution,
    wholes with it; same: of the same problems; shipped: ours as it comes. seconds: `(rounds, 2)` a frame."""

    fits: np.ndarray
    wholes: np.ndarray
    same: np.ndarray
    shipped: np.ndarray
    seconds: np.ndarray


class Peer:
    """The child process."""

    def __init__(self, python: str, folder: Path) -> None:
        self.folder = folder
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment = {**os.environ, **threads, "TMPDIR": str(folder)}  # it leaves folders behind
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([python, str(SCRIPT)], env=environment, **pipes)

    def ask(self, do: str, arrays: Mapping[str, np.ndarray] | None = None, **task: Any) -> dict[str, Any]:
        """What it replies, and the arrays it wrote."""
        given, found = self.folder / "given.npz", self.folder / "found.npz"
        found.unlink(missing_ok=True)
        np.savez(given, **(arrays or {}))
        line = json.dumps({"do": do, "in": str(given), "out": str(found), **task})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            sys.exit(f"the process with dex-retargeting ended with {self.process.wait()}; what it said stands above")
        return {**json.loads(reply), **(np.load(found, allow_pickle=False) if found.is_file() else {})}

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", default=os.environ.get(PEER))
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if given.peer is None and importlib.util.find_spec("dex_retargeting") is None:
        print(f"dex_retargeting: skipped, it is not installed here; {PEER} may name a Python that has it", flush=True)
        return
    clips = [*_made(given.people, given.frames), *_recorded()]
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(given.peer or sys.executable, Path(folder))
        version = peer.ask("version")["version"]
        figures: dict[str, Any] = {
            name: {what: compared(peer, make(), what, clips, given.rounds) for what in OBJECTIVES}
            for name, make in HANDS.items()
        }
        peer.close()
    every = [one for hand in figures.values() for one in hand.values()]
    met = {
        "same_problems": all(one["same_problems"]["ours_over_theirs"] <= WITHIN for one in every),
        "each_its_own_way": all(one["each_its_own_way"]["whole_ours_over_theirs"] <= WITHIN for one in every),
        "time": all(one["time_ours_over_theirs"] <= 1 for one in every),
    }
    sizes = {clip.name: len(clip.points) for clip in clips}
    told = {"peer": version, "met": met, "clips": sizes, "rounds": given.rounds}
    record("dex_retargeting", {**told, **figures}, met=all(met.values()))


def compared(peer: Peer, hand: Hand, objective: str, clips: list[Clip], rounds: int) -> dict[str, Any]:
    file = peer.folder / "hand.urdf"
    file.write_text(robot_hand_urdf.urdf(hand))
    found = [_clip(peer, hand, file, objective, clip, rounds) for clip in clips]
    fits, wholes, same, shipped = (
        np.concatenate([getattr(one, what) for one in found], -1) for what in ("fits", "wholes", "same", "shipped")
    )
    ours, theirs = np.concatenate([one.seconds for one in found]).T
    worse = same[0] > WITHIN * same[1] + 1e-6
    return {
        "kinematics_differ_by_m": _kinematics(peer, hand, file),
        "same_problems": {
            "ours_over_theirs": _ratio(same),
            "theirs": _mean(same[1]),
            "frames_where_ours_is_2_percent_worse": round(float(worse.mean()), 4),
            "where_theirs_is": round(float((same[1] > WITHIN * same[0] + 1e-6).mean()), 4),
            "by_clip": {clip.name: _ratio(one.same) for clip, one in zip(clips, found, strict=True)},
        },
        "each_its_own_way": {
            "whole_ours_over_theirs": _ratio(wholes),
            "fit_ours_over_theirs": _ratio(fits),
            "theirs": _mean(wholes[1]),
            "by_clip": {clip.name: _ratio(one.wholes) for clip, one in zip(clips, found, strict=True)},
        },
        "as_it_comes": {"fit_ours_over_theirs": _ratio(np.stack([shipped, fits[1]]))},
        "time_ours_over_theirs": round(float(np.median(ours / theirs)), 4),
        "time_worst_clip": round(float((ours / theirs).max()), 4),
    }


def _clip(peer: Peer, hand: Hand, file: Path, objective: str, clip: Clip, rounds: int) -> Found:
    config = HandConfig(str(file), "palm", hand.tips, **DIRECTIONS, objective=objective)
    rotation = np.tile(np.eye(3), (len(clip.points), 1, 1))
    scale = DexterousHand(config).scale(clip.points)
    robot, usual = (DexterousHand(replace(config, scale=scale, **more)) for more in (SAME, {}))
    model = robot.model
    made = peer.ask("make", config=_described(hand, file, objective, scale))
    order = [model.free_names.index(name) for name in made["joints"]]  # ours, in the peer's order
    wanted = _wanted(clip.points[:, [*config.landmarks]] @ AXES.T, objective, scale).astype(np.float32)
    start = model.middle
    seconds = np.empty((rounds, 2))
    for number in range(rounds):
        for who in (0, 1) if number % 2 else (1, 0):
            if who:
                done = peer.ask("follow", {"wanted": wanted, "start": start[order]})
                seconds[number, 1] = done["seconds"].mean()
            else:
                begin = time.thread_time()
                mine = robot.retarget(clip.points, rotation, fps=FPS, start=model.joints(start))
                seconds[number, 0] = (time.thread_time() - begin) / len(wanted)
    theirs = np.empty((len(wanted), len(order)))
    theirs[:, order] = done["joints"]
    ours = model.free(mine.joints)
    lasts = [np.concatenate([start[None], way[:-1]]) for way in (ours, np.clip(theirs, model.lower, model.upper))]
    forced = _same_problems(robot, clip.points, lasts[1])
    shipped = usual.model.free(usual.retarget(clip.points, rotation, fps=FPS, start=model.joints(start)).joints)
    joints = np.stack([ours, theirs, forced, shipped])
    values = peer.ask("values", {"wanted": wanted, "joints": joints[:, :, order]})["values"]
    pulls = made["keep"] * np.stack(
        [((way - last) ** 2).sum(1) for way, last in ((ours, lasts[0]), (theirs, lasts[1]), (forced, lasts[1]))]
    )
    wholes = values[:3] + pulls
    return Found(values[:2], wholes[:2], wholes[[2, 1]], values[3], seconds)


def _same_problems(robot: DexterousHand, points: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    """Ours of every frame from somebody's last solution, `(T, N)`."""
    _, terms = robot.aims(points)
    anywhere = np.full(lasts.shape[1], np.inf)
    changed = [False, *(terms.weight[1:] != terms.weight[:-1]).any(1)]
    return np.array([robot._next(terms, t, last, anywhere, changed[t])[0].x for t, last in enumerate(lasts)])


def _described(hand: Hand, file: Path, objective: str, scale: float) -> dict[str, Any]:
    """As the peer's files describe a hand. No filter; a position is scaled before it is given."""
    tips, count = list(hands.TIPS[: len(hand.tips)]), len(hand.tips)
    common = {
        "type": objective,
        "urdf_path": str(file),
        "target_joint_names": list(hand.free),
        "low_pass_alpha": 1.0,
        "scaling_factor": scale,
    }
    if objective == "dexpilot":
        return {**common, "wrist_link_name": "palm", "finger_tip_link_names": list(hand.tips)}
    if objective == "position":
        return {**common, "target_link_names": list(hand.tips), "target_link_human_indices": tips}
    ends = {"target_origin_link_names": ["palm"] * count, "target_task_link_names": list(hand.tips)}
    return {**common, **ends, "target_link_human_indices": [[0] * count, tips]}


def _wanted(tips: np.ndarray, objective: str, scale: float) -> np.ndarray:
    """What the peer is given of fingertips `(T, P, 3)` from the wrist."""
    if objective == "position":
        return scale * tips
    if objective == "vector":
        return tips
    between = [tips[:, one] - tips[:, other] for one, other in combinations(range(tips.shape[1]), 2)]
    return np.concatenate([np.stack(between, 1), tips], 1)


def _kinematics(peer: Peer, hand: Hand, file: Path) -> float:
    """Farthest that both have a fingertip apart, over the joints' ranges."""
    model = DexterousHand(HandConfig(str(file), "palm", hand.tips, **DIRECTIONS)).model
    joints = np.random.default_rng(0).uniform(model.lower, model.upper, (50, len(model.lower)))
    made = peer.ask("make", config=_described(hand, file, "vector", 1.0))
    order = [model.free_names.index(name) for name in made["joints"]]
    theirs = peer.ask("tips", {"joints": joints[:, order]}, links=list(hand.tips))["tips"]
    ours = np.array([model.points(row) for row in joints]) @ AXES.T
    return float(f"{np.abs(ours - theirs).max():.2g}")


# -- clips -------------------------------------------------------------------------------------------------------


def _made(people: int, frames: int) -> list[Clip]:
    clips = []
    for person in range(people):
        human = HumanHand(person=person)
        clips += [Clip(f"{kind} {person}", human.pose(human.move(kind, person, frames).angles)) for kind in MOTIONS]
    return clips


def _recorded() -> list[Clip]:
    """The hand of the peer's example; nothing where the file is not there."""
    if not RECORDED.is_file():
        return []
    from bench.hands_real import _Arrays

    with RECORDED.open("rb") as file:
        points = np.array(_Arrays(file).load(), float)
    turn = hands.palm_rotation(points, right=True)
    return [Clip("recorded", (points - points[:, :1]) @ turn)]


def _ratio(values: np.ndarray) -> float:
    return round(float(values[0].sum() / values[1].sum()), 4)


def _mean(values: np.ndarray) -> float:
    return float(f"{values.mean():.4g}")


if __name__ == "__main__":
    main()
