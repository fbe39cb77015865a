"""What verbs print: a table for a person, JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dataengine.lines import one_line

if TYPE_CHECKING:
    from dataengine.flow import FlowResult

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]

SHOWN = 3  # reasons that are printed

# Lines are never broken here: a pipe, a narrow terminal and a test read the same text.
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def show_json(data: Any) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False, default=_plain))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Text from datasets is data: markup in it is shown, not obeyed."""
    look: dict[str, Any] = {"title_justify": "left", "show_edge": False, "pad_edge": False}
    table = Table(title=escape(title), show_header=any(columns), **look)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    console.print(table)


def settings(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping."""
    from dataengine.errors import ConfigError

    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"{pair!r} is not NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def typed(pairs: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` arguments with values read as YAML scalars (numbers, true, lists)."""
    from dataengine.guard import parse_yaml

    return {name: parse_yaml(value, f"--set {name}") for name, value in settings(pairs).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple | set | frozenset) else str(value)


def finish(result: FlowResult, as_json: bool) -> None:
    """Print what a flow did and leave with its exit code."""
    if as_json:
        show_json(result.to_json())
    else:
        console.print(
            f"{result.state}: {result.kept} episodes, {result.frames} frames in {result.out} ({result.seconds:.0f} s"
            + (f", {result.reused} found done" if result.reused else "")
            + ")",
            markup=False,
        )
        for count, what in ((result.dropped, "dropped by a stage"), (result.quarantined, "in quarantine")):
            if count:
                console.print(f"  {count} {what}; the report says why", markup=False)
        for one in result.record.get("quarantined", [])[:SHOWN]:
            console.print(f"    {one_line(f'{one["episode"]}: {one["reason"]}')[:300]}", markup=False)
        for job in result.jobs:
            page = job.report.get("page")
            more = job.error or (str(Path(job.folder).parent / page) if page else "")
            console.print(f"  {job.label}: {job.state}{f' – {more}' if more else ''}", markup=False)
        if result.error:
            errors.print(f"error: {result.error}", markup=False)
        if result.report:
            console.print(f"report: {result.report}", markup=False)
    if result.exit_code:
        raise typer.Exit(result.exit_code)
