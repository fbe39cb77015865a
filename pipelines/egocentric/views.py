"""What the report of hands draws of one episode: spans, the wrist's path, and everything over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from dataengine import hands
from dataengine.episode import Episode
from dataengine.runs import runs
from pipelines.egocentric import trust
from pipelines.egocentric.curves import Curve, Panel, lanes, panels, path
from pipelines.egocentric.smoothness import FASTER, speeds
from pipelines.egocentric.told import Told, levels, place_of, retargeted, step_of
from pipelines.retarget.cuts import CUTS
from pipelines.retarget.gripper import pinch
from pipelines.retarget.placing import camera_poses

KINDS = {"shortest": "light", "jump": "light"}  # cuts whose frames are not bad themselves
STATES = {hands.SEEN: "seen", hands.FILLED: "bridged"}
MOST_SPANS = 400  # in a lane


def sides_of(episode: Episode) -> list[str]:
    """Hands that the episode shows."""
    return [side for side in hands.SIDES if trust.there_of(episode, side).any()]


def paths(episode: Episode) -> list[Markup]:
    """The wrist's way as the camera sees it and from above; or, where the camera's pose is known, in its world."""
    ways = {side: trust.wrist_path(episode, side)[0][trust.there_of(episode, side)] for side in sides_of(episode)}
    if camera_poses(episode) is not None:
        return [path(ways, (0, 1), ("x", "y"), False), path(ways, (0, 2), ("x", "z"), False)]
    return [
        path(ways, (0, 1), ("as the camera sees it", "x, y"), True),
        path(ways, (0, 2), ("from above", "x, z"), False),
    ]


def spans(episode: Episode, reached: Mapping[str, np.ndarray] | None = None) -> Markup:
    """When a hand is there, what was cut out before and after, and which part of it all this episode is. reached: by
    side, `(T,)` bool, what the embedded world's arm could follow."""
    start, stop = place_of(episode)
    cuts = trust.cuts_of(episode)
    end = max([stop, *(cut["stop"] for cut in cuts)])
    rows: list[tuple[str, list[tuple[int, int, str, str]]]] = []
    if retargeted(episode) is not None or CUTS in episode.labels:
        rows.append(("this episode", [(start, stop, "kept", f"frames {start} to {stop}")]))
    for side in sides_of(episode):
        tracked = np.asarray(episode.frames[hands.column(side, "tracked")])
        found = [
            (start + a, start + b, f"{side} {name}", f"{side} hand {name}")
            for state, name in STATES.items()
            for a, b in runs(tracked == state)[:MOST_SPANS]
        ]
        rows.append((f"{side} hand", found))
    for side in sides_of(episode):
        if grasps := trust.grasps_of(episode, side)[:MOST_SPANS]:
            rows.append((f"{side} carries", [_carried(one, side, start) for one in grasps]))
    for side, each in (reached or {}).items():
        words = f"{side} hand out of reach in the embedded world"
        rows.append(
            ("world: no reach", [(start + a, start + b, "cut light", words) for a, b in runs(~each)[:MOST_SPANS]])
        )
    for reason in trust.lost_by_reason(cuts):
        mine = [cut for cut in cuts if str(cut["reason"]) == reason][:MOST_SPANS]
        kind = f"cut {KINDS.get(reason, '')}"
        rows.append((reason[:16], [(cut["start"], cut["stop"], kind, _said(cut)) for cut in mine]))
    return lanes(rows, 0, end, episode.fps)


def over_time(episode: Episode, told: dict[str, Told], limits: dict[str, float | None]) -> Markup:
    """limits: thresholds that were asked for, in the units of the panels: place [mm], rotation [degrees], and what may
    be left over, arm [mm], fingertips [mm]."""
    found = [
        *_places(episode),
        *_unsure(episode, limits),
        *_fingers(episode, told),
        *_speed(episode),
        *_left(episode, limits),
    ]
    return panels(found, episode.length, episode.fps)


def _places(episode: Episode) -> list[Panel]:
    placed = camera_poses(episode) is not None
    names = ("x", "y", "z") if placed else ("x, right", "y, down", "z, forward")
    ways = {side: trust.wrist_path(episode, side) for side in sides_of(episode)}
    return [
        Panel(
            (names[axis], "wrist ± σ, mm"),
            [
                Curve(1e3 * way[:, axis], trust.there_of(episode, side), side, 1e3 * sigma[:, axis])
                for side, (way, sigma) in ways.items()
            ],
        )
        for axis in range(3)
    ]


def _unsure(episode: Episode, limits: dict[str, float | None]) -> list[Panel]:
    found = []
    for column, (name, unit, times) in enumerate((("place", "σ, mm", 1e3), ("rotation", "σ, degrees", 180 / np.pi))):
        curves = [
            Curve(times * trust.sigma_of(episode, side)[:, column], trust.there_of(episode, side), side)
            for side in sides_of(episode)
        ]
        limit = limits.get(name)
        found.append(Panel((name, unit), curves, levels=[] if limit is None else [limit], low=0.0, high=limit))
    return found


def _fingers(episode: Episode, told: dict[str, Told]) -> list[Panel]:
    """Thumb to index finger, and where there is one what the gripper makes of it; shaded where it is closed."""
    apart = [
        Curve(
            1e3 * pinch(np.asarray(episode.frames[hands.column(side, "landmarks")], np.float64)),
            trust.there_of(episode, side),
            side,
        )
        for side in sides_of(episode)
    ]
    closed = [
        (start, stop, f"{side} closed", f"{side} gripper closed")
        for side, each in told.items()
        if each.closed is not None
        for start, stop in runs(each.closed)[:MOST_SPANS]
    ]
    found = [Panel(("pinch", "tips apart, mm"), apart, closed, low=0.0)]
    whole = np.ones(episode.length, bool)
    openings = [Curve(each.opening, whole, side) for side, each in told.items() if each.opening is not None]
    if openings:
        step = step_of(episode)
        marks = levels(step.params, episode) if step else ()
        found.append(Panel(("gripper", "opening, 0 to 1"), openings, closed, marks, 0.0, 1.0))
    return found


def _speed(episode: Episode) -> list[Panel]:
    curves, shaded = [], []
    for side in sides_of(episode):
        there = trust.there_of(episode, side)
        curves.append(Curve(speeds(trust.wrist_path(episode, side)[0], episode.fps), there, side))
        shaded += [
            (one.start, one.stop, f"{side} movement", f"SPARC {one.sparc:.2f}, log dimensionless jerk {one.ldlj:.2f}")
            for one in trust.moved(episode, side)[:MOST_SPANS]
        ]
    return [Panel(("speed", "wrist, m/s"), curves, shaded, [FASTER], 0.0)]


def _left(episode: Episode, limits: dict[str, float | None]) -> list[Panel]:
    """What a robot does not do as the hand did."""
    whole = np.ones(episode.length, bool)
    arms = {side: trust.errors_of(episode, side) for side in hands.SIDES}
    fingers = {side: trust.finger_errors(episode, side) for side in hands.SIDES}
    rows = {
        "arm, mm": [Curve(1e3 * each[:, 0], whole, side) for side, each in arms.items() if each is not None],
        "fingertips, mm": [Curve(1e3 * each, whole, side) for side, each in fingers.items() if each is not None],
    }
    found = []
    for unit, curves in rows.items():
        limit = limits.get(unit.partition(",")[0])
        levels = [] if limit is None else [limit]
        found += [Panel(("left over", unit), curves, levels=levels, low=0.0, high=limit)] if curves else []
    return found


def _carried(grasp: dict[str, Any], side: str, first: int) -> tuple[int, int, str, str]:
    start, stop, travel = first + grasp["start"], first + grasp["stop"], grasp.get("travel")
    far = f" and moved {1e3 * travel:.0f} mm" if isinstance(travel, float) else ""
    return start, stop, f"{side} carries", f"{side} gripper closed{far}: frames {start} to {stop}"


def _said(cut: dict[str, Any]) -> str:
    return f"frames {cut['start']} to {cut['stop']}: {str(cut.get('text') or cut['reason'])[:200]}"
