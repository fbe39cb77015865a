"""Taking the episodes of another store in: their rows are written anew, under new numbers; their videos are shared.

The statistics are those of all frames, the labels come along, and what the store has already stays as it is: its
files are not touched. An edit like any other: one commit, a log entry, and `undo`.
"""

from __future__ import annotations

from pathlib import Path

from dataengine.errors import StoreError
from dataengine.store import camera_stats, history, labels, layout, schema, versions
from dataengine.store.build import build
from dataengine.store.change import Change
from dataengine.store.commit import mark_of
from dataengine.store.compact import changing
from dataengine.store.lock import label_lock
from dataengine.store.store import Store
from dataengine.video import DepthCoding


def coming(store: Store, other: Store) -> list[int]:
    """Positions in `other` of the episodes that `store` neither has nor had taken out by an edit (`undo` aside).

    Raises `StoreError` saying why the two do not fit together.
    """
    commit = versions.own_commit(store)
    versions.own_commit(other)
    found = schema.differences(store.features, other.features)
    for key in store.cameras if not found else ():
        coding, theirs = (DepthCoding.from_info(one.features[key].info) for one in (store, other))
        if coding != theirs:
            found.append(f"{key}: its depth is coded otherwise")
    if abs(store.fps - other.fps) > 1e-6 * store.fps:
        found.append(f"{other.fps:g} frames a second, the store has {store.fps:g}")
    if store.languages != other.languages:
        have, want = (", ".join(one.languages) or "none" for one in (other, store))
        found.append(f"language columns {have}, the store has {want}")
    if found:
        raise StoreError(
            f"{other.root} does not fit into {store.root}: {'; '.join(found)}. Rename, drop or add features first, "
            "or convert it into the store with a mapping"
        )
    gone = {mark for edit in commit.edits if edit.get("restored") is None for mark in edit.get("gone", ())}
    known = store.table_of_episodes.place
    return [n for n, identity in enumerate(other.ids) if identity not in known and mark_of(identity) not in gone]


def merge(store: Store, other: Store) -> history.Entry:
    """Append what `coming` names, in one commit; gives its entry in the log.

    Raises `StoreError` when the two do not fit together, or nothing would come.
    """
    if store.root.resolve() == other.root.resolve():
        raise StoreError(f"{store.root} cannot be merged with itself")
    with changing(store):
        chosen = coming(store, other)
        if not chosen:
            raise StoreError(
                f"nothing to do: {store.root} has, or had and lost by an edit, all episodes of {other.root}"
            )
        entry = history.entry(store, said(chosen, other), store.ids)
        change = Change(order=chosen, episodes=_said(other, chosen), edits=(*versions.own_commit(store).edits, entry))
        with versions.next_version(store, keep=True) as folder:
            _share(store, folder)
            build(other, change, folder, onto=store)
            _labels(other, folder, {other.ids[index] for index in chosen})
    return history.log(store)[-1]


def said(chosen: list[int], other: Store) -> str:
    """In words, for the log."""
    return f"merge {len(chosen)} episode{'' if len(chosen) == 1 else 's'} of {other.root.name}"


def _said(other: Store, chosen: list[int]) -> dict[int, dict[str, str]]:
    """What holds for all of the other store and may not hold here, said of each episode that does not say it itself."""
    table, found = other.table_of_episodes, {}
    for index in chosen:
        facts = {"embodiment": other.embodiment, "licence": other.licence}
        found[index] = {name: fact for name, fact in facts.items() if fact and not table.value(name, index)}
    return {index: facts for index, facts in found.items() if facts}


def _share(store: Store, folder: Path) -> None:
    cameras = [path.relative_to(store.root).as_posix() for path in camera_stats.paths(store.root)]
    tables = [path for path, _ in versions.own_commit(store).episode_files]
    named = [layout.FEATURES, *tables, *versions.data_files(store), *versions.video_files(store), *cameras]
    versions.share(store, folder, named)
    with label_lock(store.root):
        versions.share_labels(store, folder)


def _labels(other: Store, folder: Path, ids: set[str]) -> None:
    with label_lock(other.root):
        for name in labels.names(other.root):
            found = {i: labels.read(entry) for i, entry in labels.index(other.root, name).items() if i in ids}
            if found:
                labels.write(folder, name, found)
