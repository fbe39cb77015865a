"""A session as the command line asks for it: with a page or without, with keys where there is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collectors.teleop import build, terminal
from collectors.teleop.loop import SimulatedClock
from collectors.teleop.plan import Plan
from collectors.teleop.session import Session
from dataengine.errors import ConfigError
from dataengine.robot import Robot


@dataclass(frozen=True)
class Wishes:
    """The options of `dataengine collect teleop`, as they were given."""

    store: Path
    sim: bool = False
    robot: Path | None = None
    device: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    episodes: int = 50
    fps: float | None = None
    seconds: float = 120.0
    reset_seconds: float | None = None
    seed: int = 0
    rehearse: bool = False
    headless: bool = False
    simulated_time: bool = False
    port: int = 0
    lan: bool = False
    operator: str | None = None
    licence: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sim == (self.robot is not None):
            raise ConfigError("say either --sim, for the embedded world, or --robot FILE.yaml, for a robot")
        if self.simulated_time and not (self.sim and self.headless):
            raise ConfigError(
                "only the embedded world has a time of its own, and nobody could follow it on a page: "
                "--simulated-time needs --sim and --headless"
            )


def launch(wishes: Wishes, say: Callable[[str], None], run: Callable[[Session], None]) -> None:
    """Begin, run and end a session; say: prints a line."""
    params = dict(wishes.params)
    if wishes.sim and wishes.fps is not None:
        params["fps"] = wishes.fps
    if wishes.simulated_time:
        params["beside"] = False
    robot, facts = build.robot_of(wishes.robot, params)
    devices = build.devices_of(wishes.device, wishes.robot, wishes.sim)
    plan = _plan(wishes, robot)
    with ExitStack() as stack:
        asked: dict[str, Any] = {"operator": wishes.operator, "licence": wishes.licence}
        asked["clock"] = SimulatedClock() if wishes.simulated_time else None
        made = stack.enter_context(build.session(wishes.store, robot, devices, plan, facts=facts, **asked))
        _greet(made, say)
        stack.enter_context(terminal.signals(made))
        if not wishes.headless:
            from collectors.teleop.web.server import serve

            say(stack.enter_context(serve(made, port=wishes.port, lan=wishes.lan)).announcement())
        if stack.enter_context(terminal.keys(made)):
            say(terminal.HELP)
        run(made)
    _farewell(made, wishes.store, say)


def _plan(wishes: Wishes, robot: Robot) -> Plan:
    tasks = getattr(robot, "tasks", ()) if wishes.sim else ()
    if wishes.sim and (unknown := [name for name in wishes.task if name not in tasks]):
        raise ConfigError(f"the world has no task {', '.join(unknown)}; it has {', '.join(tasks)}")
    words = "" if wishes.sim else " ".join(wishes.task)
    if not words and not hasattr(robot, "instruction"):
        raise ConfigError('say what is to be done: --task "put the cube into the bin"')
    return Plan(
        fps=wishes.fps or robot.fps,
        instruction=words,
        tasks=wishes.task if wishes.sim else (),
        target=wishes.episodes,
        seconds=wishes.seconds,
        reset_seconds=(1.0 if wishes.sim else 30.0) if wishes.reset_seconds is None else wishes.reset_seconds,
        seed=wishes.seed,
        rehearse=wishes.rehearse,
        alone=wishes.headless,
    )


def _greet(made: Session, say: Callable[[str], None]) -> None:
    """What an earlier session left, and where this one goes on."""
    if made.recorder is None:
        say("rehearsal: nothing is recorded")
        return
    for found in made.recorder.recovered:
        say(f"found: {found.words}")
    if made.recorder.kept >= made.plan.target:
        say(f"all {made.plan.target} episodes are there; --episodes says how many the dataset shall have")
    elif made.recorder.kept:
        say(f"going on with episode {made.recorder.kept + 1} of {made.plan.target}")


def _farewell(made: Session, store: Path, say: Callable[[str], None]) -> None:
    if made.recorder is None:
        return
    status = made.status()
    rate = f", {100 * status.successes / status.kept:.0f} % successes" if status.kept else ""
    say(
        f"{status.kept} episodes, {status.seconds_kept / 3600:.2f} hours in {store}{rate}; {status.discarded} discarded"
    )
