"""`dataengine collect rollout`: a policy's attempts in the embedded world, with all that learning from them needs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dataengine.cli.collect_any import SetOption, StoreArgument
from dataengine.cli.output import JsonFlag, console, show_json, typed


def rollout(
    store: StoreArgument,
    policy: Annotated[str, typer.Option(help="A checkpoint; lerobot:PATH for one of LeRobot.")],
    task: Annotated[list[str], typer.Option(help="A task, repeatable; each scene is tried under all of them.")] = [],  # noqa: B006
    episodes: Annotated[int | None, typer.Option(min=1, help="Attempts.")] = None,
    seed: Annotated[int | None, typer.Option(help="The run; runs share no scene.")] = None,
    group: Annotated[int | None, typer.Option(min=1, help="Attempts from one initial state, with advantages.")] = None,
    noise: Annotated[float | None, typer.Option(help="How much the policy explores, in its own measure.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; the episodes are the same.")] = None,
    set_: SetOption = [],  # noqa: B006
    json: JsonFlag = False,
) -> None:
    """Roll out a policy; run it again to go on where it stopped."""
    from dataengine.doctor import require

    require("sim")
    from dataengine.plugins import make
    from dataengine.progress import track
    from dataengine.store import Store
    from dataengine.store.gather import append_all

    named: dict[str, Any] = {"policy": policy, "episodes": episodes, "seed": seed, "group": group, "noise": noise}
    params = {name: value for name, value in (named | {"workers": workers}).items() if value is not None} | typed(set_)
    if task:
        params["tasks"] = tuple(dict.fromkeys(task))
    collector = make("collectors", "rollout", params)
    known = set(Store.open(store).ids) if store.exists() else set()
    count = append_all(track(collector.collect(known), total=collector.episodes, what="rolling out"), store)
    report = {"store": str(store), "new_episodes": count, **collector.summary(Store.open(store))}
    if json:
        show_json(report)
        return
    low, high = report["interval_95"]
    console.print(
        f"{report['success']:.1%} of {report['episodes']} attempts succeeded [95 %: {low:.1%} to {high:.1%}], "
        f"mean return {report['return']:.3f}; {count} new episodes in {store}",
        markup=False,
    )
