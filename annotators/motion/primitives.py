"""Movement primitives: stretches of frames that one short phrase describes, such as "move right and down".

The direction of a frame is where the tool goes within a short horizon around it, as in the primitives of ECoT
(Zawalski et al., 2024, arXiv:2407.08693, appendix on movement primitives) and the language motions of RT-H
(Belkhale et al., 2024, arXiv:2403.01823, section IV): axes count that have a good part of the motion, and
stretches too short to see are given to their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotators.motion.body import DIRECTIONS, Arm, words_of

# An axis is named when it has this share of the largest component: the tangent of 22°, so that directions are the
# eight of a compass with equal sectors.
SHARE = float(np.tan(np.pi / 8))
# Slowest speeds that are motion at all: tool [m/s], tool in other units [share of its range per s], joint [rad/s or
# unit/s], tool's turn [rad/s], gripper [share of its stroke per s].
TOOL_SPEED, TOOL_SHARE, JOINT_SPEED, TURN_SPEED, GRIPPER_SPEED = 0.015, 0.1, 0.1, 0.4, 0.4
_GRIP = {1: "open the gripper", -1: "close the gripper", 0: ""}


@dataclass(frozen=True)
class Segment:
    """Frames `start` to `stop` (exclusive) that `text` describes."""

    start: int
    stop: int
    text: str


def motion_segments(arm: Arm, frame: str, fps: float, horizon: float, shortest: float) -> list[Segment]:
    """What an arm does, one segment after the other without gaps. horizon, shortest: seconds."""
    reach = max(1, round(horizon * fps / 2))
    moves = _spread(merge(_moves(arm, frame, fps, reach), max(1, round(shortest * fps))))
    grips = _spread(merge([_GRIP[int(way)] for way in gripper_direction(arm, fps, reach)], 2))
    named = [_sentence(move, grip, arm.side) for move, grip in zip(moves, grips, strict=True)]
    return merge(named, max(1, round(shortest * fps / 2)))


def speed(values: np.ndarray, fps: float, reach: int) -> np.ndarray:
    """`(T, ...)` change per second over `reach` frames before and after each frame, less at the ends."""
    at = np.arange(len(values))
    before, after = np.maximum(at - reach, 0), np.minimum(at + reach, len(values) - 1)
    seconds = np.maximum(after - before, 1) / fps
    return (values[after] - values[before]) / seconds.reshape(-1, *[1] * (values.ndim - 1))


def gripper_direction(arm: Arm, fps: float, reach: int) -> np.ndarray:
    """`(T,)` int: 1 opening, -1 closing, 0 neither or no gripper known."""
    length = next(len(v) for v in (arm.position, arm.joints, arm.opening) if v is not None)
    if arm.opening is None:
        return np.zeros(length, int)
    rate = speed(arm.opening / arm.stroke, fps, reach)
    return np.sign(rate).astype(int) * (np.abs(rate) > GRIPPER_SPEED)


def _moves(arm: Arm, frame: str, fps: float, reach: int) -> list[str]:
    """A phrase for the motion of every frame, "" at rest."""
    if arm.position is not None:
        return _tool_moves(arm, frame, fps, reach)
    if arm.joints is not None:
        return _joint_moves(arm, fps, reach)
    return [""] * len(arm.opening if arm.opening is not None else ())


def _tool_moves(arm: Arm, frame: str, fps: float, reach: int) -> list[str]:
    position = arm.position
    assert position is not None
    slowest = TOOL_SPEED * {"m": 1, "cm": 100, "mm": 1000}.get(arm.unit or "", 0)
    slowest = slowest or TOOL_SHARE * float(np.ptp(position, axis=0).max())
    velocity = speed(position, fps, reach)
    # Speed over all axes; a floor keeps division by rest harmless.
    largest = np.abs(velocity).max(axis=1, keepdims=True)
    moving = np.linalg.norm(velocity, axis=1) > max(slowest, 1e-9)
    signs = np.sign(velocity) * (np.abs(velocity) >= SHARE * np.maximum(largest, 1e-12)) * moving[:, None]
    words = DIRECTIONS[frame]
    codes, inverse = np.unique(signs, axis=0, return_inverse=True)
    texts = [_direction(code, words) for code in codes]
    moves = [texts[i] for i in inverse.reshape(-1)]
    if arm.yaw is None:
        return moves
    turn = speed(np.unwrap(arm.yaw), fps, reach)
    turned = np.where(turn > TURN_SPEED, "turn counterclockwise", np.where(turn < -TURN_SPEED, "turn clockwise", ""))
    return [move or str(way) for move, way in zip(moves, turned, strict=True)]


def _direction(code: np.ndarray, words: tuple[tuple[str, str], ...]) -> str:
    named = [words[axis][0 if sign > 0 else 1] for axis, sign in enumerate(code) if sign]
    return f"move {' and '.join(named)}".replace("and along ", "and ") if named else ""


def _joint_moves(arm: Arm, fps: float, reach: int) -> list[str]:
    """Which joints turn which way; without the robot's kinematics nobody can say where that leads."""
    joints = arm.joints
    assert joints is not None
    # Degrees and percent move a hundred times as far as radians.
    slowest = JOINT_SPEED * (50 if np.ptp(joints, axis=0).max() > 4 * np.pi else 1)
    rate = speed(joints, fps, reach)
    largest = np.abs(rate).max(axis=1, keepdims=True)
    signs = np.sign(rate) * (np.abs(rate) >= np.maximum(2 * SHARE * largest, slowest))
    codes, inverse = np.unique(signs, axis=0, return_inverse=True)
    names = [_bare(name, arm.side) for name in arm.joint_names]
    texts = []
    for code in codes:
        named = [f"{names[j]} {'+' if code[j] > 0 else '-'}" for j in np.nonzero(code)[0]]
        texts.append(f"turn {' and '.join(named)}" if named else "")
    return [texts[i] for i in inverse.reshape(-1)]


def _bare(name: str, side: str) -> str:
    """A joint's name without its arm's side and suffixes: `left_wrist_angle.pos` is "wrist angle"."""
    bare = " ".join(word for word in words_of(name) if word not in (side, "pos", "joint", "arm"))
    return f"joint {bare}" if bare.isdecimal() else bare or name


def _sentence(move: str, gripper: str, side: str) -> str:
    """One arm's phrase: motion, gripper, or rest."""
    text = " and ".join(part for part in (move, gripper) if part) or "hold still"
    return f"{side} arm: {text}" if side else text


def merge(texts: list[str], shortest: int) -> list[Segment]:
    """Runs of one text; those shorter than `shortest` frames, the shortest first, are given to the longer neighbour."""
    runs = _runs(texts)
    for length in range(1, shortest):
        runs = _without(runs, length)
    return runs


def _without(runs: list[Segment], length: int) -> list[Segment]:
    """No run of `length` frames or less, unless it is the only one."""
    kept: list[Segment] = []
    begin = 0  # where the next run begins, if it has swallowed the one before
    for at, run in enumerate(runs):
        start, begin = begin, run.stop
        if run.stop - start > length or (not kept and at + 1 == len(runs)):
            kept.append(Segment(start, run.stop, run.text))
            continue
        following = runs[at + 1] if at + 1 < len(runs) else None
        if kept and (following is None or kept[-1].stop - kept[-1].start >= following.stop - following.start):
            kept[-1] = Segment(kept[-1].start, run.stop, kept[-1].text)
        else:
            begin = start
    return _joined(kept)


def _joined(runs: list[Segment]) -> list[Segment]:
    """Neighbouring runs of one text as one."""
    kept: list[Segment] = []
    for run in runs:
        if kept and kept[-1].text == run.text:
            kept[-1] = Segment(kept[-1].start, run.stop, run.text)
        else:
            kept.append(run)
    return kept


def _runs(texts: list[str]) -> list[Segment]:
    starts = [i for i in range(len(texts)) if i == 0 or texts[i] != texts[i - 1]]
    return [Segment(a, b, texts[a]) for a, b in zip(starts, [*starts[1:], len(texts)], strict=True)]


def _spread(segments: list[Segment]) -> list[str]:
    """One text a frame again."""
    return [segment.text for segment in segments for _ in range(segment.start, segment.stop)]
