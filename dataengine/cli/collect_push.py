"""`dataengine collect push`: send a local store's episodes to a collector service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.collect_serve import TokenOption
from dataengine.cli.output import console, errors


def push(
    store: Annotated[Path, typer.Argument(help="A store of this machine, which others may be recording into.")],
    url: Annotated[str, typer.Argument(help="The service, e.g. http://127.0.0.1:8787.")],
    token: TokenOption = None,
    follow: Annotated[bool, typer.Option("--follow", help="Keep sending what is appended.")] = False,
    recorder: Annotated[str | None, typer.Option(help="Name to be kept with the episodes; else one is made up.")] = (
        None
    ),
    patience: Annotated[float, typer.Option(help="Seconds the service may be away; with --follow, for ever.")] = 120.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, send nothing.")] = False,
) -> None:
    """Send every episode that the service lacks; exit code 3 where it refused one."""
    from dataengine.doctor import require

    require("hub")
    from collectors.fleet.push import Push, Report, bytes_of
    from collectors.fleet.wire import Wire
    from dataengine.errors import ConfigError

    if token is None:
        raise ConfigError("the service's token is needed: --token, or DATAENGINE_FLEET_TOKEN; it printed one")

    def warn(line: str) -> None:
        errors.print(line, markup=False)

    def done(report: Report) -> None:
        counts = {"sent": report.sent, "there already": report.there, "taken out by an edit there": report.gone}
        said = [f"{len(ids)} {what}" for what, ids in (counts | {"refused": list(report.refused)}).items() if ids]
        console.print(f"{store}: {', '.join(said) or 'nothing to send'}", markup=False)

    work = Push(store, Wire(url, token, None if follow else patience, warn), recorder=recorder, say=warn)
    if dry_run:
        lacks = work.lacking()
        console.print(
            f"{len(lacks)} of {len(work.store)} episodes, about {bytes_of(work.store, lacks):,} bytes of video"
        )
        for identity in lacks:
            console.print(f"  {identity}", markup=False)
    elif follow:
        for report in work.follow():
            done(report)
    else:
        done(work.once())
    if work.report.refused:
        raise typer.Exit(3)
