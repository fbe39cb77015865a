"""`dataengine collect serve`: take in what recorders push, into one growing store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import console

TokenOption = Annotated[
    str | None,
    typer.Option(envvar="DATAENGINE_FLEET_TOKEN", help="What recorders must show; safest in the environment."),
]


def serve(
    store: Annotated[Path, typer.Argument(help="The store that grows; its first episode makes it.")],
    host: Annotated[str, typer.Option(help="Where to listen; others than this machine need more than the default.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0: any free one.")] = 8787,
    token: TokenOption = None,
    name: Annotated[list[str], typer.Option(help="A host name that recorders use for this service.")] = [],  # noqa: B006
    waiting_days: Annotated[float, typer.Option(help="How long an upload that stopped is kept.")] = 7.0,
    waiting_gb: Annotated[float, typer.Option(help="How much all uploads under way may take.")] = 64.0,
) -> None:
    """Take in whole episodes from recorders (`collect push`), one writer for all of them."""
    from dataengine.doctor import require

    require("hub")
    import secrets

    from collectors.fleet.offer import Limits
    from collectors.fleet.service import address_of, listening, opened, server_of
    from dataengine.errors import ConfigError

    if token is not None and (len(token) < 16 or not token.isascii() or not token.isprintable()):
        raise ConfigError("a token has 16 printable ASCII characters or more; leave it out and one is made")
    shown = token is None  # one that was given is not for a log
    token = token or secrets.token_urlsafe(24)
    limits = Limits(waiting_seconds=waiting_days * 86400, waiting_bytes=int(waiting_gb * 1e9))
    hosts = [*name, f"[{host}]" if ":" in host else host]

    def say(line: str) -> None:
        console.print(line, markup=False)

    with listening(host, port) as listener, opened(store, token, hosts=hosts, limits=limits, say=say) as app:
        address = address_of(listener)
        say(f"{store} takes in episodes at {address} (Ctrl-C stops it). On a recorder:")
        say(f"  DATAENGINE_FLEET_TOKEN={token if shown else '…'} dataengine collect push STORE {address} --follow")
        server_of(app).run([listener])
