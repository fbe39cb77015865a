"""What the simulator knows and no camera shows: where everything is, what presses on what, which pixel shows what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import mujoco
import numpy as np

from dataengine.episode import Feature
from dataengine.sim.arms.hand import FINGERS
from dataengine.sim.cameras import render
from dataengine.sim.kinds import Kind
from dataengine.sim.scene import GRIPPER_BODIES, Scene

POSE_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz")
POSE_UNITS = ("m", "m", "m", "1", "1", "1", "1")
PRESSING = ("left_finger", "right_finger", "other")


class Contact(NamedTuple):
    """Two bodies in contact; `table` and `arm` among them. force: along the normal [N]."""

    one: str
    other: str
    force: float


class Truth(NamedTuple):
    """poses: position [m] and quaternion w, x, y, z `(7,)` in the base frame, of every thing, piece of furniture and
    drawer (`<drawer>_tray`). contacts: all there are."""

    poses: Mapping[str, np.ndarray]
    contacts: tuple[Contact, ...]


class Segmentation(NamedTuple):
    """ids: `(H, W)` int32, place in `names`; names[0] is where nothing is."""

    ids: np.ndarray
    names: tuple[str, ...]


def truth(scene: Scene) -> Truth:
    """What is so in a scene now."""
    model, data = scene.model, scene.data
    poses = {name: _pose(scene, name) for name in pose_names(scene.kind)}
    contacts = []
    force = np.zeros(6)
    for index in range(data.ncon):
        one, other = (_part(model, int(model.geom_bodyid[geom])) for geom in data.contact.geom[index])
        mujoco.mj_contactForce(model, data, index, force)
        contacts.append(Contact(one, other, float(force[0])))
    return Truth(poses, tuple(contacts))


def segmentation(scene: Scene, camera: str, size: int) -> Segmentation:
    """Which pixel shows what: table, arm, gripper, each thing, each piece of furniture."""
    names = ("nothing", "table", "arm", "gripper", *scene.kind.thing, *scene.kind.piece)
    model = scene.model
    merged = {**dict.fromkeys(GRIPPER_BODIES, "gripper"), **{f"{piece}_tray": piece for piece in scene.kind.piece}}
    entity = [_part(model, int(body)) for body in model.geom_bodyid]
    place = np.array([names.index(merged.get(name, name)) for name in entity] + [0])
    return Segmentation(place[render(scene.still(), camera, size, "segmentation")].astype(np.int32), names)


def pose_names(kind: Kind) -> tuple[str, ...]:
    """All whose pose is known in a kind of scene."""
    trays = (f"{name}_tray" for name, piece in kind.piece.items() if piece.shape == "drawer")
    return (*kind.thing, *kind.piece, *trays)


def columns(scene: Scene, wanted: tuple[str, ...], kinds: tuple[Kind, ...]) -> dict[str, np.ndarray]:
    """Columns of a demonstration: `poses`, `contacts` or both. kinds: those a dataset may hold; what does not stand in
    this scene is all zeros, also its quaternion."""
    found: dict[str, np.ndarray] = {}
    now = truth(scene)
    if "poses" in wanted:
        names = dict.fromkeys(name for kind in kinds for name in pose_names(kind))
        found |= {f"sim.pose.{name}": now.poses.get(name, np.zeros(7)).astype(np.float32) for name in names}
    if "contacts" in wanted:
        forces = dict.fromkeys(contact_names(kinds), 0.0)
        for one, other, force in now.contacts:
            for thing, by in ((one, other), (other, one)):
                key = f"{thing}.{by if by in FINGERS else 'other'}"
                if key in forces:
                    forces[key] += force
        found["sim.contacts"] = np.array(list(forces.values()), np.float32)
    return found


def features(wanted: tuple[str, ...], kinds: tuple[Kind, ...]) -> dict[str, Feature]:
    """What `columns` gives."""
    found: dict[str, Feature] = {}
    if "poses" in wanted:
        info = {"frame": "base", "rotation": "quaternion_wxyz"}
        pose = Feature("float32", (7,), POSE_NAMES, "environment", POSE_UNITS, info=info)
        found |= {f"sim.pose.{name}": pose for kind in kinds for name in pose_names(kind)}
    if "contacts" in wanted:
        names = contact_names(kinds)
        found["sim.contacts"] = Feature("float32", (len(names),), names, "environment", "N")
    return found


def contact_names(kinds: tuple[Kind, ...]) -> tuple[str, ...]:
    """Force on each thing by each finger and by everything else."""
    things = dict.fromkeys(name for kind in kinds for name in kind.thing)
    return tuple(f"{thing}.{by}" for thing in things for by in PRESSING)


def _pose(scene: Scene, name: str) -> np.ndarray:
    body = scene.data.body(name)
    return np.concatenate([body.xpos, body.xquat])


def _part(model: mujoco.MjModel, body: int) -> str:
    """The name under which a body is known here: its own, its piece's where it has none, `arm` or `table`."""
    if body == 0:
        return "table"
    name = model.body(body).name
    while not name:
        body = int(model.body_parentid[body])
        name = model.body(body).name
    if model.body(int(model.body_rootid[body])).name == "base" and name not in GRIPPER_BODIES:
        return "arm"
    return name
