"""`dataengine plugins`: every installed part, built in or third party."""

from __future__ import annotations

from typing import get_args

from dataengine.cli.output import JsonFlag, show_json, show_table


def plugins(json: JsonFlag = False) -> None:
    """List converters, collectors, stages and the other parts that are installed."""
    from dataengine.plugins import Kind, parts

    rows = [(kind, name, point.value) for kind in get_args(Kind) for name, point in parts(kind).items()]
    if json:
        show_json([dict(zip(("kind", "name", "from"), row, strict=True)) for row in rows])
    else:
        show_table("Installed parts", ["kind", "name", "from"], rows)
