"""What verbs print: a table for a person, JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def show_json(data: Any) -> None:
    print(json.dumps(data, indent=2, ensure_ascii=False, default=_plain))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Text from datasets is data: markup in it is shown, not obeyed."""
    table = Table(title=escape(title), title_justify="left", show_edge=False, pad_edge=False)
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
    import yaml

    return {name: yaml.safe_load(value) for name, value in settings(pairs).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple | set | frozenset) else str(value)
