"""`dataengine collect NAME`: any installed collector, also a third party's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dataengine.cli.output import console, typed

StoreArgument = Annotated[Path, typer.Argument(help="The store to append to; made when it is not there.")]
SetOption = Annotated[list[str], typer.Option("--set", help="NAME=VALUE for the collector, e.g. episodes=50.")]


def command(name: str) -> Any:
    """The verb for a collector of that name."""

    def collect(store: StoreArgument, set_: SetOption = []) -> None:  # noqa: B006
        """Record episodes; run it again to go on where it stopped."""
        from dataengine.plugins import make
        from dataengine.progress import track
        from dataengine.store.gather import append_all

        collector = make("collectors", name, typed(set_))
        episodes = track(collector.collect(), total=getattr(collector, "episodes", None), what="recording")
        count = append_all(episodes, store)
        console.print(f"{count} new episodes in {store}", markup=False)

    app = typer.Typer()
    app.command(name)(collect)
    return typer.main.get_command(app)
