"""Any robot that LeRobot drives, by its type and fields, as in `lerobot-record --robot.type=… --robot.…`.

LeRobot's names become features: floats of `observation_features` stand in `observation.state`, pictures are cameras,
`action_features` is the action. What its names mean is told by their endings and the robot's own normalisation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dataengine import plugins
from dataengine.episode import Feature
from dataengine.errors import RobotError
from dataengine.robot import Kinematics, Sample

PLUGINS = "discover_packages_path"  # as LeRobot calls it: a package to import first, which registers its own types


@dataclass
class LeRobotRobot:
    """config: `type` and fields of a LeRobot robot. units: of state and action by ending of the name, where LeRobot
    does not say (`{".pos": "deg"}`). fps: ticks a second. calibrate: whether connecting may ask to calibrate, which
    needs a person at the terminal. home_pose: by name, where the robot goes slowly before the first episode.
    action_limits: `low`, `high` by name; `speed`, `acceleration` one for all. arm: fields of `ArmModel`, by which
    page, keyboard, gamepad and phone can move its tool. embodiment: what it is called in datasets; else its type.
    """

    config: Mapping[str, Any]
    units: Mapping[str, str] = field(default_factory=dict)
    fps: float = 30.0
    calibrate: bool = False
    home_pose: Mapping[str, float] = field(default_factory=dict)
    action_limits: Mapping[str, Any] = field(default_factory=dict)
    arm: Mapping[str, Any] = field(default_factory=dict)
    embodiment: str = ""
    now: Callable[[], float] = field(default=time.monotonic, init=False, repr=False)

    name = "lerobot"

    def __post_init__(self) -> None:
        self.robot = make_robot(self.config)
        self.embodiment = self.embodiment or str(self.robot.name)
        seen, told = self.robot.observation_features, self.robot.action_features
        self._state = [name for name, kind in seen.items() if kind is float]
        self._cameras = {name: shape for name, shape in seen.items() if isinstance(shape, tuple)}
        self._told = list(told)
        if lost := [name for name, kind in seen.items() if kind is not float and not isinstance(kind, tuple)]:
            raise RobotError(f"{self.embodiment}: {', '.join(lost)} is neither a float nor a picture")
        if self.arm:  # only then is it `Kinematic`
            self.kinematics = self._modelled()
        self._newest: dict[str, Sample] = {}

    @property
    def features(self) -> Mapping[str, Feature]:
        found = {
            "observation.state": self._feature(self._state, "state"),
            "action": self._feature(self._told, "action", kind="absolute"),
        }
        for name, shape in self._cameras.items():
            depth = shape[2] == 1
            parts = ("height", "width", "channels")
            found[_camera(name)] = Feature("video", shape, parts, "depth" if depth else "image", "m" if depth else None)
        return found

    @property
    def limits(self) -> Mapping[str, Any]:
        """Of the action, by name in `action_limits`; elements that are not named keep the usual ones."""
        unknown = [name for part in self.action_limits.values() for name in part if name not in self._told]
        if unknown:
            raise RobotError(f"limits name {', '.join(unknown)}; the action has {', '.join(self._told)}")
        usual = {"low": -np.inf, "high": np.inf}
        return {
            part: [float(by_name.get(name, usual[part])) for name in self._told]
            for part, by_name in self.action_limits.items()
            if part in usual
        } | {part: value for part, value in self.action_limits.items() if part not in usual}

    @property
    def home(self) -> np.ndarray | None:
        """The pose of the start, `(A,)`, where one was given."""
        if not self.home_pose:
            return None
        if absent := [name for name in self._told if name not in self.home_pose]:
            raise RobotError(f"home_pose lacks {', '.join(absent)}")
        return np.array([self.home_pose[name] for name in self._told], np.float64)

    def connect(self) -> None:
        if self.robot.is_connected:
            return
        try:
            self.robot.connect(calibrate=self.calibrate)
        except Exception as problem:
            raise RobotError(f"{self.embodiment} does not connect: {problem}") from problem
        if not self.robot.is_calibrated:
            self.disconnect()
            raise RobotError(
                f"{self.embodiment} is not calibrated: run lerobot-calibrate --robot.type={self.config['type']}"
            )

    def observe(self) -> Mapping[str, Sample]:
        began = self.now()
        try:
            seen = self.robot.get_observation()
        except Exception as problem:
            raise RobotError(f"{self.embodiment} does not answer: {problem}") from problem
        state = np.array([seen[name] for name in self._state], np.float32)
        found = {"observation.state": Sample(state, (began + self.now()) / 2)}
        for name in self._cameras:
            if seen.get(name) is not None:
                found[_camera(name)] = self._picture(name, np.asarray(seen[name]), began)
        return found

    def act(self, action: np.ndarray) -> np.ndarray:
        told = {name: float(value) for name, value in zip(self._told, action, strict=True)}
        try:
            sent = self.robot.send_action(told)
        except Exception as problem:
            raise RobotError(f"{self.embodiment} takes no action: {problem}") from problem
        return np.array([sent.get(name, told[name]) for name in self._told], np.float32)

    def hold(self) -> np.ndarray:
        """Where it measures itself is where it stays; what it does not measure (a velocity) is zero."""
        seen = self.robot.get_observation()
        held = np.array([float(seen.get(name, 0.0)) if not name.endswith(".vel") else 0.0 for name in self._told])
        return self.act(held)

    def disconnect(self) -> None:
        try:
            if self.robot.is_connected:
                self.robot.disconnect()
        except Exception:
            self._newest.clear()

    # -- inside ----------------------------------------------------------------------------------------------

    def _modelled(self) -> Kinematics:
        from collectors.teleop.robots.arm_model import ArmModel

        found: Kinematics = plugins.build(ArmModel, self.arm, "arm", "arm").kinematics(self._told)
        for name, unit in ((name, self._unit(name)) for name in found.elements):
            if unit not in ("deg", "rad"):
                raise RobotError(
                    f"{self.embodiment}: {name} is measured in {unit!r}, no angle; say `units: {{{name}: deg}}` or rad "
                    "if it is one, or have LeRobot normalise it to degrees (use_degrees)"
                )
        return found

    def _feature(self, names: list[str], role: Any, **info: Any) -> Feature:
        units = tuple(self._unit(name) for name in names)
        return Feature("float32", (len(names),), tuple(names), role, units, info=info)

    def _unit(self, name: str) -> str:
        """Of one element: what was given, else what LeRobot's motors are normalised to."""
        for ending, unit in self.units.items():
            if name.endswith(ending):
                return unit
        buses = [getattr(self.robot, attribute, None) for attribute in ("bus", "left_arm", "right_arm")]
        for bus in (getattr(bus, "bus", bus) for bus in buses):
            motors = getattr(bus, "motors", {}) or {}
            motor = motors.get(name.rsplit(".", 1)[0].removeprefix("left_").removeprefix("right_"))
            mode = str(getattr(getattr(motor, "norm_mode", ""), "value", ""))
            if mode:
                return "deg" if "degree" in mode else "%"
        return "1"

    def _picture(self, name: str, picture: np.ndarray, now: float) -> Sample:
        """With the time its camera says it was captured: LeRobot's cameras count on the same clock as ours."""
        camera = getattr(self.robot, "cameras", {}).get(name)
        captured = getattr(camera, "latest_timestamp", None)
        before = self._newest.get(name)
        if captured is None:  # such a camera says only that there is a picture
            same = before is not None and before.value is picture
            captured = before.time if same and before is not None else now
        sample = Sample(picture, float(captured))
        self._newest[name] = sample
        return sample


def make_robot(config: Mapping[str, Any]) -> Any:
    """A LeRobot robot of its type and fields. Raises `RobotError` with the types there are, or what a field lacks."""
    from lerobot.robots import RobotConfig, make_robot_from_config

    return make_robot_from_config(decoded(RobotConfig, config, "lerobot.robots"))


def decoded(base: Any, config: Mapping[str, Any], package: str) -> Any:
    """A LeRobot configuration: the subclass registered for `type`, its fields checked. package: where LeRobot's own
    stand, one folder each."""
    import draccus

    given = dict(config)
    _import_all(package, str(given.pop(PLUGINS, "")))
    kind = given.get("type")
    if kind not in base.get_known_choices():
        raise RobotError(f"LeRobot knows no {kind!r}; it has {', '.join(sorted(base.get_known_choices()))}")
    try:
        return draccus.decode(base, given)
    except Exception as problem:  # draccus, and the configurations' own checks, raise many kinds
        raise RobotError(f"{kind}: {problem}") from problem


def _import_all(package: str, extra: str) -> None:
    """Types are known once their folder was imported; one that lacks its driver is left out, its name is not."""
    import importlib
    import pkgutil

    from lerobot import cameras

    folders = [importlib.import_module(package), cameras]
    for module in pkgutil.iter_modules([path for folder in folders for path in folder.__path__]):
        if module.ispkg:
            for parent in folders:
                try:
                    importlib.import_module(f"{parent.__name__}.{module.name}")
                    break
                except Exception:
                    continue
    if extra:
        importlib.import_module(extra)


def _camera(name: str) -> str:
    return f"observation.images.{name}"
