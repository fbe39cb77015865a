"""State and action of an episode, put together from blocks of numbers: poses, landmarks, joints, openings.

The action of row t says where the state of row t + 1 is; the last row's repeats its own. Columns are float32, names and
units per element. What is made here belongs to one uninterrupted stretch: cut first, then write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from dataengine import hands
from dataengine.episode import Feature
from pipelines.retarget.hand import Poses
from pipelines.retarget.rotations import NAMES, Convention, encode, nearest

Kind = Literal["absolute", "delta"]

GRIPPER = "gripper.pos"  # 0 closed to 1 open where its unit is 1


class Frame(NamedTuple):
    """What poses refer to. name: as features say it. reference: `(3, 3)` what Euler angles are relative to, and in
    words."""

    name: str
    reference: np.ndarray
    words: str


# Columns are the axes of the tool (x where the fingers point, y the jaw) or of the palm (y to the fingers, z out of
# it). Base: x forward, y left, z up. Camera: x right, y down, z forward.
BASE = Frame("base", np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), "the tool pointing down")
CAMERA = Frame("camera", np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]), "the tool pointing forward, its jaw across")
PALM = Frame("camera", np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]), "the palm down and the fingers forward")
PALM_IN_BASE = Frame("base", np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]]), PALM.words)


class Block(NamedTuple):
    """Some elements of state and action over `T` rows. state, action: `(T, n)` float64. rotation: convention of the
    elements from the fourth on, where they are one. steady: absolute even where the action is a delta."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    state: np.ndarray
    action: np.ndarray
    rotation: Convention | None = None
    steady: bool = False


def following(values: np.ndarray) -> np.ndarray:
    """The next row's values, `(T, …)`; the last row's its own."""
    return np.concatenate([values[1:], values[-1:]])


def next_poses(poses: Poses) -> Poses:
    """Each row's target."""
    return Poses(following(poses.point), following(poses.turn))


def wrist_targets(wrist: Poses, cameras: Poses | None) -> Poses:
    """Where the wrist is in the next row, seen from this row's camera. wrist: each in its own row's camera; cameras: in
    their world, None where they stand still."""
    if cameras is None:
        return next_poses(wrist)
    return next_poses(wrist).seen_from(next_poses(cameras)).seen_from(cameras.inverse())


def pose_block(stem: str, poses: Poses, targets: Poses, convention: Convention, frame: Frame, kind: Kind) -> Block:
    """Place and rotation of something called `stem`, such as `ee`.

    A delta is the way from pose to target: the difference of places, and the rotation target · poseᵀ, both along the
    axes of the frame of reference.
    """
    if kind == "delta":
        way = encode(targets.turn @ poses.turn.swapaxes(-1, -2), convention)
        action = np.concatenate([targets.point - poses.point, way], 1)
        state = np.concatenate([poses.point, encode(poses.turn, convention, frame.reference)], 1)
    else:
        turn = encode(poses.turn, convention, frame.reference)
        state = np.concatenate([poses.point, turn], 1)
        there = nearest(encode(targets.turn, convention, frame.reference), turn, convention)
        action = np.concatenate([targets.point, there], 1)
    turns = NAMES[convention]
    names = tuple(f"{stem}.{name}" for name in ("x", "y", "z", *turns))
    units = ("m",) * 3 + ("rad" if convention == "euler" else "1",) * len(turns)
    return Block(names, units, state, action, convention)


def plain_block(names: Sequence[str], units: Sequence[str], values: np.ndarray, kind: Kind) -> Block:
    """Numbers `(T, n)` that are subtracted one by one, such as joint angles."""
    targets = following(values)
    return Block(tuple(names), tuple(units), values, targets - values if kind == "delta" else targets)


def landmark_block(prefix: str, landmarks: np.ndarray, wrist: Poses, kind: Kind) -> Block:
    """The 20 landmarks beside the wrist in the palm's axes, `(T, 60)` [m]. landmarks: `(T, 21, 3)`, wrist: the palm,
    in one frame."""
    within = (landmarks[:, 1:] - wrist.point[:, None]) @ wrist.turn
    names = [f"{prefix}{name}.{axis}" for name in hands.LANDMARKS[1:] for axis in "xyz"]
    return plain_block(names, ("m",) * len(names), within.reshape(len(within), -1), kind)


def gripper_block(name: str, unit: str, openings: np.ndarray, targets: np.ndarray) -> Block:
    """openings: what the state says; targets: what is told in the same row before it moves on, both `(T,)`."""
    return Block((name,), (unit,), openings[:, None], following(targets)[:, None], steady=True)


def columns(
    blocks: Sequence[Block], kind: Kind, frame: Frame | None
) -> tuple[dict[str, Feature], dict[str, np.ndarray]]:
    """Features and float32 columns `observation.state` and `action` of blocks in order. frame: of the poses."""
    names = tuple(name for block in blocks for name in block.names)
    units = tuple(unit for block in blocks for unit in block.units)
    info = _described(blocks, frame)
    told: dict[str, Any] = {**info, "kind": kind}
    steady = [name for block in blocks if block.steady for name in block.names]
    if kind == "delta" and steady:
        told["absolute"] = steady
    features = {
        "observation.state": Feature("float32", (len(names),), names, "state", units, info=info),
        "action": Feature("float32", (len(names),), names, "action", units, info=told),
    }
    state = np.concatenate([block.state for block in blocks], 1).astype(np.float32)
    action = np.concatenate([block.action for block in blocks], 1).astype(np.float32)
    return features, {"observation.state": state, "action": action}


def _described(blocks: Sequence[Block], frame: Frame | None) -> dict[str, Any]:
    """The conventions of the poses. Euler angles that are relative to an attitude are told in words only: whoever
    converts rotations would take them for a whole one."""
    if frame is None:
        return {}
    info: dict[str, Any] = {"frame": frame.name}
    places, start = [], 0
    for block in blocks:
        if block.rotation == "euler":
            info["rotation"] = f"extrinsic xyz angles relative to {frame.words}"
        elif block.rotation is not None:
            info["rotation"] = block.rotation
            size = len(NAMES[block.rotation])
            places.append({"start": start + 3, "stop": start + 3 + size, "convention": block.rotation})
        start += len(block.names)
    return {**info, "rotations": places} if places else info
