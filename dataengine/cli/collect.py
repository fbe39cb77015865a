"""`dataengine collect`: record episodes from a live source into a store. One thin module per verb."""

from __future__ import annotations

import typer
import typer.core

from dataengine.cli import (
    collect_any,
    collect_ego,
    collect_expert,
    collect_push,
    collect_rollout,
    collect_serve,
    collect_teleop,
)


class Sources(typer.core.TyperGroup):
    """What is no verb of its own is the name of an installed collector."""

    def get_command(self, ctx: typer.Context, name: str) -> typer.core.TyperCommand | None:  # type: ignore[override]
        found = super().get_command(ctx, name)
        if found is None and not name.startswith("-"):
            found = collect_any.command(name)
        return found  # type: ignore[return-value]


app = typer.Typer(cls=Sources, help="Record episodes from a live source into a store.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Record episodes from a live source into a store: one of the verbs below, or any installed collector
    (`dataengine plugins`)."""


app.command("expert")(collect_expert.expert)
app.command("ego")(collect_ego.ego)
app.command("rollout")(collect_rollout.rollout)
app.command("serve")(collect_serve.serve)
app.command("push")(collect_push.push)
app.command("teleop")(collect_teleop.teleop)
