"""Pictures of the scene, without display: one small renderer per process and size, shadows and reflections off."""

from __future__ import annotations

from functools import cache

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


def render(scene: Scene, camera: str, size: int) -> np.ndarray:
    """What a camera sees: `(size, size, 3)` uint8 RGB."""
    if camera not in CAMERAS:
        raise ConfigError(f"there is no camera {camera!r} in this world; it has {', '.join(CAMERAS)}")
    renderer = _renderer(size)
    renderer.update_scene(scene.data, camera=camera)
    return renderer.render()


@cache
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
