"""`dataengine verify | snapshot | compact`: what is done to a store as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import JsonFlag, console, show_json

StorePath = Annotated[Path, typer.Argument(help="A LeRobotDataset v3.0 folder, ours or not.")]


def verify(
    store: StorePath,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every picture as well.")] = False,
    digest: Annotated[bool, typer.Option("--digest", help="Print the one hash that equal stores share.")] = False,
    json: JsonFlag = False,
) -> None:
    """Check counts, times, files and hashes; exit code 1 when something is wrong."""
    from dataengine.store import Store

    opened = Store.open(store)
    if digest:
        print(opened.digest())
        return
    report = opened.verify(deep=deep)
    if json:
        show_json({"problems": [str(p) for p in report.problems], "episodes": len(opened), "notes": report.notes})
    else:
        for problem in report.problems:
            console.print(f"problem: {problem}", markup=False)
        console.print(f"{len(opened)} episodes, {len(report.problems)} problems")
        for note in report.notes:
            console.print(f"note: {note}", markup=False)
    if report.problems:
        raise typer.Exit(1)


def snapshot(
    store: StorePath, target: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")]
) -> None:
    """Give others a whole state of a store that may go on growing (hard links where possible)."""
    from dataengine.store import Store

    Store.open(store).snapshot(target)
    console.print(f"snapshot at {target}", markup=False)


def compact(store: StorePath) -> None:
    """Pack the small files of many appends; the content stays the same."""
    from dataengine.store import Store

    Store.open(store).compact()
    console.print(f"compacted {store}", markup=False)
