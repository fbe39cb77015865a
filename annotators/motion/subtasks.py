"""Subtasks: what an arm is about, cut at what its gripper does.

An episode of manipulation is a string of gripper events: it closes on something, and opens again. Before a closing
the arm reaches, while it closes it grasps, then lifts (while the tool rises) and transports, while it opens it
releases, and after the last opening it retreats. An opening before any closing only opens. Whether anything is in
the gripper no joint says; the words name what is being done, not whether it worked.
"""

from __future__ import annotations

import numpy as np

from annotators.motion.body import Arm
from annotators.motion.primitives import Segment, gripper_direction, speed

# The share of its stroke a gripper must travel for an event.
LEAST = 0.1
# How long everything must rest at either end to be called waiting [s], and a tool's slowest rise in a lift [m/s].
REST, RISE = 0.8, 0.02

PHRASES = {
    "reach": "reach for the object",
    "grasp": "grasp the object",
    "lift": "lift the object",
    "transport": "transport the object",
    "release": "release the object",
    "open": "open the gripper",
    "retreat": "retreat",
    "wait": "wait",
}


def subtask_segments(arm: Arm, fps: float, horizon: float, up: bool) -> list[Segment] | str:
    """Segments named by the keys of `PHRASES`, without gaps, or why there are none.

    up: the third axis of the position points up, so that lifting can be told.
    """
    if arm.opening is None:
        return "no gripper is named"
    reach = max(1, round(horizon * fps / 2))
    events = gripper_events(arm, fps, reach)
    if not events:
        return "the gripper neither opens nor closes"
    found: list[Segment] = []
    at, holding = 0, False
    for start, stop, way in events:
        if start > at:
            found += _between(arm, at, start, holding, True, fps, reach, up)
        name = "grasp" if way < 0 else "release" if holding else "open"
        found.append(Segment(max(start, at), stop, name))
        at, holding = stop, way < 0
    if at < len(arm.opening):
        found += _between(arm, at, len(arm.opening), holding, events[-1][2] > 0 and len(events) == 1, fps, reach, up)
    return _with_waits(arm, found, fps, reach)


def gripper_events(arm: Arm, fps: float, reach: int) -> list[tuple[int, int, int]]:
    """(start, stop, way) of every opening (1) and closing (-1) that goes at least `LEAST` of the stroke."""
    assert arm.opening is not None
    way = gripper_direction(arm, fps, reach)
    edges = np.nonzero(np.diff(np.concatenate([[0], way, [0]])))[0]
    found: list[tuple[int, int, int]] = []
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if not way[start]:
            continue
        # The horizon sees an event before it begins and after it ends; what moves is inside.
        inner = np.abs(np.diff(arm.opening[start : stop + 1])) / arm.stroke * fps > 0.25 * 0.4
        moved = np.nonzero(inner)[0]
        if moved.size and abs(arm.opening[min(stop, len(way) - 1)] - arm.opening[start]) >= LEAST * arm.stroke:
            found.append((start + int(moved[0]), min(start + int(moved[-1]) + 2, len(way)), int(way[start])))
    return _distinct(found)


def _distinct(events: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Events in order without overlap; one way twice in a row is one event that paused."""
    kept: list[tuple[int, int, int]] = []
    for start, stop, way in events:
        if kept and kept[-1][2] == way:
            kept[-1] = (kept[-1][0], stop, way)
        elif kept and start < kept[-1][1]:
            kept.append((kept[-1][1], max(stop, kept[-1][1] + 1), way))
        else:
            kept.append((start, stop, way))
    return [(a, b, way) for a, b, way in kept if b > a]


def _between(
    arm: Arm, start: int, stop: int, holding: bool, more: bool, fps: float, reach: int, up: bool
) -> list[Segment]:
    """What happens between two gripper events, or after the last one (`more` False)."""
    if not holding:
        return [Segment(start, stop, "reach" if more or start == 0 else "retreat")]
    top = start
    if up and arm.position is not None and arm.position.shape[1] == 3:
        rising = speed(arm.position[:, 2], fps, reach)[start:stop] > RISE
        first = int(np.argmax(rising)) if rising.any() else stop
        if rising.any() and first <= round(0.5 * fps):
            level = np.nonzero(~rising[first:])[0]
            top = start + first + int(level[0]) if level.size else stop
    parts = [Segment(start, top, "lift"), Segment(top, stop, "transport")]
    return [part for part in parts if part.stop > part.start]


def _with_waits(arm: Arm, found: list[Segment], fps: float, reach: int) -> list[Segment]:
    """Rest at the head and the tail is waiting, not reaching or retreating."""
    values = arm.position if arm.position is not None else arm.joints
    if values is None:
        return found
    extent = np.maximum(np.ptp(values, axis=0), 1e-9)
    moving = np.nonzero((np.abs(speed(values, fps, reach)) / extent > 0.02).any(axis=1))[0]
    if not moving.size:
        return found
    head, tail = int(moving[0]), int(moving[-1]) + 1
    first, last = found[0], found[-1]
    if first.text == "reach" and first.start == 0 and REST * fps <= head < first.stop:
        found = [Segment(0, head, "wait"), Segment(head, first.stop, "reach"), *found[1:]]
    if last.text in ("retreat", "transport") and last.start < tail <= last.stop - REST * fps:
        found = [*found[:-1], Segment(last.start, tail, last.text), Segment(tail, last.stop, "wait")]
    return found
