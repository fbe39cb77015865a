"""What was done to a store, what it was before, and going back there.

Every edit is a version of its own, so the one before it is a folder of hard links under `.dataengine/history`,
until `compact` or `purge`. Going back makes that version once more, as a new commit: nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataengine.errors import StoreError
from dataengine.store import commit as commits
from dataengine.store import files, layout, versions
from dataengine.store.compact import changing
from dataengine.store.store import Store


@dataclass(frozen=True)
class Entry:
    """One edit. before, generation: commits it lies between. restored: the commit it went back to.

    kept: whether the state before it is still there to go back to.
    """

    generation: int
    before: int
    when: str
    what: str
    restored: int | None
    kept: bool


def entry(store: Store, what: str, left: Collection[str], **more: Any) -> dict[str, Any]:
    """What the record of the next commit says of an edit; left: ids of the episodes that stay as they are."""
    return {
        "what": what,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "before": versions.own_commit(store).generation,
        "gone": [commits.mark_of(identity) for identity in store.ids if identity not in left],
        **more,
    }


def log(store: Store) -> list[Entry]:
    """All edits of a store, oldest first. Appends are not edits; each episode says itself where it came from."""
    kept = versions.kept(store.root)
    return [
        Entry(e["generation"], e["before"], e["when"], e["what"], e.get("restored"), e["before"] in kept)
        for e in versions.own_commit(store).edits
    ]


def undo(store: Store) -> Entry:
    """Take the last edit back; once more: the one before it. Raises `StoreError` saying why it cannot be."""
    edits = log(store)
    present = versions.own_commit(store).generation
    at = present
    while (last := next((e for e in edits if e.generation == at), None)) is not None and last.restored is not None:
        at = last.restored  # this state is that one
    if last is None:
        appended = [e for e in edits if e.generation < at]
        why = "episodes were appended since the last edit" if appended else "there is no edit to take back"
        raise StoreError(f"{store.root}: {why}; delete or edit episodes by a new edit instead")
    return restore(store, last.before, f"undo: {last.what}")


def restore(store: Store, generation: int, what: str | None = None) -> Entry:
    """Bring back the state of a commit that an edit replaced. Episodes appended since then are not in it: refused."""
    with changing(store):
        commit = versions.own_commit(store)
        old = _kept(store, generation)
        if not commit.edits or commit.edits[-1]["generation"] != commit.generation:
            raise StoreError(f"{store.root}: episodes were appended since the last edit and would be lost; not done")
        before = commits.read(old)
        assert before is not None
        ids = set(Store.open(old).ids)
        said = entry(store, what or f"restore the state {generation}", ids, restored=generation)
        said["generation"] = commit.generation + 1
        numbers = {name: getattr(commit, name) for name in ("next_data", "next_video", "next_episodes")}
        with versions.next_version(store, keep=True) as folder:
            copy_tree(old, folder)
            replace(before, generation=commit.generation + 1, edits=(*commit.edits, said), **numbers).write(folder)
    return log(store)[-1]


def copy_tree(source: Path, target: Path) -> None:
    """All files of a kept version by hard link, but for the record, which is written anew."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_dir():
            (target / relative).mkdir(parents=True, exist_ok=True)
        elif relative.as_posix() not in (layout.COMMIT, layout.INFO):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            files.share(path, target / relative)
    for folder in (path for path in target.rglob("*") if path.is_dir()):
        files.sync_folder(folder)


def diff(first: Store, second: Store) -> dict[str, Any]:
    """What the second store has otherwise: episodes by id, what is known of them, and features.

    added, removed: ids. changed: by id, what differs as (before, after). order: whether the common episodes stand in
    another order. features: added, removed and changed keys.
    """
    ours, theirs = set(first.ids), set(second.ids)
    common = [identity for identity in first.ids if identity in theirs]
    changed: dict[str, dict[str, tuple[Any, Any]]] = {}
    for identity in common:
        before, after = _facts(first, identity), _facts(second, identity)
        if found := {k: (before[k], after[k]) for k in before if before[k] != after[k]}:
            changed[identity] = found
    return {
        "added": [identity for identity in second.ids if identity not in ours],
        "removed": [identity for identity in first.ids if identity not in theirs],
        "changed": changed,
        "order": common != [identity for identity in second.ids if identity in ours],
        "features": _features(first.features, second.features),
    }


def _facts(store: Store, identity: str) -> dict[str, Any]:
    index = store.index(identity)
    meta = store.table_of_episodes.meta(index)
    named = ("tasks", "success", "operator", "embodiment", "licence", "quality", "split")
    return {"length": int(store.table_of_episodes.length[index]), **{name: getattr(meta, name) for name in named}}


def _features(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        "added": [key for key in second if key not in first],
        "removed": [key for key in first if key not in second],
        "changed": [key for key in first if key in second and first[key] != second[key]],
    }


def state(store: Store, generation: int) -> Store:
    """A kept version, to be read. Raises `StoreError` if it is not there; the present one is the store itself."""
    if generation == versions.own_commit(store).generation:
        return store
    return Store.open(_kept(store, generation))


def _kept(store: Store, generation: int) -> Path:
    kept = versions.kept(store.root.resolve())
    if generation not in kept:
        listed = ", ".join(map(str, kept)) or "none"
        raise StoreError(f"{store.root}: state {generation} is not kept (compact and purge end that); kept: {listed}")
    return kept[generation]
