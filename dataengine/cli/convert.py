"""`dataengine convert`: foreign files into a store, or a store out into a foreign format."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from dataengine.cli.output import JsonFlag, console, errors, finish, show_json


def convert(
    paths: Annotated[list[Path], typer.Argument(metavar="SOURCE... STORE", help="Sources, then the store to write.")],
    mapping: Annotated[Path | None, typer.Option(help="YAML mapping of units, names, cameras, rate, task.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and assumed, do nothing.")] = False,
    write_mapping: Annotated[Path | None, typer.Option(help="Write the mapping to edit to this file.")] = None,
    format: Annotated[str | None, typer.Option(help="Take this converter instead of the one found.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N episodes.")] = None,
    common: Annotated[bool, typer.Option("--common", help="Of several sources keep the features all have.")] = False,
    to: Annotated[str | None, typer.Option(help="Write this foreign format instead of a store, e.g. aloha.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core by default.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler, tcp://…")] = None,
    retry_quarantined: Annotated[bool, typer.Option("--retry-quarantined", help="Only what failed before.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Build the store anew if the mapping changed.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Convert recordings into a LeRobotDataset v3.0. The format is found by content; run it again to go on."""
    from dataengine.doctor import require
    from dataengine.errors import ConfigError

    require("convert")
    if len(paths) < 2:
        raise ConfigError("convert takes a source and then the store to write: dataengine convert SOURCE STORE")
    sources, out = paths[:-1], paths[-1]
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; the last argument is the folder to write to")
    if dry_run or write_mapping:
        from dataengine.flow.source import expand

        _describe([p for source in sources for p in expand(str(source))], mapping, format, write_mapping, json)
        return
    if to is not None:
        _export(sources, out, to, mapping, format, limit, json)
        return
    require("flow")
    from dataengine.flow import convert as run

    given = _merged(sources, mapping, common)
    options: dict[str, Any] = {"format": format, "limit": limit, "workers": workers, "scheduler": scheduler}
    shared = None if len(sources) > 1 else mapping
    options |= {"retry_quarantined": retry_quarantined, "overwrite": overwrite, "progress": not json}
    finish(run(given, out, mapping=shared, **options), json)


def _merged(sources: list[Path], mapping: Path | None, common: bool) -> list[Any]:
    if len(sources) == 1:
        return list(sources)
    from converters.merge import MergeSource, plan_merge
    from dataengine.guard import read_yaml

    laid = read_yaml(mapping) if mapping else None
    merge = plan_merge([MergeSource(s, laid) for s in sources], features="common" if common else "same")
    for note in merge.notes:
        errors.print(f"note: {note}", markup=False)
    return merge.sources()


def _describe(
    sources: list[Path], mapping: Path | None, format: str | None, write_to: Path | None, as_json: bool
) -> None:
    from converters.report import describe, look, render, write_mapping
    from dataengine.guard import read_yaml

    laid = read_yaml(mapping) if mapping else None
    found = []
    for source in sources:
        plan, copied = look(source, laid, format)
        found.append(describe(plan, copied=copied))
        if not as_json:
            console.print(render(plan, copied=copied), markup=False)
        if write_to is not None:
            write_mapping(plan, write_to)
    if as_json:
        show_json(found)


def _export(
    sources: list[Path],
    out: Path,
    to: str,
    mapping: Path | None,
    format: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    from dataengine.detect import find_converter
    from dataengine.errors import ConfigError
    from dataengine.guard import read_yaml
    from dataengine.plugins import make

    target = make("converters", to)
    if not hasattr(target, "write"):
        raise ConfigError(f"{to!r} can be read but not written")
    laid = read_yaml(mapping) if mapping else None
    read = [(c, c.plan(s, laid)) for s in sources for c in [find_converter(s, format)]]
    episodes = islice(((c, plan, ref) for c, plan in read for ref in plan.episodes), limit)
    written = target.write((c.read(plan, ref) for c, plan, ref in episodes), out)
    if as_json:
        show_json({"files": [str(path) for path in written]})
    else:
        console.print(f"wrote {len(written)} files to {out}", markup=False)
