"""`dataengine collect teleop`: drive a robot, or the embedded world, and record what happens into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import console, typed


def teleop(
    store: Annotated[Path, typer.Argument(help="The store to append to; made when it is not there.")],
    sim: Annotated[bool, typer.Option("--sim", help="The embedded world; needs no hardware.")] = False,
    robot: Annotated[Path | None, typer.Option(help="A robot's YAML, see examples/robots/.")] = None,
    device: Annotated[list[str], typer.Option(help="NAME[:key=value,…] or BASE+NAME; the first drives first.")] = [],  # noqa: B006
    task: Annotated[list[str], typer.Option(help="A task of the world; or the instruction in words.")] = [],  # noqa: B006
    episodes: Annotated[int, typer.Option(help="How many the dataset shall have.")] = 50,
    fps: Annotated[float | None, typer.Option(help="Ticks and rows a second; by default the robot's own.")] = None,
    seconds: Annotated[float, typer.Option(help="The longest an episode may take.")] = 120.0,
    reset_seconds: Annotated[
        float | None, typer.Option(help="Time to set the scene up; 1 in the world, else 30.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first scene of the world.")] = 0,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="Record nothing.")] = False,
    headless: Annotated[
        bool, typer.Option("--headless", help="No page and no orders: for experts and policies.")
    ] = False,
    simulated_time: Annotated[
        bool, typer.Option("--simulated-time", help="As fast as the machine can; with --sim --headless.")
    ] = False,
    port: Annotated[int, typer.Option(help="Of the page; 0 for any.")] = 0,
    lan: Annotated[bool, typer.Option("--lan", help="Let a phone in this network in, by QR code.")] = False,
    operator: Annotated[str | None, typer.Option(help="Who drives.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the recordings, e.g. apache-2.0.")] = None,
    set_: Annotated[list[str], typer.Option("--set", help="NAME=VALUE for the robot, e.g. image_size=224.")] = [],  # noqa: B006
) -> None:
    """Record demonstrations: open the address it prints, or use the keys it names. What was kept is never lost."""
    from dataengine.doctor import require

    require("collect")
    from collectors.teleop import build
    from collectors.teleop.launch import Wishes, launch

    wishes = Wishes(
        store, sim, robot, tuple(device), tuple(task), episodes, fps, seconds, reset_seconds, seed, rehearse, headless,
        simulated_time, port, lan, operator, licence, typed(set_),
    )  # fmt: skip
    launch(wishes, lambda line: console.print(line, markup=False), build.run)
