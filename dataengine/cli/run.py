"""`dataengine run | status | cancel`: flows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import JsonFlag, console, finish, settings, show_json, show_table


def run(
    flow: Annotated[Path, typer.Argument(help="A flow file (see examples/).")],
    set_: Annotated[list[str], typer.Option("--set", help="NAME=VALUE for the flow's ${NAME}.")] = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, do nothing.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only the first N episodes.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core by default.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler, tcp://…")] = None,
    retry_quarantined: Annotated[bool, typer.Option("--retry-quarantined", help="Only what failed before.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Build the store anew if the flow changed.")] = False,
    json: JsonFlag = False,
) -> None:
    """Run a flow of stages and jobs into a store, with a report. Run it again to go on where it stopped."""
    from dataengine.doctor import require

    require("flow")
    from dataengine.flow import plan_flow, run_flow

    params = settings(set_)
    if dry_run:
        show_json(plan_flow(flow, params, limit=limit).to_json())
        return
    result = run_flow(
        flow,
        params,
        scheduler=scheduler,
        workers=workers,
        limit=limit,
        retry_quarantined=retry_quarantined,
        overwrite=overwrite,
        progress=not json,
    )
    finish(result, json)


def status(out: Annotated[Path, typer.Argument(help="The flow's store.")], json: JsonFlag = False) -> None:
    """How far the last flow on a store is."""
    from dataengine.flow import status as read

    found = read(out)
    if json:
        show_json(asdict(found))
    else:
        left = "" if found.left is None else f", about {found.left:.0f} s left"
        console.print(f"{found.name}: {found.state}, {found.phase}{left}", markup=False)
        rows = [(k, getattr(found, k)) for k in ("episodes", "done", "kept", "dropped", "quarantined", "frames")]
        show_table("", ["", ""], rows)
    raise typer.Exit(found.exit_code)


def cancel(out: Annotated[Path, typer.Argument(help="The flow's store.")]) -> None:
    """Stop the flow that is running on a store; what is committed stays and the same flow can go on."""
    from dataengine.flow import cancel as ask

    found = ask(out)
    console.print("asked to stop" if found.state == "running" else f"nothing is running: {found.state}")
