"""A robot in a file, MJCF or URDF, as MuJoCo loads it."""

from __future__ import annotations

import dataengine.sim.model  # noqa: F401 – says how MuJoCo shall draw and warn

# isort: split
from collections.abc import Callable
from pathlib import Path

import mujoco

from dataengine.errors import ConfigError

LARGEST = 16 << 20  # bytes of a description; meshes stand in files of their own


def load(path: Path, prepare: Callable[[mujoco.MjSpec], None] | None = None) -> mujoco.MjModel:
    """prepare: what is done to the description before it becomes a model.

    Raises `ConfigError` for a file that is not there, too large, or no model.
    """
    if not path.is_file():
        raise ConfigError(f"model: there is no file {path}; it is looked for from where the command was called")
    if path.stat().st_size > LARGEST:
        raise ConfigError(f"{path} has more than {LARGEST >> 20} MiB, which is no description of a robot")
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        spec.compiler.fusestatic = False  # links that are fixed to others, as a tool or a fingertip is, stay
        if prepare is not None:
            prepare(spec)
        return spec.compile()
    except (ValueError, mujoco.FatalError) as error:
        raise ConfigError(f"{path} is no model that MuJoCo loads: {error}") from error
