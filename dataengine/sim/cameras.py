"""Pictures of the scene, without display: one small renderer per size, shadows and reflections off."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.scene import Scene, load_model

CAMERAS = ("front", "wrist")

# Each of these costs more than everything else in a picture of these sizes.
_OFF = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
)

_renderers: dict[int, mujoco.Renderer] = {}
_forked = False


def _start() -> ThreadPoolExecutor:
    """A GL context belongs to the thread that made it, so one thread draws for all; the caller waits for it."""
    return ThreadPoolExecutor(1, "painter")


def _start_again() -> None:
    """In a forked process: the thread is gone, and a GL library that was in use would hang."""
    global _painter, _forked
    _painter, _forked = _start(), bool(_renderers)


_painter = _start()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_again)


def render(scene: Scene, camera: str, size: int) -> np.ndarray:
    """What a camera sees: `(size, size, 3)` uint8 RGB."""
    if camera not in CAMERAS:
        raise ConfigError(f"there is no camera {camera!r} in this world; it has {', '.join(CAMERAS)}")
    if _forked:
        raise ConfigError("a process forked from one that has drawn cannot draw; start workers by spawn or forkserver")
    return _painter.submit(_paint, scene, camera, size).result()


def _paint(scene: Scene, camera: str, size: int) -> np.ndarray:
    if size not in _renderers:
        _renderers[size] = _renderer(size)
    _renderers[size].update_scene(scene.data, camera=camera)
    return _renderers[size].render()


def _renderer(size: int) -> mujoco.Renderer:
    try:
        renderer = mujoco.Renderer(load_model(), size, size)
    except Exception as problem:  # PyOpenGL and EGL raise many kinds
        raise ConfigError(
            f"this machine cannot render: {problem}. Install EGL (Debian: libegl1 libgl1-mesa-dri) or set "
            f"MUJOCO_GL=osmesa; where mujoco is imported before dataengine.sim, set MUJOCO_GL=egl in the environment"
        ) from problem
    for flag in _OFF:
        renderer.scene.flags[flag] = False
    return renderer
