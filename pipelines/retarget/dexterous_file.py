"""Which joints of a robot's hand follow which, as its file says, MJCF or URDF."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from pipelines.retarget.model_file import load


class Coupling(NamedTuple):
    """follower = Σ terms[n] · leaderⁿ, both as the model counts them."""

    follower: str
    leader: str
    terms: np.ndarray


def load_hand(path: str) -> tuple[mujoco.MjModel, list[Coupling]]:
    """Raises `ConfigError` as `load` does, and for couplings that are described wrongly."""
    model = load(Path(path))
    return model, [*_equalities(model), *_mimics(path)]


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


def _mimics(path: str) -> list[Coupling]:
    """URDF: MuJoCo reads over `mimic`."""
    text = Path(path).read_bytes()
    if b"<!ENTITY" in text:
        raise ConfigError(f"{path} defines XML entities, which no description of a hand needs")
    try:
        root = ElementTree.fromstring(text)
        return [
            Coupling(
                joint.attrib["name"],
                mimic.attrib["joint"],
                np.array([float(mimic.get("offset", 0)), float(mimic.get("multiplier", 1))]),
            )
            for joint in (root.iter("joint") if root.tag == "robot" else ())
            if (mimic := joint.find("mimic")) is not None
        ]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: a joint that mimics another is not described as URDF has it: {error}") from error
