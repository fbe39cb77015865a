"""`dataengine collect expert`: demonstrations of the scripted expert in the embedded world."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from dataengine.cli.collect_any import SetOption, StoreArgument
from dataengine.cli.output import JsonFlag, console, show_json, show_table, typed


def expert(
    store: StoreArgument,
    task: Annotated[list[str], typer.Option(help="A task, repeatable; `all`: every one the arm can do.")] = [],  # noqa: B006
    episodes: Annotated[int | None, typer.Option(min=1, help="How many.")] = None,
    seed: Annotated[int | None, typer.Option(help="The run; runs share no scene.")] = None,
    arm: Annotated[str | None, typer.Option(help="five or six (joints).")] = None,
    fps: Annotated[float | None, typer.Option(help="Actions a second.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; the episodes are the same.")] = None,
    set_: SetOption = [],  # noqa: B006
    json: JsonFlag = False,
) -> None:
    """Demonstrations of the scripted expert; run it again to go on where it stopped."""
    from dataengine.doctor import require

    require("sim")
    from collectors.expert import Tally
    from dataengine.plugins import make
    from dataengine.progress import track
    from dataengine.sim.tasks import tasks_of
    from dataengine.store.gather import append_all

    named: dict[str, Any] = {"episodes": episodes, "seed": seed, "arm": arm, "fps": fps, "workers": workers}
    params = {name: value for name, value in named.items() if value is not None} | typed(set_)
    if task:
        params["tasks"] = tasks_of(params.get("arm", "five")) if "all" in task else tuple(dict.fromkeys(task))
    collector = make("collectors", "expert", params)
    tally, begin = Tally(), time.monotonic()
    count = append_all(track(collector.collect(tally), total=collector.episodes, what="recording"), store)
    seconds = time.monotonic() - begin
    report = {**tally.to_json(), "new_episodes": count, "seconds": round(seconds, 2)}
    report["episodes_per_second"] = round(collector.episodes / seconds, 2)
    if json:
        show_json({"store": str(store), **report})
        return
    rows = [(name, row["successes"], row["attempts"], f"{row['rate']:.0%}") for name, row in report["tasks"].items()]
    show_table("attempts of the expert", ("task", "succeeded", "tried", "rate"), rows)
    console.print(f"{count} new episodes in {store}", markup=False)
