"""`dataengine evaluate`: run a policy in the embedded world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import JsonFlag, console, show_json


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder of `dataengine train`.")],
    episodes: Annotated[int, typer.Option(help="Unseen scenes; each is tried with every instruction.")] = 50,
    seed: Annotated[int, typer.Option(help="First scene; scenes of training are never used.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Where the report and filmstrip go.")] = None,
    json: JsonFlag = False,
) -> None:
    """Success in the embedded world with a 95 % interval, and a filmstrip of what happened."""
    from dataengine.doctor import require

    require("sim")
    require("train")
    from dataengine.plugins import load
    from dataengine.sim.evaluate import evaluate as run

    result = run(load("policies", "reference")(checkpoint), episodes=episodes, seed=seed)
    folder = out or checkpoint / "evaluation"
    result.write(folder)
    if json:
        show_json(result.to_json())
        return
    console.print(result.summary(), markup=False)
    console.print(f"filmstrip and figures in {folder}", markup=False)
