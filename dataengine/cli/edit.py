"""`dataengine edit …`: change what a store holds, look at what was changed, and take it back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataengine.cli.output import JsonFlag, console, show_json, show_table

if TYPE_CHECKING:
    from dataengine.store import Edit

app = typer.Typer(
    help="Change what a store holds. Each edit is one step that `undo` takes back; no unchanged video is touched.",
    no_args_is_help=True,
)

StorePath = Annotated[Path, typer.Argument(help="A store of this engine.")]
Episodes = Annotated[list[str], typer.Argument(help="Ids, positions or ranges of positions: 3 7-9.")]
Chosen = Annotated[list[str] | None, typer.Option("--episode", "-e", help="Only these (again for more); else all.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")]


@app.command()
def delete(store: StorePath, episodes: Episodes, dry_run: DryRun = False, json: JsonFlag = False) -> None:
    """Leave episodes out."""
    _make(_edit(store).delete(episodes), dry_run, json)


@app.command()
def keep(store: StorePath, episodes: Episodes, dry_run: DryRun = False, json: JsonFlag = False) -> None:
    """Leave all other episodes out."""
    _make(_edit(store).keep(episodes), dry_run, json)


@app.command()
def trim(
    store: StorePath,
    episode: Annotated[str, typer.Argument(help="An id or a position.")],
    start: Annotated[int, typer.Option(help="First frame that stays; a negative one counts from the end.")] = 0,
    stop: Annotated[int | None, typer.Option(help="First frame that does not stay.")] = None,
    dry_run: DryRun = False,
    json: JsonFlag = False,
) -> None:
    """Keep a part of an episode, as a new one with its own id and the old one as its parent."""
    edit = _edit(store)
    (index,) = edit.select([episode])
    end = int(edit.store.table_of_episodes.length[index])
    _make(edit.trim(episode, start, end if stop is None else stop), dry_run, json)


@app.command()
def split(
    store: StorePath,
    episode: Annotated[str, typer.Argument(help="An id or a position.")],
    at: Annotated[list[int], typer.Option(help="First frame of a part; again for more.")],
    dry_run: DryRun = False,
    json: JsonFlag = False,
) -> None:
    """Make several episodes of one."""
    _make(_edit(store).split(episode, at), dry_run, json)


@app.command()
def reorder(store: StorePath, episodes: Episodes, dry_run: DryRun = False, json: JsonFlag = False) -> None:
    """Put these episodes first, in this order."""
    _make(_edit(store).reorder(episodes), dry_run, json)


@app.command()
def task(
    store: StorePath,
    text: Annotated[str, typer.Argument(help="The new instruction.")],
    old: Annotated[str | None, typer.Option(help="Only where this was the instruction.")] = None,
    episode: Chosen = None,
    dry_run: DryRun = False,
    json: JsonFlag = False,
) -> None:
    """Give another instruction."""
    _make(_edit(store).task(text, old=old, episodes=episode), dry_run, json)


@app.command("set")
def set_facts(
    store: StorePath,
    facts: Annotated[list[str], typer.Argument(help="NAME=VALUE: success, operator, quality, split, licence.")],
    episode: Chosen = None,
    dry_run: DryRun = False,
    json: JsonFlag = False,
) -> None:
    """Say something of episodes: `success=false split=val`; `operator=null` takes it back."""
    from dataengine.cli.output import typed

    edit = _edit(store)
    _make(edit.set(episode or list(edit.store.ids), **typed(facts)), dry_run, json)


@app.command()
def rename(store: StorePath, old: str, new: str, dry_run: DryRun = False, json: JsonFlag = False) -> None:
    """Give a feature another name."""
    _make(_edit(store).rename(old, new), dry_run, json)


@app.command()
def drop(store: StorePath, features: list[str], dry_run: DryRun = False, json: JsonFlag = False) -> None:
    """Leave features out; a camera with its videos."""
    _make(_edit(store).drop(features), dry_run, json)


@app.command()
def recount(store: StorePath, dry_run: DryRun = False, json: JsonFlag = False) -> None:
    """Take the statistics of cameras from every picture, where a video was copied and only sampled; decodes those."""
    _make(_edit(store).recount(), dry_run, json)


@app.command()
def merge(
    store: StorePath,
    other: Annotated[Path, typer.Argument(help="A store with the same features; it stays as it is.")],
    dry_run: DryRun = False,
    json: JsonFlag = False,
) -> None:
    """Append the episodes of another store, its videos shared by hard link; those that are there already stay out."""
    from dataengine.store import Store, merging

    first, second = Store.open(store), Store.open(other)
    chosen = merging.coming(first, second)
    what = merging.said(chosen, second) if dry_run else merging.merge(first, second).what
    frames = int(second.table_of_episodes.length[chosen].sum()) if dry_run else 0
    _show(what, not dry_run, len(first) + (len(chosen) if dry_run else 0), first.frames + frames, json)


@app.command()
def purge(store: StorePath, episodes: Episodes, dry_run: DryRun = False, json: JsonFlag = False) -> None:
    """Erase episodes for good, in labels, statistics and kept versions too: for a consent that was withdrawn."""
    _make(_edit(store).purge(episodes), dry_run, json)
    if not (dry_run or json):
        console.print("kept versions are gone too. Not reached: snapshots, published copies, the folder of a flow")


@app.command()
def undo(
    store: StorePath,
    to: Annotated[int | None, typer.Option(help="The state to bring back, by its number in the log.")] = None,
    json: JsonFlag = False,
) -> None:
    """Take the last edit back; once more: the one before it."""
    from dataengine.store import Store, history

    opened = Store.open(store)
    entry = history.undo(opened) if to is None else history.restore(opened, to)
    show_json({"what": entry.what, "episodes": len(opened)}) if json else console.print(
        f"{entry.what}: {len(opened)} episodes, {opened.frames} frames", markup=False
    )


@app.command()
def log(store: StorePath, json: JsonFlag = False) -> None:
    """What was done to a store."""
    from dataclasses import asdict

    from dataengine.store import Store, history

    entries = history.log(Store.open(store))
    if json:
        show_json([asdict(entry) for entry in entries])
    else:
        rows = [
            (e.before, e.generation, e.when[:16].replace("T", " "), e.what, "yes" if e.kept else "no") for e in entries
        ]
        show_table("", ["before", "after", "when (UTC)", "what", "can go back"], rows)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="A store, or STORE@NUMBER for a kept state of the log.")],
    second: Annotated[str, typer.Argument(help="The same; what it has otherwise is told.")],
    json: JsonFlag = False,
) -> None:
    """What the second of two stores, or of two states of one, has otherwise than the first."""
    from dataengine.store import history

    found = history.diff(_state(first), _state(second))
    if json:
        show_json(found)
        return
    for what in ("added", "removed"):
        console.print(f"{what}: {', '.join(found[what]) or 'no episodes'}", markup=False)
    for identity, facts in found["changed"].items():
        changes = ", ".join(f"{name} {before!r} → {after!r}" for name, (before, after) in facts.items())
        console.print(f"{identity}: {changes}", markup=False)
    for what, keys in found["features"].items():
        if keys:
            console.print(f"features {what}: {', '.join(keys)}", markup=False)
    if found["order"]:
        console.print("the episodes both have stand in another order")


def _edit(path: Path) -> Edit:
    from dataengine.store import Edit, Store

    return Edit(Store.open(path))


def _state(name: str) -> Any:
    from dataengine.store import Store, history

    path, at, number = name.rpartition("@")
    if at and number.isdigit() and not Path(name).exists():
        return history.state(Store.open(path), int(number))
    return Store.open(name)


def _make(edit: Edit, dry_run: bool, json: bool) -> None:
    what = "; ".join(edit.what) if dry_run else edit.commit().what
    _show(what, not dry_run, *edit.outcome(), json)


def _show(what: str, done: bool, episodes: int, frames: int, json: bool) -> None:
    if json:
        show_json({"what": what, "done": done, "episodes": episodes, "frames": frames})
    else:
        then = "the store has" if done else "would leave"
        console.print(f"{what}: {then} {episodes} episodes, {frames} frames", markup=False)
