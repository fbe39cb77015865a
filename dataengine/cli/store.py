"""`dataengine verify | repair | snapshot | compact`: what is done to a store as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import JsonFlag, console, show_json

StorePath = Annotated[Path, typer.Argument(help="A LeRobotDataset v3.0 folder, ours or not.")]


def verify(
    store: StorePath,
    quick: Annotated[bool, typer.Option("--quick", help="Read no bodies of files, say what is trusted.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every picture as well.")] = False,
    digest: Annotated[bool, typer.Option("--digest", help="Print the one hash that equal stores share.")] = False,
    json: JsonFlag = False,
) -> None:
    """Check counts, times, files and hashes, and say what a loader would read; exit code 1 when something is wrong."""
    from dataclasses import asdict

    from dataengine.errors import ConfigError
    from dataengine.store import Store
    from dataengine.store.verify import verify

    if quick and (deep or digest):
        raise ConfigError("--quick reads no bodies of files; leave out --deep and --digest, which do")
    if digest and not deep:
        found = Store.open(store).digest()
        show_json({"digest": found}) if json else print(found)
        return
    report = verify(store, deep=deep, quick=quick)
    if json:
        show_json(asdict(report))
    else:
        for problem in report.problems:
            console.print(f"problem: {problem}", markup=False)
        console.print(f"{report.episodes} episodes, {report.frames} frames, {len(report.problems)} problems")
        said = {"checked": report.checked, "trusted": report.trusted, "digest": report.digest if digest else None}
        for word, text in said.items():
            if text:
                console.print(f"{word}: {text}", markup=False)
        for note in report.notes:
            console.print(f"note: {note}", markup=False)
    if report.problems:
        raise typer.Exit(1)


def repair(
    store: StorePath,
    out: Annotated[Path | None, typer.Option(help="Write the sound episodes into a new store here instead.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")] = False,
    json: JsonFlag = False,
) -> None:
    """Save what can be saved of a damaged store and say what was lost. Another's dataset needs --out."""
    from dataclasses import asdict

    from dataengine.store.repair import repair

    done = repair(store, out=out, dry_run=dry_run)
    if json:
        show_json(asdict(done))
        return
    for word, found in (("mended", done.mended), ("lost", done.lost)):
        for text in found:
            console.print(f"{word}: {text}", markup=False)
    then = "would be left" if dry_run else f"in {out or store}" if done.done else "nothing is damaged"
    console.print(f"{done.episodes} episodes, {done.frames} frames: {then}", markup=False)


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
