"""`dataengine inspect`: what a store, or a source that could become one, holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dataengine.cli.output import JsonFlag, console, show_json, show_table


def inspect(
    path: Annotated[
        Path,
        typer.Argument(help="A store, its address (hf://owner/name@rev, https://…), or any source `convert` reads."),
    ],
    episodes: Annotated[int, typer.Option(min=0, help="How many episodes to list.")] = 10,
    json: JsonFlag = False,
) -> None:
    """Show episodes, features, rates, tasks, success and labels of a store (or what converting a source would give)."""
    if not _is_store(path):
        from dataengine.doctor import require

        require("convert")
        from converters.report import describe, look, render

        plan, copied = look(path)
        if json:
            show_json(describe(plan, copied=copied))
        else:
            console.print(render(plan, copied=copied), markup=False)
        return
    found = _describe(path, episodes)
    if json:
        show_json(found)
        return
    seconds = found["frames"] / found["fps"]
    console.print(
        f"{path.name}: {found['episodes']} episodes, {found['frames']} frames at {found['fps']:g} Hz ({seconds:.0f} s)"
        f", {found['embodiment'] or 'embodiment not stated'}",
        markup=False,
    )
    rows = [(k, f["dtype"], "×".join(map(str, f["shape"])), _unit(f["unit"])) for k, f in found["features"].items()]
    show_table("Features", ["feature", "type", "shape", "unit"], rows)
    show_table("Tasks", ["task", "episodes"], found["tasks"].items())
    columns = ["index", "id", "length", "task", "success", "quality"]
    show_table("Episodes", columns, [[e[c] for c in columns] for e in found["listed"]])
    if found["labels"]:
        console.print(f"labels: {', '.join(found['labels'])}", markup=False)


def _unit(unit: str | tuple[str, ...] | None) -> str | None:
    return ", ".join(dict.fromkeys(unit)) if isinstance(unit, tuple) else unit


def _is_store(path: Path) -> bool:
    from dataengine.store.remote import address_of

    return address_of(path) is not None or (path / "meta" / "dataengine" / "commit.json").exists()


def _describe(path: Path, episodes: int) -> dict[str, Any]:
    from collections import Counter
    from dataclasses import asdict

    from dataengine.store import Store

    store = Store.open(path)
    metas = [store.table_of_episodes.meta(i) for i in range(len(store))]
    lengths = store.table_of_episodes.length.tolist()
    return {
        "episodes": len(store),
        "frames": store.frames,
        "fps": store.fps,
        "embodiment": store.embodiment,
        "licence": store.licence,
        "features": {key: asdict(feature) for key, feature in store.features.items()},
        "tasks": dict(Counter(task for meta in metas for task in meta.tasks)),
        "success": dict(Counter(str(meta.success) for meta in metas)),
        "labels": store.label_names(),
        "listed": [
            {
                "index": i,
                "id": store.ids[i],
                "length": lengths[i],
                "task": "; ".join(metas[i].tasks),
                "success": metas[i].success,
                "quality": metas[i].quality,
            }
            for i in range(min(episodes, len(store)))
        ],
    }
