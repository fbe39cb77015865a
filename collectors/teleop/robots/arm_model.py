"""An arm described by a file, MJCF or URDF: how the joints that a driver knows move a tool."""

from __future__ import annotations

import dataengine.sim  # noqa: F401 – says how MuJoCo shall draw before anybody imports it

# isort: split
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import mujoco

from dataengine.errors import ConfigError, RobotError
from dataengine.robot import Kinematics
from dataengine.sim.robot_file import load

SITE = "dataengine tool"


@dataclass(frozen=True)
class ArmModel:
    """What Cartesian control needs of an arm that is driven joint by joint.

    model: the file; meshes stand where it says. tool: the body (a link, in URDF) or site that is moved, in whose place
    a person sees the fingers. joints: by element of the action, what the model calls it where that is not the
    element's name with or without `.pos`. zero: by element, what the robot measures where the model's joint is at 0.
    reversed: elements that count the other way round. gripper: its element of the action; closed, opened: what that is
    then. speed, acceleration: limits of every joint [rad/s, rad/s²].
    """

    model: str
    tool: str
    joints: Mapping[str, str] = field(default_factory=dict)
    zero: Mapping[str, float] = field(default_factory=dict)
    reversed: tuple[str, ...] = ()
    gripper: str | None = "gripper.pos"
    closed: float = 0.0
    opened: float = 100.0
    speed: float = 1.5
    acceleration: float = 6.0

    def kinematics(self, elements: Sequence[str]) -> Kinematics:
        """elements: names of the action's. Raises `RobotError` where file, tool or a joint is not there."""
        model = self._loaded()
        there = {model.joint(n).name for n in range(model.njnt)}
        moving = tuple(name for name in elements if name != self.gripper)
        named = {*self.joints, *self.zero, *self.reversed}
        if unknown := named - set(moving):
            raise RobotError(f"arm: the action has no {', '.join(sorted(unknown))}; it has {', '.join(moving)}")
        found = tuple(self.joints.get(name) or _alike(name, there) for name in moving)
        if absent := [f"{name} ({joint})" for name, joint in zip(moving, found, strict=True) if joint not in there]:
            raise RobotError(f"{self.model} has no joint for {', '.join(absent)}; it has {', '.join(sorted(there))}")
        return Kinematics(
            model,
            found,
            SITE,
            self.gripper if self.gripper in elements else None,
            self.speed,
            self.acceleration,
            elements=moving,
            zeros=tuple(float(self.zero.get(name, 0.0)) for name in moving),
            signs=tuple(-1.0 if name in self.reversed else 1.0 for name in moving),
            gripper_range=(self.closed, self.opened),
        )

    def _loaded(self) -> mujoco.MjModel:
        try:
            return load(Path(self.model), partial(_with_tool, tool=self.tool, path=self.model))
        except ConfigError as error:
            raise RobotError(f"arm: {error}") from error


def _with_tool(spec: mujoco.MjSpec, tool: str, path: str) -> None:
    body, site = spec.body(tool), spec.site(tool)
    if body is None and site is None:
        there = ", ".join(thing.name for thing in (*spec.sites, *spec.bodies) if thing.name)
        raise ConfigError(f"{path} has no body or site {tool!r}; it has {there}")
    if site is None:
        body.add_site(name=SITE)
    else:
        site.name = SITE


def _alike(element: str, there: set[str]) -> str:
    return element if element in there else element.removesuffix(".pos")
