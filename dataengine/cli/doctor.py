"""`dataengine doctor`: what this machine has and lacks."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dataengine.cli.output import JsonFlag, console, show_json, show_table


def doctor(json: JsonFlag = False) -> None:
    """Check what this machine must have, and name what to install."""
    from dataengine.doctor import examine

    checks = list(examine())
    if json:
        show_json([asdict(check) for check in checks])
    else:
        show_table("This machine", ["part", "state", "found"], [(c.name, c.state, c.found) for c in checks])
        for check in checks:
            if check.mend:
                console.print(f"\n{check.name}: {check.mend}", markup=False)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)
