"""`dataengine train`: train the reference policy, or hand the store to stock LeRobot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import JsonFlag, console, show_json, typed


def train(
    store: Annotated[Path, typer.Argument(help="The store to train on.")],
    out: Annotated[Path, typer.Argument(help="Folder for the checkpoint, curves and report.")],
    policy: Annotated[str, typer.Option(help="reference, or lerobot:act, lerobot:smolvla, …")] = "reference",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps; 1600 for the reference, 20 for LeRobot's.")
    ] = None,
    set_: Annotated[
        list[str], typer.Option("--set", help="NAME=VALUE of the policy, e.g. head=flow; a wrong name lists all.")
    ] = [],  # noqa: B006
    json: JsonFlag = False,
) -> None:
    """Train a policy on a store, split by episode, failed episodes left out. A killed run goes on where it was."""
    from dataengine.doctor import require
    from dataengine.errors import ConfigError
    from dataengine.plugins import make

    if policy != "reference" and not policy.startswith("lerobot:"):
        raise ConfigError(f"--policy is reference, or lerobot: and one of LeRobot's, e.g. lerobot:act, not {policy!r}")
    require("lerobot" if policy.startswith("lerobot:") else "train")
    params = typed(set_) | ({} if steps is None else {"steps": steps})
    if policy.startswith("lerobot:"):
        job = make("jobs", "train_lerobot", params | {"policy": policy.removeprefix("lerobot:")})
    else:
        job = make("jobs", "train", params)
    report = job.run(store, out)
    show_json(report) if json else console.print(report.get("summary", ""), markup=False)
