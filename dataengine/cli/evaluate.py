"""`dataengine evaluate`: run a policy in the embedded world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dataengine.cli.output import JsonFlag, console, show_json, typed


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder of `dataengine train`.")],
    episodes: Annotated[
        int, typer.Option(min=1, help="Attempts: half as many unseen scenes, both instructions in each.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Which unseen scenes; no demonstration is ever made in them.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    set_: Annotated[
        list[str], typer.Option("--set", help="NAME=VALUE of the evaluation, e.g. tasks=[place_red,place_blue].")
    ] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Where figures and filmstrip go.")] = None,
    json: JsonFlag = False,
) -> None:
    """Success in the embedded world with a 95 % interval, and a filmstrip of what happened."""
    from dataengine.doctor import require

    require("sim")
    require("train")
    from dataengine.plugins import make

    params: dict[str, Any] = {"checkpoint": checkpoint, "episodes": episodes, "seed": seed, "workers": workers}
    params |= typed(set_)
    folder = out or checkpoint / "evaluation"
    report = make("jobs", "evaluate", params).run(None, folder)
    if json:
        show_json(report)
        return
    console.print(report["summary"], markup=False)
    for text, rate in report["by_instruction"].items():
        console.print(f"  {text}: {rate['success']:.1%} of {rate['n']}", markup=False)
    console.print(f"figures and filmstrip in {folder}", markup=False)
