"""From what a command line says to a session: the robot, its devices, the recorder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collectors.recorder import Recorder, Setup
from collectors.teleop.devices.intervene import Intervene
from collectors.teleop.drive import actors
from collectors.teleop.framing import Framing
from collectors.teleop.loop import Clock
from collectors.teleop.plan import Plan
from collectors.teleop.session import Session
from dataengine import plugins
from dataengine.errors import ConfigError
from dataengine.guard import parse_yaml
from dataengine.robot import Device, Robot

FOR_A_PERSON = ("page", "keyboard", "pointer", "touch", "gamepad", "phone")
MOST_BYTES = 1 << 20  # of a robot's file


def robot_of(file: Path | None, params: Mapping[str, Any]) -> tuple[Robot, Mapping[str, Any]]:
    """The robot of a YAML file (`robot:` its kind, the rest its parameters), or the embedded world; and the facts an
    episode is kept with. Raises `ConfigError` naming what the file lacks."""
    if file is None:
        kind, given = "world", dict(params)
    else:
        if not file.is_file() or file.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{file}: no such file, or too large to be a robot's")
        data = parse_yaml(file.read_text(), str(file))
        if not isinstance(data, dict) or not isinstance(data.get("robot"), str):
            raise ConfigError(f"{file}: it needs a line `robot: NAME`, one of {', '.join(plugins.parts('robots'))}")
        kind, given = data.pop("robot"), {**data, **params}
        given.pop("teleop", None)
    said = hashlib.sha256(json.dumps([kind, given], sort_keys=True, default=str).encode()).hexdigest()
    return plugins.make("robots", kind, given), {"kind": kind, "config_sha256": said}


def devices_of(named: Sequence[str], file: Path | None, sim: bool) -> dict[str, Device]:
    """The devices of `NAME`, `NAME:key=value,key=value` or, for two that act in turn, `BASE+NAME`; the first one drives
    at first. Without any: the page's, a robot file's leader, and in the world the expert too."""
    wanted = list(named)
    leader = _leader(file)
    if not wanted:
        wanted = (["lerobot"] if leader else []) + ["page", *(["expert", "expert+page"] if sim else [])]
        wanted += FOR_A_PERSON[1:]
    return {name.partition(":")[0]: _device(name, leader) for name in dict.fromkeys(wanted)}


def _device(text: str, leader: Mapping[str, Any] | None) -> Device:
    base, plus, person = text.partition("+")
    if plus:
        return Intervene(_device(base, leader), _device(person, leader))
    name, _, params = base.partition(":")
    given: dict[str, Any] = {}
    for pair in filter(None, params.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"device {text!r}: parameters are key=value, separated by commas")
        given[key] = parse_yaml(value, f"device {name}")
    if name == "lerobot" and leader is not None:
        given = {**leader, **given}
    device: Device = plugins.make("devices", name, given)
    return device


def _leader(file: Path | None) -> Mapping[str, Any] | None:
    """The parameters of the device `lerobot` that a robot's file brings under `teleop:`."""
    data = parse_yaml(file.read_text(), str(file)) if file is not None and file.is_file() else {}
    teleop = data.get("teleop") if isinstance(data, dict) else None
    if teleop is not None and not isinstance(teleop, dict):
        raise ConfigError(f"{file}: teleop holds the type and fields of a LeRobot teleoperator")
    return None if teleop is None else {"config": teleop}


def actors_of(devices: Mapping[str, Device]) -> tuple[str, ...]:
    """Everybody who may act, once."""
    return tuple(dict.fromkeys(name for device in devices.values() for name in actors(device)))


@contextmanager
def session(
    store: Path,
    robot: Robot,
    devices: Mapping[str, Device],
    plan: Plan,
    *,
    operator: str | None = None,
    licence: str | None = None,
    facts: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
) -> Iterator[Session]:
    """A session that records into a store, or rehearses; its recorder is closed at the end. The robot is connected once
    before, since many tell their features only then. clock: of the session and the embedded world."""
    if clock is not None:
        robot.now = clock.now  # type: ignore[attr-defined]
    robot.connect()
    try:
        features = robot.features
    except BaseException:
        robot.disconnect()
        raise
    pictures = {key: feature.shape[:2] for key, feature in features.items() if feature.is_camera}
    framing = Framing(store, {key: (shape[0], shape[1]) for key, shape in pictures.items()})
    if plan.rehearse:
        yield Session(robot, devices, plan, None, framing, clock)
        return
    setup = Setup(
        plan.fps,
        features,
        columns=dict(getattr(robot, "columns", {})),
        actors=actors_of(devices),
        embodiment=robot.embodiment,
        operator=operator,
        licence=licence,
        robot={"name": robot.name, **(facts or {})},
    )
    try:
        recorder = Recorder(store, setup)
    except BaseException:
        robot.disconnect()
        raise
    with recorder:
        yield Session(robot, devices, plan, recorder, framing, clock)


def run(made: Session) -> None:
    """Run a session in a thread of its own, so that this one hears signals. Raises what the loop raised."""
    problems: list[BaseException] = []

    def loop() -> None:
        try:
            made.run()
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=loop, name="teleop-loop", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
    if problems:
        raise problems[0]
