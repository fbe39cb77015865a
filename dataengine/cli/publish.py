"""`dataengine publish`: send a store to the Hub, or say why not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dataengine.cli.output import JsonFlag, console, show_json


def publish(
    store: Annotated[Path, typer.Argument(help="The store to publish.")],
    repo_id: Annotated[str, typer.Argument(help="owner/name on the Hub.")],
    private: Annotated[bool, typer.Option(help="Only you can see it.")] = True,
    licence: Annotated[str | None, typer.Option("--licence", "--license", help="SPDX name, e.g. apache-2.0.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Another Hub (see `dataengine hub serve`).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and describe, send nothing.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where the report goes.")] = None,
    json: JsonFlag = False,
) -> None:
    """Check a store, write its card, and publish it in one commit. Private unless told otherwise."""
    from dataengine.doctor import require

    require("hub")
    from dataengine.hub.publish import Publish

    job = Publish(repo_id, private=private, licence=licence, endpoint=endpoint, dry_run=dry_run)
    report = job.run(store, out or store.resolve() / ".dataengine" / "publish")
    if json:
        show_json(report)
        return
    verb = "would publish" if dry_run else "published"
    who = "private" if private else "PUBLIC: everybody can read it"
    console.print(f"{verb} {report['files']} files, {report['bytes'] / 2**20:.1f} MiB, {who}", markup=False)
    for finding in report["findings"]:
        console.print(f"  {finding['level']}: {finding['where']}: {finding['what']}", markup=False)
    if not dry_run:
        console.print(
            f"{report['url']}  commit {report['commit'][:12]}  tags {', '.join(report['tags'])}", markup=False
        )
