"""A robot in a file, MJCF or URDF, as MuJoCo loads it.

Only where its parts are and what touches what is asked of it: masses are not read, and what it says of memory does not
count. It is compiled in a process of its own, since a stranger's description may crash MuJoCo, hang it or want all
memory.
"""

from __future__ import annotations

import dataengine.sim.model  # noqa: F401 – says how MuJoCo shall draw and warn

# isort: split
import hashlib
from collections.abc import Callable
from pathlib import Path

import mujoco
import numpy as np

from dataengine.errors import ConfigError, SourceError
from dataengine.guard.process import run_guarded
from dataengine.sim.urdf import MESHES, is_urdf, plain_urdf

LARGEST = 16 << 20  # bytes of a description; meshes stand in files of their own
SECONDS, MEMORY = 60.0, 4 << 30  # what compiling one may take

Prepare = Callable[[mujoco.MjSpec], None]


def load(path: Path, prepare: Prepare | None = None, *, shapes: bool = True) -> mujoco.MjModel:
    """prepare: what is done to the description before it becomes a model; importable by name. shapes: whether all of
    them are needed; else those whose meshes are not there, or of a kind that MuJoCo does not read, are left out.

    Raises `ConfigError` for a file that is not there, too large, or no model.
    """
    if not path.is_file():
        raise ConfigError(f"model: there is no file {path}; it is looked for from where the command was called")
    if path.stat().st_size > LARGEST:
        raise ConfigError(f"{path} has more than {LARGEST >> 20} MiB, which is no description of a robot")
    try:
        model: mujoco.MjModel = run_guarded(_compiled, path, prepare, shapes, seconds=SECONDS, memory=MEMORY)
    except SourceError as error:
        reason = error.reason
        if "unknown exception" in reason:
            reason = f"MuJoCo gives up on it; it probably needs more than {MEMORY >> 20} MiB"
        raise ConfigError(f"{path} is no model that can be used: {reason}") from error
    return model


def content_of(model: mujoco.MjModel) -> str:
    """sha256 of all that a model is made of, meshes and included files too."""
    whole = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, whole)
    return hashlib.sha256(whole).hexdigest()


def _compiled(path: Path, prepare: Prepare | None, shapes: bool) -> mujoco.MjModel:
    text = path.read_bytes()
    if b"<!ENTITY" in text:
        raise ConfigError(f"{path} defines XML entities, which no description of a robot needs")
    try:
        if is_urdf(text):
            spec = mujoco.MjSpec.from_string(plain_urdf(text, path))
            spec.modelfiledir = str(path.absolute().parent)
        else:
            spec = mujoco.MjSpec.from_file(str(path.absolute()))
        spec.compiler.fusestatic = False  # links that are fixed to others, as a tool or a fingertip is, stay
        _without_dynamics(spec)
        if not shapes:
            _without_touch(spec)
        if prepare is not None:
            prepare(spec)
        model = spec.compile()
        mujoco.MjData(model)  # what does not fit into memory is told here
        return model
    except (ValueError, mujoco.FatalError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{path} is no model that MuJoCo loads: {why}{_advice(why)}") from error


def _without_dynamics(spec: mujoco.MjSpec) -> None:
    """Many files that move well hold masses that MuJoCo refuses; nothing is asked of them here."""
    spec.memory = spec.nconmax = spec.njmax = -1
    spec.nuserdata = 0
    spec.compiler.inertiafromgeom = int(mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE)
    spec.compiler.settotalmass = -1
    for body in spec.bodies[1:]:
        body.explicitinertial, body.mass, body.inertia = True, 1.0, np.ones(3)
        body.fullinertia = np.full(6, np.nan)
        body.ipos, body.iquat = np.zeros(3), np.array([1.0, 0, 0, 0])
    for mesh in spec.meshes:  # nor of what they weigh: no volume, no order of the corners is needed
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL


def _without_touch(spec: mujoco.MjSpec) -> None:
    """Shapes are only to be looked at, and those whose mesh cannot be read not even that."""
    for pair in list(spec.pairs):
        spec.delete(pair)
    folder = Path(spec.modelfiledir) / spec.compiler.meshdir
    lost = {mesh.name for mesh in spec.meshes if mesh.file and not _is_mesh(folder / mesh.file)}
    for geom in list(spec.geoms):
        if geom.meshname in lost:
            spec.delete(geom)
        else:
            geom.contype = geom.conaffinity = 0
    for mesh in list(spec.meshes):
        if mesh.name in lost:
            spec.delete(mesh)


def _is_mesh(file: Path) -> bool:
    if file.suffix.lower() not in MESHES or not file.is_file():
        return False
    if file.suffix.lower() != ".stl":
        return True
    with file.open("rb") as stream:  # those in words are not read
        head = stream.read(84)
    return file.stat().st_size == 84 + 50 * int.from_bytes(head[80:], "little")


def _advice(error: str) -> str:
    lost = "With collisions: false of an arm, finger_depth: null of fingers, those that are lost are left out"
    if "mujocoinclude" in error:
        return ". It is a part of a model; give the file that includes it"
    if "package://" in error:
        return f". The package is looked for in the folders above the file; put it there. {lost}"
    if "opening file" in error or "decoder" in error or "mesh" in error:
        return f". Meshes are {', '.join(MESHES)}. {lost}"
    return ""
