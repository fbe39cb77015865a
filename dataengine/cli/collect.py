"""`dataengine collect`: record episodes from a live source into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import console, typed


def collect(
    source: Annotated[str, typer.Argument(help="A collector, e.g. expert (see `dataengine plugins`).")],
    store: Annotated[Path, typer.Argument(help="The store to append to; made when it is not there.")],
    set_: Annotated[list[str], typer.Option("--set", help="NAME=VALUE for the collector, e.g. episodes=50.")] = [],  # noqa: B006
) -> None:
    """Record episodes; run it again to go on where it stopped."""
    from dataengine.doctor import require
    from dataengine.plugins import make
    from dataengine.progress import track
    from dataengine.store.gather import append_all

    if source == "expert":
        require("sim")
    collector = make("collectors", source, typed(set_))
    episodes = track(collector.collect(), total=getattr(collector, "episodes", None), what="recording")
    count = append_all(episodes, store)
    console.print(f"{count} new episodes in {store}", markup=False)
