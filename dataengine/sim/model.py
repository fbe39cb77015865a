"""The world as MJCF, compiled once per arm, kind of scene and rate."""

from __future__ import annotations

import logging
import math
from functools import cache

import mujoco

from dataengine.sim.arms import ARMS
from dataengine.sim.arms.hand import actuators_xml, defaults_xml
from dataengine.sim.furniture import excludes_xml
from dataengine.sim.kinds import KINDS
from dataengine.sim.things import assets_xml

TIMESTEP = 0.005  # [s] at most
CAMERAS = ("front", "wrist", "side")


_log = logging.getLogger(__name__)
_HARMLESS = "Linesearch objective is not convex"  # the solver goes on from where it is


def _note(warning: str) -> None:
    """Left alone, MuJoCo writes every warning to a file in the working folder."""
    _log.log(logging.DEBUG if _HARMLESS in warning else logging.WARNING, "MuJoCo: %s", warning.strip())


mujoco.set_mju_user_warning(_note)


def substeps(fps: float) -> int:
    """Physics steps in one action, a whole number."""
    return math.ceil(round(1 / fps / TIMESTEP, 6))


def model_xml(arm: str, kind: str, fps: float) -> str:
    """Everything in the base frame; the table top is the plane z = 0."""
    body, place = ARMS[arm], KINDS[kind]
    return f"""
<mujoco model="tabletop">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{1 / fps / substeps(fps)!r}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <size memory="4M"/>
  <visual>
    <quality shadowsize="0" offsamples="0" numslices="12" numstacks="8" numquads="1"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
    <global offwidth="640" offheight="640"/>
    <map znear="0.02" zfar="5"/>
  </visual>
  {'<statistic extent="0.7"/>' if body.tilts else ""}
  <default>{defaults_xml()}</default>
  {assets_xml(place.things)}
  <worldbody>
    <light pos="0.3 -0.5 1.2" dir="0 0.4 -1" diffuse="0.5 0.5 0.5" specular="0 0 0" castshadow="false"/>
    <geom name="table" type="plane" size="1.2 1.2 0.1" rgba="0.62 0.58 0.52 1" friction="1 0.01 0.0005"/>
    <camera name="front" mode="fixed" pos="0.66 0 0.42" xyaxes="0 1 0 -0.66 0 0.75" fovy="{place.view}"/>
    <camera name="side" mode="fixed" pos="0.24 -0.62 0.38" xyaxes="1 0 0 0 0.53 0.85" fovy="36"/>
    {_walls() if body.tilts else ""}
    {"".join(piece.xml() for piece in place.furniture)}
    {body.body_xml()}
    {"".join(thing.xml() for thing in place.things)}
  </worldbody>
  {excludes_xml(place.furniture)}
  {actuators_xml(body.servos_xml())}
</mujoco>"""


def _walls() -> str:
    """A tilted camera looks past the table; it sees the walls of a room and no black."""
    return "".join(
        f'<geom type="plane" size="3 3 0.1" pos="{x} {y} 0" zaxis="{-x} {-y} 0" rgba="0.80 0.82 0.84 1" class="shown"/>'
        for x, y in ((1.3, 0), (-1.3, 0), (0, 1.3), (0, -1.3))
    )


@cache
def load_model(arm: str = "five", kind: str = "cubes", fps: float = 10.0) -> mujoco.MjModel:
    """The compiled model, made once per process; nothing changes it."""
    return mujoco.MjModel.from_xml_string(model_xml(arm, kind, fps))
