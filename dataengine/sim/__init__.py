"""The embedded world: a MuJoCo tabletop, its tasks, a scripted expert and the evaluation of policies.

Everything in it is made of primitives written here; no mesh, texture or model file is loaded. `world.py` is
the environment, `tasks/` what can be asked for in it, `expert.py` how it is done, `evaluate.py` how a policy
is judged. Collecting demonstrations stands outside, in `collectors/expert.py`.
"""

import importlib.util
import os
import sys

from dataengine.errors import MissingDependency

if importlib.util.find_spec("mujoco") is None:
    raise MissingDependency("MuJoCo", extra="sim")

# MuJoCo reads this when it is first imported. Without a display only EGL (or OSMesa) can render on Linux.
if sys.platform.startswith("linux"):
    os.environ.setdefault("MUJOCO_GL", "egl")
