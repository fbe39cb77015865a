"""Pictures of a scene, without display: one small renderer per size, shadows and reflections off.

What is drawn is a `Still`, a copy of the state, so another thread may draw an earlier instant while physics goes on.
MuJoCo lets go of Python's lock while it draws.
"""

from __future__ import annotations

import atexit
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import mujoco
import numpy as np

from dataengine.errors import ConfigError
from dataengine.sim.model import CAMERAS, load_model
from dataengine.sim.scene import Still

What = Literal["rgb", "depth", "segmentation"]
KEPT = 12  # renderers; each holds a few megabytes
FARTHEST = 10.0  # [m] what is further, or nothing at all, has this depth

# Each of these costs more than everything else in a picture of these sizes.
_OFF = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
)

_renderers: OrderedDict[tuple[str, str, int], tuple[mujoco.Renderer, mujoco.MjData]] = OrderedDict()
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


def render(still: Still, camera: str, size: int, what: What = "rgb") -> np.ndarray:
    """What a camera sees. rgb: `(size, size, 3)` uint8. depth: `(size, size, 1)` float32, distance from the picture's
    plane [m]. segmentation: `(size, size)` int32, ids of MuJoCo's geoms, -1 where there is none."""
    if camera not in CAMERAS:
        raise ConfigError(f"there is no camera {camera!r} in this world; it has {', '.join(CAMERAS)}")
    if _forked:
        raise ConfigError("a process forked from one that has drawn cannot draw; start workers by spawn or forkserver")
    return _painter.submit(_paint, still, camera, size, what).result()


def _paint(still: Still, camera: str, size: int, what: What) -> np.ndarray:
    renderer, data = _ready(still.arm, still.kind, size)
    data.qpos[:] = still.qpos
    data.mocap_pos[:], data.mocap_quat[:] = still.mocap[:, :3], still.mocap[:, 3:]
    mujoco.mj_kinematics(renderer.model, data)
    mujoco.mj_camlight(renderer.model, data)
    renderer.update_scene(data, camera=camera)
    if what == "rgb":
        return renderer.render()
    if what == "depth":
        renderer.enable_depth_rendering()
        picture = np.minimum(renderer.render(), FARTHEST)[..., None]
        renderer.disable_depth_rendering()
        return picture
    renderer.enable_segmentation_rendering()
    pairs = renderer.render()
    renderer.disable_segmentation_rendering()
    return np.where(pairs[..., 1] == mujoco.mjtObj.mjOBJ_GEOM, pairs[..., 0], -1).astype(np.int32)


def _ready(arm: str, kind: str, size: int) -> tuple[mujoco.Renderer, mujoco.MjData]:
    """A renderer for scenes of a kind; those used longest ago are closed."""
    key = (arm, kind, size)
    if key not in _renderers:
        model = load_model(arm, kind)
        first = not _renderers
        _renderers[key] = quick_renderer(model, size), mujoco.MjData(model)
        if first:
            atexit.register(_close)  # before MuJoCo's own exit takes the display away, so after the first is made
        while len(_renderers) > KEPT:
            _renderers.popitem(last=False)[1][0].close()
    _renderers.move_to_end(key)
    return _renderers[key]


def _close() -> None:
    """At exit, when the painter has gone."""
    while _renderers and not _forked:
        _renderers.popitem()[1][0].close()


def quick_renderer(model: mujoco.MjModel, size: int) -> mujoco.Renderer:
    """For the thread that calls. Raises `ConfigError` where nothing can draw."""
    try:
        renderer = mujoco.Renderer(model, size, size)
    except Exception as problem:  # PyOpenGL and EGL raise many kinds
        raise ConfigError(
            f"this machine cannot render: {problem}. Install EGL (Debian: libegl1 libgl1-mesa-dri) or set "
            f"MUJOCO_GL=osmesa; where mujoco is imported before dataengine.sim, set MUJOCO_GL=egl in the environment"
        ) from problem
    for flag in _OFF:
        renderer.scene.flags[flag] = False
    return renderer
