"""What a robot's file says of its joints, MJCF or URDF, beside what a model of MuJoCo holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.urdf import is_urdf, read_urdf, speeds_of


class Coupling(NamedTuple):
    """follower = Σ terms[n] · leaderⁿ, both as the model counts them."""

    follower: str
    leader: str
    terms: np.ndarray


class Said(NamedTuple):
    """couplings: which joints follow which. speeds: the most of joints, by name [rad/s, m/s], where it is said."""

    couplings: list[Coupling]
    speeds: Mapping[str, float]


def said_of_joints(path: Path, model: mujoco.MjModel) -> Said:
    """model: loaded from the file. Raises `ConfigError` for couplings that are described wrongly."""
    text = path.read_bytes()
    if not is_urdf(text):
        return Said(_equalities(model), {})
    joints = {model.joint(n).name for n in range(model.njnt)}
    root = read_urdf(text, path)
    try:
        mimics = [
            Coupling(
                joint.attrib["name"],
                mimic.attrib["joint"],
                np.array([float(mimic.get("offset", 0)), float(mimic.get("multiplier", 1))]),
            )
            for joint in root.iter("joint")
            if (mimic := joint.find("mimic")) is not None and {joint.attrib["name"], mimic.attrib["joint"]} <= joints
        ]
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{path}: a joint that mimics another is not described as URDF has it: {error}") from error
    return Said([*_equalities(model), *mimics], speeds_of(root))


def moved_with(joint: str, places: np.ndarray, couplings: Sequence[Coupling]) -> dict[str, np.ndarray]:
    """A joint's places `(T,)`, and those of all that is tied to it: what follows it, and what it follows in a straight
    line."""
    found, todo = {joint: places}, [joint]
    while todo:
        name = todo.pop()
        for one in couplings:
            if one.leader == name and one.follower not in found:
                found[one.follower] = np.polynomial.polynomial.polyval(found[name], one.terms)
                todo.append(one.follower)
            elif one.follower == name and one.leader not in found and len(one.terms) == 2 and one.terms[1]:
                found[one.leader] = (found[name] - one.terms[0]) / one.terms[1]
                todo.append(one.leader)
    return found


def _equalities(model: mujoco.MjModel) -> list[Coupling]:
    """MJCF: q1 - q1_0 = Σ a_n (q2 - q2_0)ⁿ, with the joints' places in the model as it stands at first."""
    found = []
    for row in np.flatnonzero(model.eq_type == mujoco.mjtEq.mjEQ_JOINT):
        first, second = int(model.eq_obj1id[row]), int(model.eq_obj2id[row])
        if not model.eq_active0[row] or second < 0:
            continue
        start, from_ = model.qpos0[model.jnt_qposadr[first]], model.qpos0[model.jnt_qposadr[second]]
        shifted = np.polynomial.Polynomial(model.eq_data[row, :5])(np.polynomial.Polynomial([-from_, 1.0])) + start
        found.append(Coupling(model.joint(first).name, model.joint(second).name, shifted.trim().coef))
    return found
