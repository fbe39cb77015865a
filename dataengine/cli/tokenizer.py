"""`dataengine tokenizer`: fit an action tokenizer on a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dataengine.cli.output import JsonFlag, console, show_json, show_table, typed


def tokenizer(
    store: Annotated[Path, typer.Argument(help="The store to fit on.")],
    out: Annotated[Path, typer.Argument(help="Folder for the tokenizer and its report.")],
    kind: Annotated[
        Literal["fast_tokenizer", "action_bins"], typer.Option(help="DCT + byte pairs, or 256 bins.")
    ] = "fast_tokenizer",
    set_: Annotated[list[str], typer.Option("--set", help="NAME=VALUE, e.g. vocab_size=2048 seconds=0.5.")] = [],  # noqa: B006
    json: JsonFlag = False,
) -> None:
    """Fit an action tokenizer and show tokens per chunk and reconstruction error on held-out episodes."""
    from dataengine.doctor import require
    from dataengine.plugins import make

    require("tokenizer")
    report = make("jobs", kind, typed(set_)).run(store, out)
    if json:
        show_json(report)
        return
    tokens = report["tokens_per_chunk"]
    console.print(
        f"{report['chunk'][0]} steps × {report['chunk'][1]} dimensions: {tokens['mean']} tokens a chunk "
        f"(max {tokens['max']}) for {report['numbers_per_chunk']} numbers, vocabulary {report['vocabulary']}"
    )
    rows = [(e["name"], e["unit"] or "not stated", f"{e['mean']:.4g}", f"{e['p99']:.4g}") for e in report["error"]]
    show_table("Reconstruction error", ["dimension", "unit", "mean", "99 %"], rows)
